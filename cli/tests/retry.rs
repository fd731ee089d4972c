//! One client over many replicas: what one cannot answer, the next does, and nothing is done twice.

mod common;

use std::net::TcpListener;

use common::fake::Fake;
use common::*;
use meson_proto::v1::*;
use tonic::Status;

/// A fake that knows the workflow and starts its run.
fn starting() -> Fake {
    let fake = Fake::start();
    fake.script.get_workflow.then(Ok(GetWorkflowResponse { workflow: Some(workflow()), versions: vec![] }));
    let started = StartRunResponse { run: Some(run(RunStatus::Running)), created: true };
    fake.script.start_run.then(Ok(started));
    fake
}

#[tokio::test]
async fn a_dead_replica_is_passed_over() {
    let fake = starting();
    let ended = against(&[&nobody(), &fake.address], &["submit", "greet"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "1-run\n"), "{}", ended.err);
}

#[tokio::test]
async fn a_retried_submit_keeps_its_request_id() {
    let first = Fake::start();
    first.script.get_workflow.then(Ok(GetWorkflowResponse { workflow: Some(workflow()), versions: vec![] }));
    first.script.start_run.then(Err(Status::unavailable("there is no leader right now")));
    let second = starting();
    let ended = against(&[&first.address, &second.address], &["submit", "greet"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let (asked, again) = (first.script.start_run.only(), second.script.start_run.only());
    assert_eq!(asked, again, "the same request, id and all");
    assert_eq!(asked.request_id.len(), 26, "a ULID was made up: {}", asked.request_id);
}

#[tokio::test]
async fn two_submits_have_two_request_ids() {
    let fake = starting();
    for _ in 0..2 {
        assert_eq!(against(&[&fake.address], &["submit", "greet"]).await.code, 0);
    }
    let seen = fake.script.start_run.seen();
    assert_ne!(seen[0].request_id, seen[1].request_id);
}

#[tokio::test]
async fn a_given_request_id_is_kept() {
    let fake = starting();
    against(&[&fake.address], &["submit", "greet", "--request-id", "nightly-7"]).await;
    assert_eq!(fake.script.start_run.only().request_id, "nightly-7");
}

#[tokio::test]
async fn a_signal_is_retried_under_one_request_id() {
    let (first, second) = (Fake::start(), Fake::start());
    first.script.signal_run.then(Err(Status::unavailable("the leader went away")));
    second.script.signal_run.then(Ok(SignalRunResponse { run: Some(run(RunStatus::Running)) }));
    let arguments = ["runs", "signal", "1-run", "approved", "--payload", r#"{"by":"ann"}"#];
    let ended = against(&[&first.address, &second.address], &arguments).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(first.script.signal_run.only(), second.script.signal_run.only());
    assert!(!first.script.signal_run.only().request_id.is_empty());
}

#[tokio::test]
async fn the_same_replica_is_asked_again_after_a_pause() {
    let fake = Fake::start();
    let script = &fake.script.list_runs;
    script.then(Err(Status::unavailable("an election is on"))).then(Err(Status::unavailable("still")));
    script.then(Ok(ListRunsResponse::default()));
    let ended = against(&[&fake.address], &["runs", "list"]).await;
    assert_eq!((ended.code, fake.script.list_runs.seen().len()), (0, 3), "{}", ended.err);
}

#[tokio::test]
async fn refusals_are_not_asked_twice() {
    let (first, second) = (Fake::start(), Fake::start());
    first.script.cancel_run.then(Err(Status::not_found("there is no run `1-x`")));
    let ended = against(&[&first.address, &second.address], &["runs", "cancel", "1-x"]).await;
    assert_eq!((ended.code, second.script.cancel_run.seen().len()), (2, 0));
}

#[tokio::test]
async fn a_replica_that_hangs_leaves_time_for_the_next() {
    // Connections are taken by the system and never answered, as by a stopped process.
    let hanging = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", hanging.local_addr().expect("it is bound"));
    let fake = Fake::start();
    fake.script.list_runs.then(Ok(ListRunsResponse::default()));
    let ended = against(&[&address, &fake.address], &["--timeout", "4", "runs", "list"]).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
}
