//! What the replicas say when all is quiet: the runs as the leader gives them, and of each replica a fingerprint of all
//! that it holds itself.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use anyhow::Context as _;
use meson_proto::v1::run_service_client::RunServiceClient;
use meson_proto::v1::*;
use tonic::transport::Channel;

use crate::history::{FinalNode, FinalRun, FinalState};
use crate::load::state;
use crate::testbed::{Machine, Testbed};
use crate::{clock, until};

/// Kinds of nodes that are no steps.
const COMPOSITES: [&str; 5] = ["for_each", "repeat", "switch", "subworkflow", "wait"];

/// A run with its nodes, as one replica gives them.
type Held = (Run, Vec<Node>);

/// Waits until all replicas have applied the same and nothing moves, and reads what they hold.
///
/// # Errors
/// When they do not come to rest, or one does not answer.
pub(super) async fn final_state(testbed: &Testbed) -> anyhow::Result<FinalState> {
    let replicas = usize::from(testbed.options().size.replicas);
    until("all replicas have applied the same and rest", || async {
        let before = applied(testbed).await?;
        let fingerprints = fingerprints(testbed, replicas).await.ok()?;
        let leader = testbed.look().leader().await?;
        let Machine::Replica(place) = leader else { return None };
        let held = held(testbed.look().channel(usize::from(place))?, false).await.ok()?;
        // What was read was at rest only if nothing was applied meanwhile.
        if applied(testbed).await? != before {
            return None;
        }
        let mut runs: Vec<FinalRun> = held.iter().map(final_run).collect();
        runs.sort_by(|one, other| one.run_id.cmp(&other.run_id));
        Some(FinalState { at: clock::now(), runs, fingerprints })
    })
    .await
}

/// The index that all replicas have applied; none while it is not the same.
async fn applied(testbed: &Testbed) -> Option<u64> {
    let statuses = testbed.look().statuses().await.into_iter().collect::<Option<Vec<_>>>()?;
    let first = statuses.first()?.applied_index;
    let same = statuses.iter().all(|of| of.applied_index == first && of.last_log_index == first);
    same.then_some(first)
}

async fn fingerprints(testbed: &Testbed, replicas: usize) -> anyhow::Result<BTreeMap<String, String>> {
    let mut fingerprints = BTreeMap::new();
    for place in 0..replicas {
        let channel = testbed.look().channel(place).context("no such replica")?;
        let held = held(channel, true).await?;
        fingerprints.insert(Machine::Replica(place as u8).to_string(), fingerprint(held));
    }
    Ok(fingerprints)
}

/// All runs with all their nodes, as one replica holds them or as the leader does.
async fn held(channel: Channel, allow_stale: bool) -> anyhow::Result<Vec<Held>> {
    let mut client = RunServiceClient::new(channel);
    let mut held = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListRunsRequest { page_size: 1_000, page_token, allow_stale, ..Default::default() };
        let page = client.list_runs(request).await?.into_inner();
        for run in page.runs {
            let nodes = nodes(&mut client, &run.run_id, allow_stale).await?;
            held.push((run, nodes));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(held);
        }
    }
}

async fn nodes(
    client: &mut RunServiceClient<Channel>,
    run_id: &str,
    allow_stale: bool,
) -> anyhow::Result<Vec<Node>> {
    let mut nodes = Vec::new();
    let mut page_token = String::new();
    loop {
        let run_id = run_id.to_owned();
        let request =
            ListNodesRequest { run_id, page_size: 1_000, page_token, allow_stale, ..Default::default() };
        let page = client.list_nodes(request).await?.into_inner();
        nodes.extend(page.nodes);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(nodes);
        }
    }
}

/// Equal for replicas that hold the same. What is only heard and never kept is left out.
fn fingerprint(mut held: Vec<Held>) -> String {
    held.sort_by(|(one, _), (other, _)| one.run_id.cmp(&other.run_id));
    let mut hasher = DefaultHasher::new();
    for (run, nodes) in held {
        let mut labels: Vec<_> = run.labels.clone().into_iter().collect();
        labels.sort();
        let run = Run { labels: Default::default(), ..run };
        format!("{run:?}{labels:?}").hash(&mut hasher);
        for node in nodes {
            let kept = Node {
                percent: None,
                message: String::new(),
                data_json: String::new(),
                waiting_reason: String::new(),
                ..node
            };
            format!("{kept:?}").hash(&mut hasher);
        }
    }
    format!("{:016x}", hasher.finish())
}

fn final_run((run, nodes): &Held) -> FinalRun {
    let signals = nodes.iter().filter(|node| node.kind == "wait").filter_map(|node| {
        let outputs: serde_json::Value = serde_json::from_str(&node.outputs_json).ok()?;
        Some(outputs.get("payload")?.as_str()?.to_owned())
    });
    FinalRun {
        run_id: run.run_id.clone(),
        request_id: run.request_id.clone(),
        workflow: run.workflow.clone(),
        status: state(run.status()),
        signals: signals.collect(),
        nodes: nodes.iter().map(final_node).collect(),
    }
}

fn final_node(node: &Node) -> FinalNode {
    let status = node.status().as_str_name();
    FinalNode {
        path: node.path.clone(),
        is_step: !COMPOSITES.contains(&node.kind.as_str()),
        status: status.trim_start_matches("NODE_STATUS_").to_owned(),
        attempts: node.attempt,
    }
}
