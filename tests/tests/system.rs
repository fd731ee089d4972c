//! The whole system through its gRPC face: a trio and an executor of real processes. Wide runs in pages, typed errors,
//! control of runs, and one run's trouble that stays its own.

use std::collections::BTreeSet;
use std::path::Path;

use meson_chaos_tests::{Client, Cluster, Options, until};
use meson_proto::v1::run_service_client::RunServiceClient;
use meson_proto::v1::watch_run_response::Update;
use meson_proto::v1::workflow_service_client::WorkflowServiceClient;
use meson_proto::v1::*;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;

async fn cluster() -> anyhow::Result<(Cluster, Client)> {
    let cluster = Cluster::start(Options::default()).await?;
    let client = Client::new(cluster.endpoints());
    Ok((cluster, client))
}

async fn run(client: &Client, definition: Value) -> anyhow::Result<String> {
    let name = client.register(&definition.to_string()).await?;
    Ok(client.start(&name, "", "").await?)
}

fn shell(id: &str, needs: &[&str], command: &str) -> Value {
    json!({ "id": id, "needs": needs, "kind": "shell", "config": { "command": command } })
}

/// Adds a line to a file, to be counted.
fn mark(file: &Path, word: &str) -> String {
    format!("echo {word} >> {}", file.display())
}

fn marks(file: &Path, word: &str) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().filter(|line| *line == word).count()
}

async fn node(client: &Client, run_id: &str, path: &str) -> anyhow::Result<Node> {
    let request = GetNodeRequest { run_id: run_id.to_owned(), path: path.to_owned() };
    let call = |channel| {
        let request = request.clone();
        async move { RunServiceClient::new(channel).get_node(request).await }
    };
    Ok(client.call(call).await?.node.unwrap_or_default())
}

async fn until_node(client: &Client, run_id: &str, path: &str, status: NodeStatus) -> anyhow::Result<Node> {
    until(&format!("{path} is {status:?}"), || async {
        node(client, run_id, path).await.ok().filter(|node| node.status() == status)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_items_are_run_listed_watched_and_fetched_in_pages() -> anyhow::Result<()> {
    let (_cluster, client) = cluster().await?;
    let one = json!({ "id": "one", "kind": "noop", "resources": { "cpus": 0.01, "mem": "1MiB" } });
    let fan = json!({ "id": "fan", "for_each": { "items": "range(10000) | list", "nodes": [one] } });
    let join = json!({ "id": "join", "needs": ["fan"], "kind": "noop" });
    let run_id = run(&client, json!({ "name": "wide", "nodes": [fan, join] })).await?;
    let ended = client.succeed(&run_id).await?;
    assert_eq!(ended.counts.unwrap_or_default().succeeded, 10_002);

    let nodes = client.nodes(&run_id).await?;
    let paths: BTreeSet<&str> = nodes.iter().map(|node| node.path.as_str()).collect();
    assert_eq!((nodes.len(), paths.len()), (10_002, 10_002), "each node once");
    assert!(paths.contains("fan[9999]/one"));

    for from_sequence in [0, ended.sequence / 2] {
        let expected: BTreeSet<String> =
            nodes.iter().filter(|node| node.sequence > from_sequence).map(|node| node.path.clone()).collect();
        let (seen, last) = watch(&client, &run_id, from_sequence).await?;
        assert_eq!(seen, expected, "from {from_sequence}");
        assert_eq!(last.status(), RunStatus::Succeeded);
    }
    Ok(())
}

/// Paths of all nodes that a watch shows as succeeded, and the run it ends with.
async fn watch(client: &Client, run_id: &str, from_sequence: u64) -> anyhow::Result<(BTreeSet<String>, Run)> {
    let request = WatchRunRequest { run_id: run_id.to_owned(), from_sequence };
    let call = |channel| {
        let request = request.clone();
        async move { RunServiceClient::new(channel).watch_run(request).await }
    };
    let mut stream = client.call(call).await?;
    let (mut seen, mut last) = (BTreeSet::new(), Run::default());
    while let Some(update) = stream.message().await? {
        match update.update {
            Some(Update::Node(node)) if node.status() == NodeStatus::Succeeded => {
                seen.insert(node.path);
            }
            Some(Update::Run(run)) => last = run,
            _ => {}
        }
    }
    Ok((seen, last))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_with_its_place() -> anyhow::Result<()> {
    let (_cluster, client) = cluster().await?;
    let register = |definition: &'static str| {
        let client = &client;
        async move {
            let call = |channel| async move {
                let request = RegisterWorkflowRequest { definition: definition.to_owned() };
                WorkflowServiceClient::new(channel).register_workflow(request).await
            };
            client.call(call).await.expect_err("the definition is wrong")
        }
    };
    let status = register("name: w\nnodes:\n  - { id: a, kind: shel }\n").await;
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    let violation = &details.bad_request().expect("field violations").field_violations[0];
    assert!(
        violation.description.contains("line 3") && violation.description.contains("`shell`"),
        "{violation:?}"
    );

    let typed = json!({ "name": "typed", "params": { "n": { "type": "integer", "maximum": 9 } },
        "nodes": [{ "id": "a", "kind": "noop" }] });
    client.register(&typed.to_string()).await?;
    let wrong = [
        ("typo", "", Code::NotFound, "did you mean `typed`?"),
        ("typed", "", Code::InvalidArgument, "missing"),
        ("typed", "{\"n\": 10}", Code::InvalidArgument, "9"),
        ("typed", "{\"n\": \"x\"}", Code::InvalidArgument, "whole number"),
        ("typed", "{\"n\": 1, \"m\": 2}", Code::InvalidArgument, "`m`"),
        ("typed", "[1]", Code::InvalidArgument, "not a JSON object"),
    ];
    for (workflow, params, code, words) in wrong {
        let status = client.start(workflow, "", params).await.expect_err(params);
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(words), "{params}: {}", status.message());
    }
    let run_id = client.start("typed", "once", "{\"n\": 1}").await?;
    assert_eq!(client.start("typed", "once", "{\"n\": 1}").await?, run_id);
    let status = client.start("typed", "once", "{\"n\": 2}").await.expect_err("another request");
    assert_eq!(status.code(), Code::AlreadyExists);
    let status = client.start("typed", "with space", "{\"n\": 2}").await.expect_err("a bad id");
    assert_eq!(status.code(), Code::InvalidArgument);
    for unknown in ["g1-01jd2k3m4n5p6q7r8s9t0v1w2x", "nonsense"] {
        assert_eq!(client.run(unknown).await.expect_err("no such run").code(), Code::NotFound);
    }
    client.succeed(&run_id).await?;
    let restart = |channel| {
        let request = RestartRunRequest { run_id: run_id.clone() };
        async move { RunServiceClient::new(channel).restart_run(request).await }
    };
    assert_eq!(client.call(restart).await.expect_err("it succeeded").code(), Code::FailedPrecondition);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_runs_trouble_stays_its_own() -> anyhow::Result<()> {
    let (_cluster, client) = cluster().await?;
    let noop = |id: &str| json!({ "id": id, "kind": "noop" });
    let big = "head -c 1048576 /dev/zero | tr '\\0' x > big; printf '{\"output\": {\"x\": \"%s\"}}\\n' \"$(cat big)\" >> \"$MESON_EVENTS\"";
    let missing = json!({ "id": "b", "needs": ["a"], "kind": "shell", "config": { "command": "echo {{ outputs.a.x }}" } });
    let endless = "{% for i in range(100000) %}{% for j in range(100000) %}{{ j }}{% endfor %}{% endfor %}";
    let poison = [
        ("big-output", json!([shell("a", &[], big)]), "output_too_large", FailureClass::User),
        ("missing-output", json!([noop("a"), missing]), "render_failed", FailureClass::Rejected),
        ("endless-template", json!([shell("a", &[], endless)]), "render_failed", FailureClass::Rejected),
    ];
    let mut runs = Vec::new();
    for (name, nodes, reason, class) in poison {
        runs.push((run(&client, json!({ "name": name, "nodes": nodes })).await?, reason, class));
    }
    let healthy =
        run(&client, json!({ "name": "healthy", "nodes": [noop("a"), shell("b", &["a"], "true")] })).await?;
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
    let (cluster, client) = cluster().await?;
    let file = cluster.dir().join("marks");

    let sleeper = "echo $$ > pid; cp pid \"$MESON_WORKSPACE/pid\"; sleep 300";
    let run_id = run(&client, json!({ "name": "sleeper", "nodes": [shell("a", &[], sleeper)] })).await?;
    until_node(&client, &run_id, "a", NodeStatus::Running).await?;
    let cancel = |channel| {
        let request = CancelRunRequest { run_id: run_id.clone(), reason: "enough".into() };
        async move { RunServiceClient::new(channel).cancel_run(request).await }
    };
    client.call(cancel).await?;
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
    let run_id = run(&client, json!({ "name": "fails-once", "nodes": nodes })).await?;
    assert_eq!(client.wait(&run_id).await?.status(), RunStatus::Failed);
    let restart = |channel| {
        let request = RestartRunRequest { run_id: run_id.clone() };
        async move { RunServiceClient::new(channel).restart_run(request).await }
    };
    client.call(restart).await?;
    client.succeed(&run_id).await?;
    assert_eq!((marks(&file, "first"), marks(&file, "again")), (1, 2));

    // Paused before the signal comes: what the signal frees starts after the resume only.
    let wait = json!({ "id": "gate", "wait": { "signal": "go" } });
    let after = shell("after", &["gate"], "echo {{ outputs.gate.payload.n }}");
    let run_id = run(&client, json!({ "name": "gated", "nodes": [wait, after] })).await?;
    let gate = until_node(&client, &run_id, "gate", NodeStatus::Waiting).await?;
    assert_eq!(gate.waiting_reason, "waits for the signal `go`");
    let pause = |channel| {
        let request = PauseRunRequest { run_id: run_id.clone() };
        async move { RunServiceClient::new(channel).pause_run(request).await }
    };
    client.call(pause).await?;
    let signal = |channel| {
        let payload_json = "{\"n\": 7}".to_owned();
        let request = SignalRunRequest {
            run_id: run_id.clone(),
            signal: "go".into(),
            payload_json,
            request_id: "s".into(),
        };
        async move { RunServiceClient::new(channel).signal_run(request).await }
    };
    client.call(signal).await?;
    client.call(signal).await?;
    let after = until_node(&client, &run_id, "after", NodeStatus::Ready).await?;
    assert_eq!(after.waiting_reason, "the run is paused");
    let resume = |channel| {
        let request = ResumeRunRequest { run_id: run_id.clone() };
        async move { RunServiceClient::new(channel).resume_run(request).await }
    };
    client.call(resume).await?;
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
    let (_cluster, client) = cluster().await?;
    let give =
        |id: &str, outputs: Value| json!({ "id": id, "kind": "noop", "config": { "outputs": outputs } });
    let called = json!({ "name": "called", "params": { "x": { "type": "integer" } },
        "nodes": [give("double", json!({ "y": "{{ params.x * 2 }}" }))], "outputs": { "y": "outputs.double.y" } });
    client.register(&called.to_string()).await?;
    let inner = json!({ "id": "inner", "for_each": { "items": "item", "as": "cell",
        "nodes": [give("one", json!({ "v": "{{ cell + 1 }}" }))], "outputs": { "v": "outputs.one.v" } } });
    let nodes = json!([
        { "id": "grid", "for_each": { "items": [[1, 2], [3]], "nodes": [inner], "outputs": { "v": "outputs.inner.v" } } },
        { "id": "loop", "needs": ["grid"], "repeat": { "until": "state.n >= 8", "max_iterations": 9,
            "state": { "n": 1 }, "carry": { "n": "outputs.call.y" }, "outputs": { "n": "state.n", "rounds": "iteration" },
            "nodes": [{ "id": "call", "subworkflow": { "name": "called", "params": { "x": "{{ state.n }}" } } }] } },
        { "id": "choose", "needs": ["loop"], "switch": {
            "branches": [{ "when": "outputs.loop.n < 8", "nodes": [give("no", json!({}))] },
                { "when": "outputs.loop.n == 8", "nodes": [give("yes", json!({ "w": "right" }))], "outputs": { "w": "outputs.yes.w" } }],
            "default": { "nodes": [give("other", json!({}))] } } },
        { "id": "fails", "kind": "noop", "on_failure": "ignore", "config": { "fail": "on purpose" } },
        { "id": "skipped", "needs": ["fails"], "kind": "noop" },
        { "id": "always", "needs": ["fails", "choose"], "trigger": "all_done", "kind": "noop" },
    ]);
    let outputs = json!({ "grid": "outputs.grid.v", "n": "outputs.loop.n", "rounds": "outputs.loop.rounds", "w": "outputs.choose.w" });
    let run_id = run(&client, json!({ "name": "composed", "nodes": nodes, "outputs": outputs })).await?;
    let ended = client.succeed(&run_id).await?;
    let outputs: Value = serde_json::from_str(&ended.outputs_json)?;
    assert_eq!(outputs, json!({ "grid": [[2, 3], [4]], "n": 8, "rounds": 4, "w": "right" }));
    let status = |path: &'static str| {
        let (client, run_id) = (&client, &run_id);
        async move { node(client, run_id, path).await.map(|node| node.status()) }
    };
    assert_eq!(status("fails").await?, NodeStatus::Failed);
    assert_eq!(status("skipped").await?, NodeStatus::Skipped);
    assert_eq!(status("always").await?, NodeStatus::Succeeded);
    assert_eq!(status("choose[1]/yes").await?, NodeStatus::Succeeded);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_retried_timed_out_and_explained() -> anyhow::Result<()> {
    let (cluster, client) = cluster().await?;
    let file = cluster.dir().join("marks");
    let mut flaky = shell("flaky", &[], &format!("{}; test $MESON_ATTEMPT -eq 3", mark(&file, "try")));
    flaky["retry"] = json!({ "user": { "retries": 2, "delay": "10ms" } });
    let run_id = run(&client, json!({ "name": "flaky", "nodes": [flaky] })).await?;
    client.succeed(&run_id).await?;
    assert_eq!(marks(&file, "try"), 3);

    let mut slow = shell("slow", &[], "sleep 300");
    slow["timeout"] = json!("500ms");
    let run_id = run(&client, json!({ "name": "slow", "nodes": [slow] })).await?;
    let failure = client.wait(&run_id).await?.failure.unwrap_or_default();
    assert_eq!(failure.class(), FailureClass::Timeout);

    let mut huge = shell("huge", &[], "true");
    huge["resources"] = json!({ "cpus": 999 });
    let run_id = run(&client, json!({ "name": "huge", "nodes": [huge] })).await?;
    let huge = until_node(&client, &run_id, "huge", NodeStatus::Ready).await?;
    assert!(huge.waiting_reason.contains("999 cpus"), "{}", huge.waiting_reason);
    Ok(())
}
