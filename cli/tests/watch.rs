//! Following a run: plain lines where there is no terminal, JSON lines, and going on after the stream breaks.

mod common;

use common::fake::Fake;
use common::*;
use meson_proto::v1::watch_run_response::Update;
use meson_proto::v1::*;
use tonic::Status;

/// A failed node with the last words of its code.
fn failed(path: &str) -> Node {
    let failure = Failure {
        class: FailureClass::User.into(),
        reason: "exit_status".to_owned(),
        message: "Traceback\nValueError: \u{7}no \rrows\n".to_owned(),
    };
    Node { failure: Some(failure), ..node(path, NodeStatus::Failed) }
}

/// A step that published a model.
fn published(path: &str) -> Node {
    let artifacts = vec![Artifact { name: "model".to_owned(), uri: "/models/1".to_owned() }];
    Node { artifacts, ..node(path, NodeStatus::Succeeded) }
}

/// What a run with a step that fails once, a fan-out and a wait shows.
fn story() -> Vec<WatchRunResponse> {
    let said = Progress {
        path: "train".into(),
        percent: Some(40.4),
        message: "fold 2".into(),
        ..Default::default()
    };
    let retry = Node { waiting_reason: "retries in 1s".into(), ..node("train", NodeStatus::BackingOff) };
    let again = Node { attempt: 2, ..node("train", NodeStatus::Running) };
    let wide = Node { children_total: 10_000, ..node("regions", NodeStatus::Active) };
    let done =
        Node { children_done: 10_000, children_total: 10_000, ..node("regions", NodeStatus::Succeeded) };
    vec![
        update(1, Update::Node(node("train", NodeStatus::Ready))),
        update(1, Update::Run(run(RunStatus::Running))),
        update(2, Update::Node(node("train", NodeStatus::Running))),
        update(2, Update::Node(node("train", NodeStatus::Running))),
        update(2, Update::Progress(said)),
        update(3, Update::Node(retry)),
        update(4, Update::Node(again)),
        update(5, Update::Node(wide)),
        update(6, Update::Node(done)),
        update(7, Update::Node(failed("train"))),
        update(8, Update::Node(node("report", NodeStatus::Skipped))),
        update(9, Update::Run(Run { failure: failed("train").failure, ..run(RunStatus::Failed) })),
    ]
}

/// What [`story`] looks like in a pipe, with the summary.
const PLAIN: &str = "\
run running
▶ train
  train 40% fold 2
↻ train retries in 1s
▶ train (attempt 2)
▶ regions (10000 parts)
✓ regions 2.0s 10000 done
✗ train 2.0s ValueError: no rows
– report skipped
run failed

run 1-run failed in 1m05s
  artifact model of load: /models/1
  exit_status: Traceback
ValueError: no rows
  ✗ train: ValueError: no rows
    mesonctl logs 1-run train
";

fn nodes(nodes: Vec<Node>) -> Result<ListNodesResponse, Status> {
    Ok(ListNodesResponse { nodes, ..Default::default() })
}

#[tokio::test]
async fn plain_lines_are_stable() {
    let fake = Fake::start();
    fake.script.watch_run.then(Ok(story().into_iter().map(Ok).collect()));
    fake.script.list_nodes.then(nodes(vec![published("load")])).then(nodes(vec![failed("train")]));
    let ended = against(&[&fake.address], &["runs", "watch", "1-run"]).await;
    // Elapsed times of nodes that never started are left out; the skipped one has no end.
    let shown =
        ended.out.lines().map(|line| if line.starts_with("– report") { "– report skipped" } else { line });
    assert_eq!(shown.collect::<Vec<_>>().join("\n") + "\n", PLAIN);
    assert_eq!((ended.code, ended.err.as_str()), (1, ""));
}

#[tokio::test]
async fn a_run_that_succeeds_shows_its_outputs() {
    let fake = Fake::start();
    fake.script.watch_run.then(Ok(vec![Ok(update(9, Update::Run(run(RunStatus::Succeeded))))]));
    fake.script.list_nodes.then(nodes(vec![]));
    let ended = against(&[&fake.address], &["runs", "watch", "1-run"]).await;
    assert_eq!(ended.out, "run succeeded\n\nrun 1-run succeeded in 1m05s\n  rmse = 0.5\n");
}

#[tokio::test]
async fn json_is_a_line_for_each_change() {
    let fake = Fake::start();
    fake.script.watch_run.then(Ok(story().into_iter().map(Ok).collect()));
    let ended = against(&[&fake.address], &["-o", "json", "runs", "watch", "1-run"]).await;
    let lines = ended.json_lines();
    assert_eq!((ended.code, lines.len()), (1, story().len()));
    assert_eq!(lines[0]["node"]["status"], "ready");
    assert_eq!(lines[4]["progress"]["percent"], 40.4);
    assert_eq!(lines[11]["run"]["failure"]["class"], "user");
    assert_eq!(lines[11]["sequence"], 9);
}

#[tokio::test]
async fn a_broken_stream_goes_on_where_it_was() {
    let (first, second) = (Fake::start(), Fake::start());
    let beginning = vec![
        Ok(update(4, Update::Node(node("train", NodeStatus::Running)))),
        Err(Status::unavailable("the leader changed; watch on from the last sequence number")),
    ];
    let gone = Err(Status::unavailable("there is no leader right now"));
    first.script.watch_run.then(Ok(beginning)).then(gone);
    let rest = vec![
        Ok(update(5, Update::Node(node("train", NodeStatus::Succeeded)))),
        Ok(update(9, Update::Run(run(RunStatus::Succeeded)))),
    ];
    second.script.watch_run.then(Ok(rest));
    second.script.list_nodes.then(nodes(vec![]));
    let ended = against(&[&first.address, &second.address], &["runs", "watch", "1-run"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.starts_with("▶ train\n✓ train 2.0s\nrun succeeded\n"), "{}", ended.out);
    assert_eq!(second.script.watch_run.only().from_sequence, 4, "nothing is shown twice");
}

#[tokio::test]
async fn a_stream_that_only_breaks_is_given_up() {
    let fake = Fake::start();
    fake.script.watch_run.then(Ok(vec![]));
    let endpoints = [fake.address.as_str()];
    let watching = against(&endpoints, &["--timeout", "1", "runs", "watch", "1-run"]);
    let patience = std::time::Duration::from_secs(20);
    let ended = tokio::time::timeout(patience, watching).await.expect("it does not go on for ever");
    assert_eq!(ended.code, 3, "{}", ended.err);
    let asked = fake.script.watch_run.seen().len();
    assert!(asked < 50, "it pauses between tries, yet asked {asked} times");
}

#[tokio::test]
async fn a_run_that_is_not_there_is_refused() {
    let fake = Fake::start();
    fake.script.watch_run.then(Err(Status::not_found("there is no run `1-x`")));
    let ended = against(&[&fake.address], &["runs", "watch", "1-x"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (2, "mesonctl: there is no run `1-x`\n"));
}

#[tokio::test]
async fn the_exit_code_is_the_runs_even_without_a_summary() {
    for (status, code) in [(RunStatus::Succeeded, 0), (RunStatus::Failed, 1)] {
        let fake = Fake::start();
        fake.script.watch_run.then(Ok(vec![Ok(update(9, Update::Run(run(status))))]));
        fake.script.list_nodes.then(Err(Status::not_found("the nodes were archived")));
        let ended = against(&[&fake.address], &["runs", "watch", "1-run"]).await;
        assert_eq!(ended.code, code, "{}", ended.err);
        assert!(ended.err.contains("the nodes were archived"), "{}", ended.err);
    }
}
