//! Steps that are killed for using too much memory and tried again with more, through a real trio: a Python process that
//! really uses it, and an executor that really kills it.

use anyhow::ensure;
use meson_chaos_tests::{Client, until};
use meson_proto::v1::*;
use meson_tests::system::{shared, start};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

/// Uses 160 MiB; ends by itself, after a while with all of it in use, only where it may.
const EATER: &str = "import os, time, meson_sdk as meson
held = bytearray(160 << 20)
attempt, begun = int(os.environ['MESON_ATTEMPT']), time.monotonic()
while attempt < 3 or time.monotonic() < begun + 1:
    held[::4096] = held[::4096]
meson.output(attempt=attempt)";

fn eater(max: &str) -> Value {
    json!({
        "id": "a", "kind": "python", "config": { "code": EATER }, "resources": { "mem": "64MiB" },
        "retry": { "memory": { "max": max, "delay": "50ms" } },
    })
}

/// Starts a run once all replicas have said that they know of growing memory.
async fn start_when_known(client: &Client, name: &str, step: Value) -> anyhow::Result<String> {
    let definition = json!({ "name": name, "nodes": [step] });
    until("the definition is accepted", || async { start(client, definition.clone()).await.ok() }).await
}

fn held_mib(node: &Node) -> u64 {
    node.holds.unwrap_or_default().mem_bytes / MIB
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_gets_more_memory_until_it_has_enough() -> anyhow::Result<()> {
    let (_cluster, client) = shared().await?;
    let run_id = start_when_known(&client, "eats", eater("1GiB")).await?;
    // What failed is shown while the next attempt is on its way.
    let seen = until("the second attempt is there", || async {
        let node = client.nodes(&run_id).await.ok()?.pop()?;
        (node.attempt == 2 && node.failure.is_some()).then_some(node)
    })
    .await?;
    let failure = seen.failure.clone().unwrap_or_default();
    ensure!(failure.reason == "out_of_memory", "{failure:?}");
    client.succeed(&run_id).await?;
    let node = client.nodes(&run_id).await?.pop().unwrap_or_default();
    ensure!(node.outputs_json == r#"{"attempt":3}"#, "{node:?}");
    ensure!(node.attempt == 3 && held_mib(&node) == 256, "{node:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_has_had_the_most_fails() -> anyhow::Result<()> {
    let (_cluster, client) = shared().await?;
    let run_id = start_when_known(&client, "eats-too-much", eater("100MiB")).await?;
    let run = client.wait(&run_id).await?;
    let failure = run.failure.clone().unwrap_or_default();
    let is_expected = failure.class() == FailureClass::User && failure.reason == "out_of_memory";
    ensure!(run.status() == RunStatus::Failed && is_expected, "{run:?}");
    // The executor's own words, then what was tried.
    ensure!(failure.message.contains("more than its limit of 104857600"), "{failure:?}");
    ensure!(failure.message.ends_with("2 sizes were tried, from 64MiB on"), "{failure:?}");
    let node = client.nodes(&run_id).await?.pop().unwrap_or_default();
    ensure!(node.attempt == 2 && held_mib(&node) == 100, "{node:?}");
    Ok(())
}
