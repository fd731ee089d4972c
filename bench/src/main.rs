//! Whole-system benchmarks: one JSON line for each workload, from submit to end, against a real trio that syncs to disk,
//! beside the floor measured in the same run: what a disk sync and a fork-and-exec cost on this machine right now.

mod floor;
mod mesos;
mod workloads;

use std::time::Instant;

use anyhow::Context as _;
use meson_chaos_tests::{Client, Cluster, Options};
use serde_json::json;

use crate::workloads::Workload;

/// Repetitions of each workload; the median is reported, with the best and the worst.
const REPEAT: usize = 5;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).is_some_and(|first| first == "mesos") {
        return mesos::run().await;
    }
    let cluster = Cluster::start(Options { cpus: 64, ..Options::default() }).await?;
    let client = Client::new(cluster.endpoints());
    let floor = floor::measure(cluster.dir())?;
    println!("{}", json!({ "bench": "floor", "sync_ms": floor.sync_ms, "spawn_ms": floor.spawn_ms }));
    for workload in workloads::all() {
        client.register(&workload.definition).await.with_context(|| workload.name.clone())?;
        let mut seconds = Vec::new();
        for round in 0..REPEAT {
            seconds.push(measure(&client, &workload, round).await?);
        }
        report(&workload, seconds, &floor);
    }
    Ok(())
}

/// Seconds from the first submit to the end of the last run.
async fn measure(client: &Client, workload: &Workload, round: usize) -> anyhow::Result<f64> {
    let started = Instant::now();
    let submit = |number: usize| {
        let request_id = format!("{}-{round}-{number}", workload.name);
        async move { client.start(&workload.name, &request_id, "").await }
    };
    let run_ids = join_all((0..workload.runs).map(submit)).await;
    for run_id in run_ids {
        client.succeed(&run_id?).await?;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Polls all at once, in one task.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (future, output) in &mut pending {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    pending.into_iter().filter_map(|(_, output)| output).collect()
}

fn report(workload: &Workload, mut seconds: Vec<f64>, floor: &floor::Floor) {
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let steps = workload.steps * workload.runs;
    let ms_per_step = median * 1e3 / steps as f64;
    let line = json!({
        "bench": workload.name,
        "runs": workload.runs,
        "steps": steps,
        "seconds": { "median": median, "best": seconds[0], "worst": seconds[seconds.len() - 1] },
        "ms_per_step": ms_per_step,
        "steps_per_second": steps as f64 / median,
        "syncs_per_step": ms_per_step / floor.sync_ms,
        "budget": workload.budget,
    });
    println!("{line}");
}
