//! `python`, `r` and `scala` steps with the real interpreters, through a real trio: what comes out of them by Meson's own
//! helpers, how they fail, and that a cancelled one leaves no process.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use meson_chaos_tests::{Client, Cluster, Options, until};
use meson_proto::v1::*;
use meson_tests::system::start;
use serde_json::{Value, json};

/// A text that breaks out of its place wherever it can.
const HOSTILE: &str = "'\"; touch pwned; $(touch pwned) `touch pwned` \\ é";

async fn cluster() -> anyhow::Result<(Cluster, Client)> {
    let engines = PathBuf::from(std::env::var("MESON_ENGINES").context("MESON_ENGINES: see `make test`")?);
    let mut pythons = engines.join("spark/lib").read_dir()?;
    let python = pythons.next().context("`make engines` makes it")??.path();
    let jars = python.join("site-packages/pyspark/jars/*").to_string_lossy().into_owned();
    let env = vec![("MESON_SCALA_CLASSPATH".to_owned(), jars)];
    let cluster = Cluster::start(Options { env, ..Options::default() }).await?;
    let client = Client::new(cluster.endpoints());
    Ok((cluster, client))
}

fn step(id: &str, kind: &str, code: &str, more: Value) -> Value {
    let mut config = json!({ "code": code });
    if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
        config.extend(more);
    }
    json!({ "id": id, "kind": kind, "config": config, "resources": { "cpus": 0.5, "mem": "1GiB" } })
}

const PYTHON: &str = "import sys, six, meson_sdk as meson
meson.progress(50, 'half')
meson.output(text=meson.params()['text'], arg=sys.argv[1], six=six.__version__)";
const R: &str = "source(Sys.getenv('MESON_R'))
meson_progress(50, 'half')
meson_output(text = meson_params()$text, arg = commandArgs(trailingOnly = TRUE)[1])";
const SCALA: &str = "import meson.Meson
Meson.progress(50, \"half\")
Meson.output(\"text\" -> Meson.params(\"text\"), \"arg\" -> args(0))";

#[tokio::test(flavor = "multi_thread")]
async fn each_language_speaks_and_fails_as_itself() -> anyhow::Result<()> {
    let (_cluster, client) = cluster().await?;
    let args = json!({ "args": ["{{ params.text }}"] });
    let needs = json!({ "args": ["{{ params.text }}"], "requirements": ["six==1.17.0"] });
    let nodes = json!([
        step("python", "python", PYTHON, needs),
        step("r", "r", R, args.clone()),
        step("scala", "scala", SCALA, args),
    ]);
    let params = json!({ "text": { "type": "string", "default": HOSTILE } });
    let speaks = start(&client, json!({ "name": "speaks", "params": params, "nodes": nodes })).await?;
    let bad = [
        ("python", "raise ValueError('the reason')", json!({}), "exit_status", "ValueError: the reason"),
        (
            "python",
            "1",
            json!({ "requirements": ["no-such-package-of-meson"] }),
            "exit_status",
            "no-such-package-of-meson",
        ),
        (
            "python",
            "x = bytearray(2 << 30)\nwhile True: x[::4096] = x[::4096]",
            json!({}),
            "out_of_memory",
            "",
        ),
        ("r", "stop('the reason')", json!({}), "exit_status", "the reason"),
        ("scala", "sys.error(\"the reason\")", json!({}), "exit_status", "the reason"),
        ("scala", "val x: Int = \"\"", json!({}), "exit_status", "type mismatch"),
    ];
    let mut fail = Vec::new();
    for (number, (kind, code, more, reason, text)) in bad.into_iter().enumerate() {
        let nodes = [step("a", kind, code, more)];
        fail.push((
            start(&client, json!({ "name": format!("fails-{number}"), "nodes": nodes })).await?,
            reason,
            text,
        ));
    }
    client.succeed(&speaks).await?;
    for node in client.nodes(&speaks).await? {
        let outputs: Value = serde_json::from_str(&node.outputs_json)?;
        ensure!(outputs["text"] == HOSTILE && outputs["arg"] == HOSTILE, "{}: {outputs}", node.path);
        ensure!(node.kind != "python" || outputs["six"] == "1.17.0", "{outputs}");
    }
    for (run_id, reason, text) in fail {
        let failure = client.wait(&run_id).await?.failure.unwrap_or_default();
        ensure!(failure.reason == reason && failure.class() == FailureClass::User, "{reason}: {failure:?}");
        ensure!(failure.message.contains(text), "{text}: {failure:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_leaves_no_process() -> anyhow::Result<()> {
    let (cluster, client) = cluster().await?;
    let nodes = json!([
        step(
            "python",
            "python",
            // tidy: allow sleep: it is the step that sleeps, until it is cancelled
            "import os, time, pathlib\npathlib.Path(os.environ['MESON_WORKSPACE'], 'python').touch()\ntime.sleep(300)",
            json!({})
        ),
        step(
            "r",
            "r",
            // tidy: allow sleep: it is the step that sleeps, until it is cancelled
            "file.create(file.path(Sys.getenv('MESON_WORKSPACE'), 'r')); Sys.sleep(300)",
            json!({})
        ),
        step(
            "scala",
            "scala",
            // tidy: allow sleep: it is the step that sleeps, until it is cancelled
            "new java.io.File(sys.env(\"MESON_WORKSPACE\"), \"scala\").createNewFile(); Thread.sleep(300000)",
            json!({})
        ),
    ]);
    let run_id = start(&client, json!({ "name": "sleeps", "nodes": nodes })).await?;
    let workspace = cluster.dir().join("executor-1/workspaces").join(&run_id);
    until("all three run", || async {
        ["python", "r", "scala"].iter().all(|name| workspace.join(name).exists()).then_some(())
    })
    .await?;
    client.cancel(&run_id).await?;
    ensure!(client.wait(&run_id).await?.status() == RunStatus::Cancelled, "cancelled");
    ensure!(in_attempts_of(&run_id)?.is_empty(), "{:?}", in_attempts_of(&run_id)?);
    Ok(())
}

/// Processes that carry the run's id in their environment.
fn in_attempts_of(run_id: &str) -> anyhow::Result<Vec<PathBuf>> {
    let marker = format!("MESON_RUN_ID={run_id}");
    let carries = |dir: &PathBuf| {
        std::fs::read(dir.join("environ")).is_ok_and(|text| String::from_utf8_lossy(&text).contains(&marker))
    };
    Ok(std::fs::read_dir("/proc")?.flatten().map(|entry| entry.path()).filter(carries).collect())
}
