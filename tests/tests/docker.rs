//! `docker` steps on a real engine, through a real trio: what comes out of them, how they fail, and that nothing of them
//! stays behind or runs twice, whatever is killed.

use std::path::PathBuf;

use anyhow::ensure;
use meson_chaos_tests::{Client, Cluster, Options, until};
use meson_engines::podman::{IMAGE, Podman};
use meson_proto::v1::*;
use meson_tests::system::{start, with};
use serde_json::{Value, json};

async fn cluster() -> anyhow::Result<(Podman, Cluster, Client)> {
    let podman = Podman::start().await?;
    let env = vec![("MESON_DOCKER_HOST".to_owned(), podman.host())];
    let cluster = Cluster::start(Options { env, ..Options::default() }).await?;
    let client = Client::new(cluster.endpoints());
    Ok((podman, cluster, client))
}

/// A step with a container that runs a script.
fn container(id: &str, script: &str) -> Value {
    let config = json!({ "image": IMAGE, "command": ["sh", "-c", script], "network": "none" });
    json!({ "id": id, "kind": "docker", "config": config, "resources": { "cpus": 0.5, "mem": "64MiB" } })
}

fn one(name: &str, step: Value) -> Value {
    json!({ "name": name, "nodes": [step] })
}

/// Waits until nothing is left of any container.
async fn until_gone(podman: &Podman) -> anyhow::Result<()> {
    until("no container is left", || async { podman.containers().ok()?.is_empty().then_some(()) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_out_of_containers() -> anyhow::Result<()> {
    let (podman, cluster, client) = cluster().await?;
    let speaks = "cat \"$MESON_PARAMS\" > \"$MESON_WORKSPACE/params\"; echo out; echo err >&2
        echo '{\"percent\": 50, \"message\": \"half\", \"data\": {\"folds\": 2}}' >> \"$MESON_EVENTS\"
        while ! test -e \"$MESON_WORKSPACE/go\"; do sleep 1; done
        echo '{\"output\": {\"step\": \"'$MESON_STEP'\", \"user\": '$(id -u)'}}' >> \"$MESON_EVENTS\"; touch made-here";
    // What comes by a parameter is one argument, whatever it looks like.
    let hostile = "; touch /tmp/pwned $(touch /tmp/pwned) \" '";
    let config = json!({ "image": IMAGE, "network": "none", "user": "7:7", "command":
        ["sh", "-c", "test \"$1\" = \"$EXPECTED\" && test $(id -u) = 7 && ! test -e /tmp/pwned", "sh", "{{ params.text }}"] });
    let env = json!({ "EXPECTED": hostile });
    let injected = json!({ "id": "injected", "kind": "docker", "config": config, "env": env,
        "resources": { "cpus": 0.5, "mem": "64MiB" } });
    let params = json!({ "text": { "type": "string", "default": hostile } });
    let runs = [
        start(
            &client,
            json!({ "name": "speaks", "params": params, "nodes": [container("a", speaks), injected] }),
        )
        .await?,
        start(&client, one("fails", container("a", "echo the reason >&2; exit 3"))).await?,
        start(&client, one("is-late", with(container("a", "sleep 300"), json!({ "timeout": "3s" })))).await?,
        start(&client, one("eats", container("a", "dd if=/dev/zero of=/dev/null bs=512M count=1"))).await?,
        start(
            &client,
            one(
                "has-no-program",
                json!({ "id": "a", "kind": "docker",
            "config": { "image": IMAGE, "command": ["/nowhere"], "network": "none" } }),
            ),
        )
        .await?,
        start(
            &client,
            one(
                "has-no-image",
                json!({ "id": "a", "kind": "docker",
            "config": { "image": "localhost/none:1", "pull": "never" } }),
            ),
        )
        .await?,
    ];
    let seen = until("what it says is seen", || async {
        let node = client.node(&runs[0], "a").await.ok()?;
        let is_said = node.percent == Some(50.0) && node.message == "half";
        (is_said && node.data_json == r#"{"folds":2}"# || node.ended_at.is_some()).then_some(node)
    })
    .await?;
    ensure!(seen.ended_at.is_none(), "while it runs: {seen:?}");
    std::fs::write(cluster.dir().join("executor-1/workspaces").join(&runs[0]).join("go"), "")?;
    client.succeed(&runs[0]).await?;
    let node = client.nodes(&runs[0]).await?.into_iter().find(|node| node.path == "a").unwrap_or_default();
    assert_eq!(node.outputs_json, r#"{"step":"a","user":0}"#);
    let failures = [
        ("exit_status", FailureClass::User, "the reason"),
        ("timeout", FailureClass::Timeout, ""),
        ("out_of_memory", FailureClass::User, "67108864 bytes"),
        ("exit_status", FailureClass::User, "No such file"),
        ("no_image", FailureClass::User, "localhost/none:1"),
    ];
    for (run_id, (reason, class, text)) in runs[1..].iter().zip(failures) {
        let failure = client.wait(run_id).await?.failure.unwrap_or_default();
        ensure!(failure.reason == reason && failure.class() == class, "{reason}: {failure:?}");
        ensure!(failure.message.contains(text), "{text}: {failure:?}");
    }
    until_gone(&podman).await
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_end_with_their_attempts_and_outlive_executors() -> anyhow::Result<()> {
    let (podman, mut cluster, client) = cluster().await?;
    let cancelled =
        start(&client, one("cancelled", container("a", "trap '' TERM; while true; do sleep 1; done")))
            .await?;
    client.until_node(&cancelled, "a", NodeStatus::Running).await?;
    until("the container is there", || async { (podman.containers().ok()?.len() == 1).then_some(()) })
        .await?;
    client.cancel(&cancelled).await?;
    assert_eq!(client.wait(&cancelled).await?.status(), RunStatus::Cancelled);
    assert_eq!(podman.containers()?, Vec::<String>::new(), "when the run has ended nothing is left");

    // The executor dies: its container goes on, is followed again, and ran once.
    let script =
        "echo x >> \"$MESON_WORKSPACE/starts\"; while ! test -e \"$MESON_WORKSPACE/go\"; do sleep 1; done
        echo '{\"output\": {\"starts\": '$(wc -l < \"$MESON_WORKSPACE/starts\")'}}' >> \"$MESON_EVENTS\"";
    let step =
        with(container("a", script), json!({ "retry": { "platform": { "retries": 3, "delay": "1s" } } }));
    let adopted = start(&client, one("adopted", step.clone())).await?;
    let workspace = cluster.dir().join("executor-1/workspaces").join(&adopted);
    until_exists(workspace.join("starts")).await?;
    cluster.kill_executor(0)?;
    cluster.start_executor(0)?;
    std::fs::write(workspace.join("go"), "")?;
    client.succeed(&adopted).await?;
    assert_eq!(client.nodes(&adopted).await?[0].outputs_json, r#"{"starts":1}"#);

    // All processes of the attempt die with the executor: its container is ended before another one starts.
    let retried = start(&client, one("retried", step)).await?;
    let workspace = cluster.dir().join("executor-1/workspaces").join(&retried);
    until_exists(workspace.join("starts")).await?;
    let first = podman.containers()?;
    cluster.kill_executor_and_attempts(0)?;
    assert_eq!(podman.containers()?, first, "nobody was left to end it");
    cluster.start_executor(0)?;
    until("another container than the first", || async {
        let now = podman.containers().ok()?;
        (now.len() == 1 && now != first).then_some(())
    })
    .await?;
    std::fs::write(workspace.join("go"), "")?;
    client.succeed(&retried).await?;
    assert_eq!(client.nodes(&retried).await?[0].outputs_json, r#"{"starts":2}"#);
    until_gone(&podman).await
}

async fn until_exists(path: PathBuf) -> anyhow::Result<()> {
    until(&format!("{} is there", path.display()), || async { path.exists().then_some(()) }).await
}
