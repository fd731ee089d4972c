//! `mesonctl runs`: lists, shows and steers runs.

use std::collections::HashMap;

use meson_proto::v1::*;
use serde_json::json;

use crate::args::{Output, Runs};
use crate::client::{self, Client};
use crate::error::Error;
use crate::{Exit, Result, json, show, watch};

/// Carries out the command.
pub async fn run(client: &Client, command: Runs, output: Output) -> Result {
    match command {
        Runs::List { workflow, status, labels, limit, page_token, stale: allow_stale } => {
            let statuses = statuses(&status, show::parse_run_status)?.into_iter().map(|s| s as i32).collect();
            let labels = pairs(&labels)?;
            let request = ListRunsRequest {
                workflow,
                statuses,
                labels,
                page_size: limit,
                page_token,
                allow_stale,
                ..Default::default()
            };
            list(client, request, output).await
        }
        Runs::Get { run, stale } => {
            let answer = ask(client, &run, stale).await?;
            mark(answer.stale);
            print(&answer.run.unwrap_or_default(), output);
            Ok(Exit::Succeeded)
        }
        Runs::Nodes { run: run_id, status, prefix: path_prefix, limit: page_size, page_token, stale } => {
            let statuses =
                statuses(&status, show::parse_node_status)?.into_iter().map(|s| s as i32).collect();
            let request =
                ListNodesRequest { run_id, statuses, path_prefix, page_size, page_token, allow_stale: stale };
            nodes(client, request, output).await
        }
        Runs::Watch { run } => watch::follow(client, &run, output).await,
        command => steer(client, command, output).await,
    }
}

async fn steer(client: &Client, command: Runs, output: Output) -> Result {
    let answer = match command {
        Runs::Cancel { run: run_id, reason } => {
            let request = CancelRunRequest { run_id, reason };
            let call = |channel| {
                let request = request.clone();
                async move { client::runs(channel).cancel_run(request).await }
            };
            client.call(call).await?.run
        }
        Runs::Pause { run: run_id } => {
            let call = |channel| {
                let request = PauseRunRequest { run_id: run_id.clone() };
                async move { client::runs(channel).pause_run(request).await }
            };
            client.call(call).await?.run
        }
        Runs::Resume { run: run_id } => {
            let call = |channel| {
                let request = ResumeRunRequest { run_id: run_id.clone() };
                async move { client::runs(channel).resume_run(request).await }
            };
            client.call(call).await?.run
        }
        Runs::Restart { run: run_id } => {
            let call = |channel| {
                let request = RestartRunRequest { run_id: run_id.clone() };
                async move { client::runs(channel).restart_run(request).await }
            };
            client.call(call).await?.run
        }
        Runs::Signal { run: run_id, name, payload, request_id } => {
            let request_id = request_id.unwrap_or_else(|| ulid::Ulid::generate().to_string());
            let request = SignalRunRequest { run_id, signal: name, payload_json: payload, request_id };
            let call = |channel| {
                let request = request.clone();
                async move { client::runs(channel).signal_run(request).await }
            };
            client.call(call).await?.run
        }
        Runs::List { .. } | Runs::Get { .. } | Runs::Nodes { .. } | Runs::Watch { .. } => None,
    };
    print(&answer.unwrap_or_default(), output);
    Ok(Exit::Succeeded)
}

async fn ask(client: &Client, run_id: &str, allow_stale: bool) -> Result<GetRunResponse> {
    let call = |channel| {
        let request = GetRunRequest { run_id: run_id.to_owned(), allow_stale };
        async move { client::runs(channel).get_run(request).await }
    };
    client.call(call).await
}

/// On standard error, so that it is seen whatever form the answer has.
fn mark(stale: bool) {
    if stale {
        eprintln!("stale: as one replica knows it, without asking the leader");
    }
}

async fn list(client: &Client, request: ListRunsRequest, output: Output) -> Result {
    let call = |channel| {
        let request = request.clone();
        async move { client::runs(channel).list_runs(request).await }
    };
    let page = client.call(call).await?;
    mark(page.stale);
    if output == Output::Json {
        let runs: Vec<_> = page.runs.iter().map(json::run).collect();
        json::print(&json!({ "runs": runs, "next_page_token": page.next_page_token, "stale": page.stale }));
        return Ok(Exit::Succeeded);
    }
    let row = |run: &Run| {
        let counts = run.counts.unwrap_or_default();
        let took = show::elapsed_ms(&run.started_at, &run.ended_at).map(show::duration).unwrap_or_default();
        let done = counts.succeeded + counts.failed + counts.cancelled + counts.skipped;
        vec![
            run.run_id.clone(),
            run.workflow.clone(),
            show::run_status(run.status()),
            format!("{done}/{}", counts.total),
            show::time(&run.started_at),
            took,
        ]
    };
    show::table(&["run", "workflow", "status", "nodes", "started", "took"], page.runs.iter().map(row));
    more(&page.next_page_token);
    Ok(Exit::Succeeded)
}

async fn nodes(client: &Client, request: ListNodesRequest, output: Output) -> Result {
    let call = |channel| {
        let request = request.clone();
        async move { client::runs(channel).list_nodes(request).await }
    };
    let page = client.call(call).await?;
    mark(page.stale);
    if output == Output::Json {
        let nodes: Vec<_> = page.nodes.iter().map(json::node).collect();
        json::print(&json!({ "nodes": nodes, "next_page_token": page.next_page_token, "stale": page.stale }));
        return Ok(Exit::Succeeded);
    }
    let row = |node: &Node| {
        let from = node.started_at.or(node.ready_at);
        let took = show::elapsed_ms(&from, &node.ended_at).filter(|_| from.is_some());
        vec![
            node.path.clone(),
            node.kind.clone(),
            show::node_status(node.status()),
            if node.attempt == 0 { String::new() } else { node.attempt.to_string() },
            took.map(show::duration).unwrap_or_default(),
            note(node),
        ]
    };
    show::table(&["node", "kind", "status", "attempt", "took", "note"], page.nodes.iter().map(row));
    more(&page.next_page_token);
    Ok(Exit::Succeeded)
}

/// What is worth saying of a node: why it waits or failed, or how far it is.
pub fn note(node: &Node) -> String {
    if let Some(failure) = &node.failure {
        let line = failure.message.lines().rfind(|line| !line.trim().is_empty()).unwrap_or(&failure.reason);
        return show::words(line.trim());
    }
    if !node.waiting_reason.is_empty() {
        return node.waiting_reason.clone();
    }
    if node.children_total > 0 {
        return format!("{}/{} done", node.children_done, node.children_total);
    }
    match node.percent {
        Some(percent) => format!("{percent:.0}% {}", show::words(&node.message)).trim().to_owned(),
        None => show::words(&node.message),
    }
}

fn more(token: &str) {
    if !token.is_empty() {
        println!("… there are more: --page-token {token}");
    }
}

fn print(run: &Run, output: Output) {
    if output == Output::Json {
        return json::print(&json::run(run));
    }
    let counts = run.counts.unwrap_or_default();
    let took = show::elapsed_ms(&run.started_at, &run.ended_at).map(show::duration).unwrap_or_default();
    println!("run       {}", run.run_id);
    println!("workflow  {} @ {:.12}", run.workflow, run.version);
    println!("status    {}", show::run_status(run.status()));
    println!("started   {} ({took})", show::time(&run.started_at));
    println!(
        "nodes     {} in all: {} succeeded, {} failed, {} running, {} ready, {} pending, {} skipped, {} cancelled",
        counts.total,
        counts.succeeded,
        counts.failed,
        counts.running,
        counts.ready,
        counts.pending,
        counts.skipped,
        counts.cancelled
    );
    println!("params    {}", run.params_json);
    if !run.outputs_json.is_empty() {
        println!("outputs   {}", run.outputs_json);
    }
    if let Some(failure) = &run.failure {
        println!("failure   {}: {}", failure.reason, show::words(&failure.message));
    }
}

/// `key=value` arguments.
pub fn pairs(given: &[String]) -> Result<HashMap<String, String>> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::usage(format!("`{text}` is not of the form KEY=VALUE"))),
    };
    given.iter().map(pair).collect()
}

fn statuses<S>(given: &[String], parse: impl Fn(&str) -> Option<S>) -> Result<Vec<S>> {
    let one = |text: &String| parse(text).ok_or_else(|| Error::usage(format!("`{text}` is not a status")));
    given.iter().map(one).collect()
}
