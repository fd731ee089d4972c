//! What people see of a node: its record, what its attempt says of itself, and why it waits.

use meson_engine::State;
use meson_engine::ids::NodeNo;
use meson_engine::plan::PlanWork;
use meson_engine::record::{Composite, Node, Run};
use meson_engine::status::{NodeStatus, Stop};
use meson_proto::v1;

use super::convert;
use crate::evaluate;
use crate::paths;
use crate::placement;
use crate::resources;
use crate::resources::demand::shape;
use crate::shared::Shared;

/// A node of a run, in this state. Soft facts and reasons are there on the leader only.
pub fn node(shared: &Shared, state: &State, run: &Run, no: NodeNo) -> Option<v1::Node> {
    let record = run.nodes.get(&no)?;
    let planned = state.planned(run, no)?;
    let id = run.attempt_id(no);
    let attempt = record.attempt.as_deref();
    let live = record.status().is_live();
    let soft = id.as_ref().filter(|_| live).and_then(|id| shared.soft.get(id)).unwrap_or_default();
    let composite = record.composite.as_deref();
    Some(v1::Node {
        number: no,
        path: paths::path_of(state, run, no),
        kind: planned.kind().to_owned(),
        status: record.status,
        attempt: record.attempts(),
        attempt_id: id.map(|id| id.to_string()).unwrap_or_default(),
        agent_id: attempt.map(|attempt| attempt.agent.clone()).unwrap_or_default(),
        percent: soft.percent,
        message: soft.message,
        failure: record.failure.as_deref().map(convert::failure),
        outputs_json: evaluate::outputs_json(state, run, no),
        artifacts: record.artifacts.iter().map(artifact).collect(),
        ready_at: convert::timestamp(record.ready_ms),
        started_at: convert::timestamp(attempt.map_or(0, |attempt| attempt.started_ms)),
        ended_at: convert::timestamp(record.ended_ms),
        waiting_reason: waiting_reason(shared, state, run, no, record),
        children_done: composite.map_or(0, |composite| composite.done),
        children_total: composite.map_or(0, |composite| children_total(&planned.work, composite)),
        sequence: record.sequence,
        data_json: soft.data_json,
        holds: attempt.map(|attempt| convert::resources(attempt.holds)),
    })
}

/// How many inner graphs there will be; a loop that goes on until it is content does not know.
fn children_total(work: &PlanWork, composite: &Composite) -> u32 {
    match work {
        PlanWork::Repeat { .. } => 0,
        _ => composite.total,
    }
}

fn artifact(artifact: &meson_engine::record::Artifact) -> v1::Artifact {
    v1::Artifact { name: artifact.name.clone(), uri: artifact.uri.clone() }
}

/// Why a node does not go on; empty when it does, or has ended.
fn waiting_reason(shared: &Shared, state: &State, run: &Run, no: NodeNo, node: &Node) -> String {
    match node.status() {
        NodeStatus::Pending => pending_reason(state, run, no, node),
        NodeStatus::Ready if run.head.paused => "the run is paused".to_owned(),
        NodeStatus::Ready => match shape(&shared.config.mesos, state, run, no) {
            Some(shape) => placement::explain(&shape, &resources::offers(shared, state)).to_string(),
            None => String::new(),
        },
        NodeStatus::BackingOff => {
            let left_ms = node.timer_ms.saturating_sub(shared.proposer.now_ms());
            format!("attempt {} failed; the next one comes in {:.1} s", node.attempts(), left_ms as f64 / 1e3)
        }
        NodeStatus::Placed => match node.attempt.as_deref() {
            Some(attempt) if !attempt.executor.is_empty() => {
                let connected = shared.sessions.is_connected(&resources::mesos::session_of(attempt));
                if connected {
                    String::new()
                } else {
                    format!("starts an executor on agent `{}`", attempt.agent)
                }
            }
            Some(attempt) if !shared.sessions.is_connected(&attempt.agent) => {
                format!("executor `{}` is not connected", attempt.agent)
            }
            _ => String::new(),
        },
        NodeStatus::Waiting => match state.planned(run, no).map(|planned| &planned.work) {
            Some(PlanWork::Wait(signal)) => format!("waits for the signal `{signal}`"),
            _ => String::new(),
        },
        NodeStatus::Active if node.composite.as_ref().is_some_and(|c| c.stopping() != Stop::No) => {
            "stopping".to_owned()
        }
        _ => String::new(),
    }
}

/// Names shown of the needs a node waits for.
const NEEDS_SHOWN: usize = 5;

fn pending_reason(state: &State, run: &Run, no: NodeNo, node: &Node) -> String {
    let (Some(planned), Some(scope)) = (state.planned(run, no), run.scopes.get(&node.scope())) else {
        return String::new();
    };
    let is_open = |place: &&u32| {
        run.nodes.get(&(scope.first + **place)).is_some_and(|need| !need.status().is_terminal())
    };
    let open: Vec<&str> = planned
        .needs
        .iter()
        .filter(is_open)
        .filter_map(|place| state.planned(run, scope.first + place).map(|need| need.id.as_str()))
        .collect();
    let more = open.len().saturating_sub(NEEDS_SHOWN);
    let shown = open.iter().take(NEEDS_SHOWN).map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    if open.is_empty() { String::new() } else { format!("waits for {shown}{rest}") }
}
