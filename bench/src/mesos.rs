//! Many short attempts over many agents of the stand-in of Mesos: launches a second, how long offers are held, and that
//! nothing is lost or done twice. The stand-in refuses every overcommit, which shows here as a second attempt.

use std::time::Instant;

use anyhow::ensure;
use meson_chaos_tests::mesos::Mesos;
use meson_chaos_tests::{Client, until};
use meson_proto::v1::RunStatus;
use serde_json::json;

/// Agents, each with four cores and an executor of its own.
const AGENTS: usize = 200;
/// Attempts in one run.
const STEPS: usize = 10_000;

/// Runs it and prints one line of JSON.
pub async fn run() -> anyhow::Result<()> {
    let mesos = Mesos::start_many(AGENTS).await?;
    let cluster = mesos.trio(&[]).await?;
    let client = Client::new(cluster.endpoints());
    let step = json!({ "id": "one", "kind": "noop", "resources": { "cpus": 0.5, "mem": "64MiB" } });
    let items = format!("range({STEPS}) | list");
    let fan = json!({ "id": "fan", "for_each": { "items": items, "as": "i", "nodes": [step] } });
    client.register(&json!({ "name": "many", "nodes": [fan] }).to_string()).await?;

    let started = Instant::now();
    let run_id = client.start("many", "once", "").await?;
    // Longer than any single condition may take, so it is waited for in pieces.
    loop {
        let before = client.run(&run_id).await?.counts.unwrap_or_default().succeeded;
        let ended = until("more steps have succeeded", || async {
            let run = client.run(&run_id).await.ok()?;
            let more = run.counts.unwrap_or_default().succeeded > before;
            (more || run.status() != RunStatus::Running).then_some(run.status() != RunStatus::Running)
        });
        if ended.await? {
            break;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let run = client.run(&run_id).await?;
    ensure!(run.status() == RunStatus::Succeeded, "the run ended as {:?}: {:?}", run.status(), run.failure);
    let nodes = client.nodes(&run_id).await?;
    let succeeded = run.counts.unwrap_or_default().succeeded;
    ensure!(succeeded as usize > STEPS, "only {succeeded} of {STEPS} steps and their fan-out have succeeded");
    let again = nodes.iter().filter(|node| node.attempt > 1).count();
    let status = client.mesos().await?;
    let line = json!({
        "bench": "mesos", "agents": status.agents, "steps": STEPS, "seconds": seconds,
        "launches_per_second": status.launched as f64 / seconds, "launched": status.launched,
        "second_attempts": again, "offers": status.offers_closed,
        "offer_held_p50_ms": status.held_p50_ms, "offer_held_p99_ms": status.held_p99_ms,
    });
    println!("{line}");
    Ok(())
}
