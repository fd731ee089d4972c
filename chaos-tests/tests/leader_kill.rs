//! The leader dies by kill -9 in the middle of work: runs go on, what ran is not started again (P4), what was accepted
//! is kept (P1), the same request gives the same run (P2), and no step runs twice at a time (P3).

use std::collections::BTreeMap;

use meson_chaos_tests::{Client, Cluster, Options, until};
use meson_proto::v1::NodeStatus;
use serde_json::json;

/// Steps that write when they begin and end into a file outside of everybody's control.
fn definition(history: &std::path::Path) -> String {
    let history = history.display();
    let record = |event: &str| format!("echo {event} $MESON_STEP $MESON_ATTEMPT $MESON_FENCE >> {history}");
    let step = |seconds: &str| format!("{}; sleep {seconds}; {}", record("start"), record("end"));
    json!({
        "name": "survivor",
        "nodes": [
            { "id": "first", "kind": "shell", "config": { "command": step("0.1") } },
            { "id": "long", "needs": ["first"], "kind": "shell", "config": { "command": step("4") } },
            { "id": "fan", "needs": ["first"], "for_each": {
                "items": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "concurrency": 2,
                "nodes": [{ "id": "one", "kind": "shell", "config": { "command": step("0.3") } }],
            } },
            { "id": "last", "needs": ["long", "fan"], "kind": "shell", "config": { "command": step("0.1") } },
        ],
    })
    .to_string()
}

/// For each attempt (step, number, fence): its events in order.
fn events(history: &std::path::Path) -> BTreeMap<String, Vec<String>> {
    let mut events: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in std::fs::read_to_string(history).unwrap_or_default().lines() {
        let (event, attempt) = line.split_once(' ').expect("an event and an attempt");
        events.entry(attempt.to_owned()).or_default().push(event.to_owned());
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_when_the_leader_is_killed() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let client = Client::new(cluster.endpoints());
    let history = cluster.dir().join("history");
    client.register(&definition(&history)).await?;
    let run_id = client.start("survivor", "request-1", "").await?;

    until("the long step runs", || async {
        let nodes = client.nodes(&run_id).await.ok()?;
        nodes.iter().find(|node| node.path == "long" && node.status() == NodeStatus::Running).map(drop)
    })
    .await?;
    let leader = cluster.leader().await?;
    cluster.kill_replica(leader)?;

    assert_eq!(client.start("survivor", "request-1", "").await?, run_id, "P2");
    let run = client.succeed(&run_id).await.map_err(|error| error.context(cluster.log_tails()))?;
    assert_eq!(run.counts.unwrap_or_default().succeeded, 14, "P1: every node of the run");
    for node in client.nodes(&run_id).await? {
        assert!(node.attempt <= 1, "P4: {} was started again", node.path);
    }
    for (attempt, events) in events(&history) {
        assert_eq!(events, ["start", "end"], "P3: attempt {attempt}");
    }

    cluster.start_replica(leader)?;
    until("the killed replica catches up", || async {
        let behind = cluster.status(leader).await?;
        let ahead = cluster.status((leader + 1) % 3).await?;
        (behind.applied_index >= ahead.applied_index).then_some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_accepted_survives_the_death_of_all_replicas() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let client = Client::new(cluster.endpoints());
    let history = cluster.dir().join("history");
    client.register(&definition(&history)).await?;
    let mut run_ids = Vec::new();
    for request in 0..5 {
        run_ids.push(client.start("survivor", &format!("request-{request}"), "").await?);
    }
    (0..3).try_for_each(|replica| cluster.kill_replica(replica))?;
    (0..3).try_for_each(|replica| cluster.start_replica(replica))?;
    for (request, run_id) in run_ids.iter().enumerate() {
        assert_eq!(client.start("survivor", &format!("request-{request}"), "").await?, *run_id, "P1, P2");
        client.succeed(run_id).await.map_err(|error| error.context(cluster.log_tails()))?;
    }
    for (attempt, events) in events(&history) {
        assert_eq!(events.first().map(String::as_str), Some("start"), "{attempt}");
        assert!(events.len() <= 10, "attempt {attempt} of five runs: {events:?}");
    }
    Ok(())
}
