//! Following a run: a stream of changes that goes on at another replica when one fails, shown live on a terminal, as
//! plain lines elsewhere, or as lines of JSON.

mod live;
mod plain;

use std::io::IsTerminal as _;

use meson_proto::v1::watch_run_response::Update;
use meson_proto::v1::*;

use crate::args::Output;
use crate::client::{self, Client};
use crate::{Exit, Result, json, runs, show};

/// Something that shows changes.
trait View {
    /// A node changed.
    fn node(&mut self, node: &Node);
    /// A running attempt said something.
    fn progress(&mut self, progress: &Progress);
    /// The run changed, or its tallies did.
    fn run(&mut self, run: &Run);
    /// There is no more.
    fn finish(&mut self);
}

/// Follows a run to its end; the exit code is the run's.
pub async fn follow(client: &Client, run_id: &str, output: Output) -> Result {
    let mut view: Option<Box<dyn View>> = match output {
        Output::Json => None,
        Output::Table if std::io::stderr().is_terminal() => Some(Box::new(live::Live::new())),
        Output::Table => Some(Box::new(plain::Plain::default())),
    };
    let run = stream(client, run_id, &mut view).await?;
    if let Some(view) = &mut view {
        view.finish();
        // The run has ended, and its end is the exit code, whatever becomes of the summary.
        if let Err(error) = summary(client, &run).await {
            eprintln!("mesonctl: the summary is not complete: {error}");
        }
    }
    Ok(if run.status() == RunStatus::Succeeded { Exit::Succeeded } else { Exit::RunFailed })
}

async fn stream(client: &Client, run_id: &str, view: &mut Option<Box<dyn View>>) -> Result<Run> {
    let mut from_sequence = 0;
    let mut breaks = client.breaks();
    loop {
        let call = |channel| {
            let request = WatchRunRequest { run_id: run_id.to_owned(), from_sequence };
            async move { client::runs(channel).watch_run(request).await }
        };
        let mut stream = client.call(call).await?;
        breaks.opened();
        loop {
            match stream.message().await {
                Ok(Some(update)) => {
                    breaks.progress();
                    from_sequence = from_sequence.max(update.sequence);
                    if let Some(run) = show_update(view, update) {
                        return Ok(run);
                    }
                }
                Err(status) if !client::is_passing(&status) => return Err(status.into()),
                // A stream that ends before the run does broke: go on where it did.
                Ok(None) | Err(_) => break,
            }
        }
        breaks.pause().await?;
    }
}

/// Shows an update; gives the run once it has ended.
fn show_update(view: &mut Option<Box<dyn View>>, update: WatchRunResponse) -> Option<Run> {
    if view.is_none() {
        json::print(&json::update(&update));
    }
    match update.update? {
        Update::Run(run) => {
            if let Some(view) = view {
                view.run(&run);
            }
            show::is_terminal(run.status()).then_some(run)
        }
        Update::Node(node) => {
            if let Some(view) = view {
                view.node(&node);
            }
            None
        }
        Update::Progress(progress) => {
            if let Some(view) = view {
                view.progress(&progress);
            }
            None
        }
    }
}

/// Failed nodes and artifacts shown at the end.
const SHOWN_MAX: u32 = 20;

async fn summary(client: &Client, run: &Run) -> Result<()> {
    let took = show::elapsed_ms(&run.started_at, &run.ended_at).map(show::duration).unwrap_or_default();
    println!("\nrun {} {} in {took}", run.run_id, show::run_status(run.status()));
    if let serde_json::Value::Object(outputs) = json::parsed(&run.outputs_json) {
        for (name, value) in outputs {
            println!("  {name} = {value}");
        }
    }
    for node in listed(client, run, NodeStatus::Succeeded).await? {
        for artifact in &node.artifacts {
            println!("  artifact {} of {}: {}", artifact.name, node.path, artifact.uri);
        }
    }
    if let Some(failure) = &run.failure {
        println!("  {}: {}", failure.reason, show::words(&failure.message));
    }
    for node in listed(client, run, NodeStatus::Failed).await? {
        println!("  ✗ {}: {}", node.path, runs::note(&node));
        if node.attempt > 0 {
            println!("    mesonctl logs {} {}", run.run_id, node.path);
        }
    }
    Ok(())
}

/// The last nodes of a status; artifacts usually come from them.
async fn listed(client: &Client, run: &Run, status: NodeStatus) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    let mut page_token = String::new();
    // Bounded: a summary of a wide run shows a part.
    for _ in 0..SHOWN_MAX {
        let call = |channel| {
            let request = ListNodesRequest {
                run_id: run.run_id.clone(),
                statuses: vec![status as i32],
                page_size: 1_000,
                page_token: page_token.clone(),
                ..Default::default()
            };
            async move { client::runs(channel).list_nodes(request).await }
        };
        let page = client.call(call).await?;
        let wanted = |node: &Node| status == NodeStatus::Failed || !node.artifacts.is_empty();
        nodes.extend(page.nodes.into_iter().filter(wanted));
        page_token = page.next_page_token;
        if page_token.is_empty() || nodes.len() >= SHOWN_MAX as usize {
            break;
        }
    }
    nodes.truncate(SHOWN_MAX as usize);
    Ok(nodes)
}

/// A line about a node that ended: mark, path, duration and note.
fn ended_line(node: &Node) -> Option<String> {
    let mark = match node.status() {
        NodeStatus::Succeeded => "✓",
        NodeStatus::Failed => "✗",
        NodeStatus::Cancelled => "⊘",
        NodeStatus::Skipped => "–",
        _ => return None,
    };
    let from = node.started_at.or(node.ready_at);
    let took =
        from.and_then(|_| show::elapsed_ms(&from, &node.ended_at)).map(show::duration).unwrap_or_default();
    let note = match node.status() {
        NodeStatus::Failed => runs::note(node),
        NodeStatus::Succeeded if node.children_done > 0 => format!("{} done", node.children_done),
        NodeStatus::Succeeded => String::new(),
        status => show::node_status(status),
    };
    Some(format!("{mark} {} {took} {note}", node.path).trim_end().to_owned())
}
