//! The whole system through its gRPC face: a trio and an executor of real processes. Control of
//! runs, composites, retries, and one run's trouble that stays its own.

use std::path::Path;

use meson_proto::v1::*;
use meson_tests::system::{gives, in_attempts_of, mark, marks, noop, shared, shell, start, with};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn one_runs_trouble_stays_its_own() -> anyhow::Result<()> {
    let (_cluster, client) = shared().await?;
    let big = "head -c 1048576 /dev/zero | tr '\\0' x > big; printf '{\"output\": {\"x\": \"%s\"}}\\n' \"$(cat big)\" >> \"$MESON_EVENTS\"";
    let missing = json!({ "id": "b", "needs": ["a"], "kind": "shell", "config": { "command": "echo {{ outputs.a.x }}" } });
    let endless = "{% for i in range(100000) %}{% for j in range(100000) %}{{ j }}{% endfor %}{% endfor %}";
    let poison = [
        ("big-output", json!([shell("a", &[], big)]), "output_too_large", FailureClass::User),
        ("missing-output", json!([noop("a", &[]), missing]), "render_failed", FailureClass::Rejected),
        ("endless-template", json!([shell("a", &[], endless)]), "render_failed", FailureClass::Rejected),
    ];
    let mut runs = Vec::new();
    for (name, nodes, reason, class) in poison {
        runs.push((start(&client, json!({ "name": name, "nodes": nodes })).await?, reason, class));
    }
    let healthy =
        start(&client, json!({ "name": "healthy", "nodes": [noop("a", &[]), shell("b", &["a"], "true")] }))
            .await?;
    client.succeed(&healthy).await?;
    for (run_id, reason, class) in runs {
        let run = client.wait(&run_id).await?;
        let failure = run.failure.clone().unwrap_or_default();
        assert_eq!((run.status(), failure.reason.as_str()), (RunStatus::Failed, reason), "{failure:?}");
        assert_eq!(failure.class(), class);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_cancelled_paused_restarted_and_signalled() -> anyhow::Result<()> {
    let (cluster, client) = shared().await?;
    let file = cluster.dir().join("marks-of-control");

    let sleeper = "echo $$ > pid; cp pid \"$MESON_WORKSPACE/pid\"; sleep 300";
    let run_id = start(&client, json!({ "name": "sleeper", "nodes": [shell("a", &[], sleeper)] })).await?;
    client.until_node(&run_id, "a", NodeStatus::Running).await?;
    client.cancel(&run_id).await?;
    let ended = client.wait(&run_id).await?;
    assert_eq!(ended.status(), RunStatus::Cancelled);
    let pid = find(cluster.dir(), "pid").expect("the step wrote its pid");
    let pid = std::fs::read_to_string(pid)?;
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "the process is gone");

    // Fails once; a restart runs only what did not succeed.
    let once = format!("{}; test $(grep -c again {}) -gt 1", mark(&file, "again"), file.display());
    let nodes = json!([
        shell("a", &[], &mark(&file, "first")),
        shell("b", &["a"], &once),
        shell("c", &["b"], "true")
    ]);
    let run_id = start(&client, json!({ "name": "fails-once", "nodes": nodes })).await?;
    assert_eq!(client.wait(&run_id).await?.status(), RunStatus::Failed);
    client.restart(&run_id).await?;
    client.succeed(&run_id).await?;
    assert_eq!(marks(&file), ["first", "again", "again"]);

    // Paused before the signal comes: what the signal frees starts after the resume only.
    let wait = json!({ "id": "gate", "wait": { "signal": "go" } });
    let after = shell("after", &["gate"], "echo {{ outputs.gate.payload.n }}");
    let run_id = start(&client, json!({ "name": "gated", "nodes": [wait, after] })).await?;
    let gate = client.until_node(&run_id, "gate", NodeStatus::Waiting).await?;
    assert_eq!(gate.waiting_reason, "waits for the signal `go`");
    client.pause(&run_id).await?;
    client.signal(&run_id, "go", "{\"n\": 7}", "s").await?;
    client.signal(&run_id, "go", "{\"n\": 7}", "s").await?;
    let after = client.until_node(&run_id, "after", NodeStatus::Ready).await?;
    assert_eq!(after.waiting_reason, "the run is paused");
    client.resume(&run_id).await?;
    client.succeed(&run_id).await?;
    Ok(())
}

/// A file of this name under a workspace of the executor.
fn find(dir: &Path, name: &str) -> Option<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?.flatten();
    entries
        .map(|entry| entry.path())
        .find_map(|path| if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) })
}

#[tokio::test(flavor = "multi_thread")]
async fn composites_compose() -> anyhow::Result<()> {
    let (_cluster, client) = shared().await?;
    let called = json!({ "name": "called", "params": { "x": { "type": "integer" } },
        "nodes": [gives("double", &[], json!({ "y": "{{ params.x * 2 }}" }))], "outputs": { "y": "outputs.double.y" } });
    client.register(&called.to_string()).await?;
    let inner = json!({ "id": "inner", "for_each": { "items": "item", "as": "cell",
        "nodes": [gives("one", &[], json!({ "v": "{{ cell + 1 }}" }))], "outputs": { "v": "outputs.one.v" } } });
    let nodes = json!([
        { "id": "grid", "for_each": { "items": [[1, 2], [3]], "nodes": [inner], "outputs": { "v": "outputs.inner.v" } } },
        { "id": "loop", "needs": ["grid"], "repeat": { "until": "state.n >= 8", "max_iterations": 9,
            "state": { "n": 1 }, "carry": { "n": "outputs.call.y" }, "outputs": { "n": "state.n", "rounds": "iteration" },
            "nodes": [{ "id": "call", "subworkflow": { "name": "called", "params": { "x": "{{ state.n }}" } } }] } },
        { "id": "choose", "needs": ["loop"], "switch": {
            "branches": [{ "when": "outputs.loop.n < 8", "nodes": [gives("no", &[], json!({}))] },
                { "when": "outputs.loop.n == 8", "nodes": [gives("yes", &[], json!({ "w": "right" }))], "outputs": { "w": "outputs.yes.w" } }],
            "default": { "nodes": [gives("other", &[], json!({}))] } } },
        { "id": "fails", "kind": "noop", "on_failure": "ignore", "config": { "fail": "on purpose" } },
        { "id": "skipped", "needs": ["fails"], "kind": "noop" },
        { "id": "always", "needs": ["fails", "choose"], "trigger": "all_done", "kind": "noop" },
    ]);
    let outputs = json!({ "grid": "outputs.grid.v", "n": "outputs.loop.n", "rounds": "outputs.loop.rounds", "w": "outputs.choose.w" });
    let run_id = start(&client, json!({ "name": "composed", "nodes": nodes, "outputs": outputs })).await?;
    let ended = client.succeed(&run_id).await?;
    let outputs: Value = serde_json::from_str(&ended.outputs_json)?;
    assert_eq!(outputs, json!({ "grid": [[2, 3], [4]], "n": 8, "rounds": 4, "w": "right" }));
    let status = |path: &'static str| {
        let (client, run_id) = (&client, &run_id);
        async move { client.node(run_id, path).await.map(|node| node.status()) }
    };
    assert_eq!(status("fails").await?, NodeStatus::Failed);
    assert_eq!(status("skipped").await?, NodeStatus::Skipped);
    assert_eq!(status("always").await?, NodeStatus::Succeeded);
    assert_eq!(status("choose[1]/yes").await?, NodeStatus::Succeeded);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_retried_timed_out_and_explained() -> anyhow::Result<()> {
    let (cluster, client) = shared().await?;
    let file = cluster.dir().join("marks");
    let flaky = with(
        shell("flaky", &[], &format!("{}; test $MESON_ATTEMPT -eq 3", mark(&file, "try"))),
        json!({ "retry": { "user": { "retries": 2, "delay": "10ms" } } }),
    );
    let run_id = start(&client, json!({ "name": "flaky", "nodes": [flaky] })).await?;
    client.succeed(&run_id).await?;
    assert_eq!(marks(&file), ["try"; 3]);

    let slow = with(shell("slow", &[], "sleep 300"), json!({ "timeout": "500ms" }));
    let run_id = start(&client, json!({ "name": "slow", "nodes": [slow] })).await?;
    let failure = client.wait(&run_id).await?.failure.unwrap_or_default();
    assert_eq!((failure.class(), failure.reason.as_str()), (FailureClass::Timeout, "timeout"));
    assert!(in_attempts_of(&run_id)?.is_empty(), "nothing of it is left");

    let huge = with(shell("huge", &[], "true"), json!({ "resources": { "cpus": 999 } }));
    let run_id = start(&client, json!({ "name": "huge", "nodes": [huge] })).await?;
    let huge = client.until_node(&run_id, "huge", NodeStatus::Ready).await?;
    assert!(huge.waiting_reason.contains("999 cpus"), "{}", huge.waiting_reason);
    Ok(())
}
