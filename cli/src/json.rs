//! Results as JSON: the contract's field names, times as RFC 3339, JSON fields as JSON.

use meson_proto::v1::*;
use prost_types::Timestamp;
use serde_json::{Value, json};

use crate::show;

/// Prints one document or line.
pub fn print(value: &Value) {
    println!("{value}");
}

fn time(time: &Option<Timestamp>) -> Value {
    time.as_ref().and_then(show::instant).map_or(Value::Null, |instant| instant.to_string().into())
}

/// JSON text of a field; null when it is empty.
pub fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

fn failure(failure: &Option<Failure>) -> Value {
    let Some(failure) = failure else { return Value::Null };
    json!({ "class": show::word(failure.class().as_str_name(), "FAILURE_CLASS_"), "reason": failure.reason,
        "message": failure.message })
}

/// A run.
pub fn run(run: &Run) -> Value {
    let counts = run.counts.unwrap_or_default();
    json!({
        "run_id": run.run_id, "workflow": run.workflow, "version": run.version,
        "status": show::run_status(run.status()), "params": parsed(&run.params_json),
        "outputs": parsed(&run.outputs_json), "failure": failure(&run.failure),
        "started_at": time(&run.started_at), "ended_at": time(&run.ended_at), "sequence": run.sequence,
        "counts": { "total": counts.total, "pending": counts.pending, "ready": counts.ready,
            "running": counts.running, "succeeded": counts.succeeded, "failed": counts.failed,
            "cancelled": counts.cancelled, "skipped": counts.skipped },
        "request_id": run.request_id, "labels": run.labels,
    })
}

/// A node.
pub fn node(node: &Node) -> Value {
    let artifact = |artifact: &Artifact| json!({ "name": artifact.name, "uri": artifact.uri });
    json!({
        "number": node.number, "path": node.path, "kind": node.kind, "status": show::node_status(node.status()),
        "attempt": node.attempt, "attempt_id": node.attempt_id, "agent_id": node.agent_id,
        "percent": node.percent, "message": node.message, "failure": failure(&node.failure),
        "outputs": parsed(&node.outputs_json),
        "artifacts": node.artifacts.iter().map(artifact).collect::<Vec<_>>(),
        "ready_at": time(&node.ready_at), "started_at": time(&node.started_at), "ended_at": time(&node.ended_at),
        "waiting_reason": node.waiting_reason, "children_done": node.children_done,
        "children_total": node.children_total, "sequence": node.sequence, "data": parsed(&node.data_json),
        "holds": node.holds.map_or(Value::Null, |holds| resources(&Some(holds))),
    })
}

/// A workflow version.
pub fn workflow(workflow: &Workflow) -> Value {
    json!({ "name": workflow.name, "version": workflow.version, "number": workflow.number,
        "description": workflow.description, "definition": parsed(&workflow.definition_json),
        "registered_at": time(&workflow.registered_at) })
}

/// A line of a watched run.
pub fn update(update: &WatchRunResponse) -> Value {
    let (name, value) = match &update.update {
        Some(watch_run_response::Update::Run(update)) => ("run", run(update)),
        Some(watch_run_response::Update::Node(update)) => ("node", node(update)),
        Some(watch_run_response::Update::Progress(said)) => (
            "progress",
            json!({ "path": said.path, "attempt_id": said.attempt_id, "percent": said.percent,
                "message": said.message, "data": parsed(&said.data_json) }),
        ),
        None => ("nothing", Value::Null),
    };
    json!({ name: value, "sequence": update.sequence })
}

/// Amounts.
pub fn resources(resources: &Option<Resources>) -> Value {
    let resources = resources.unwrap_or_default();
    json!({ "cpus": resources.cpus_milli as f64 / 1e3, "mem_bytes": resources.mem_bytes,
        "disk_bytes": resources.disk_bytes, "gpus": resources.gpus })
}
