//! Exit codes: 0 succeeded, 1 the run did not, 2 usage or refused, 3 nobody answers; and what is said of each.

mod common;

use common::fake::Fake;
use common::*;
use meson_proto::v1::watch_run_response::Update;
use meson_proto::v1::*;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A fake whose watched run ends so.
fn ending(status: RunStatus) -> Fake {
    let fake = Fake::start();
    fake.script.watch_run.then(Ok(vec![Ok(update(9, Update::Run(run(status))))]));
    fake.script.list_nodes.then(Ok(ListNodesResponse::default()));
    fake
}

#[tokio::test]
async fn a_watched_run_gives_its_end_as_exit_code() {
    for (status, code) in [(RunStatus::Succeeded, 0), (RunStatus::Failed, 1), (RunStatus::Cancelled, 1)] {
        let fake = ending(status);
        let ended = against(&[&fake.address], &["runs", "watch", "1-run"]).await;
        assert_eq!(ended.code, code, "{status:?}: {}", ended.err);
    }
}

#[tokio::test]
async fn wrong_words_are_usage() {
    let fake = Fake::start();
    let wrong: [&[&str]; 8] = [
        &["frobnicate"],
        &["runs"],
        &["submit"],
        &["runs", "list", "--status", "sleepy"],
        &["runs", "list", "--label", "no-equals-sign"],
        &["submit", "no-such-file.yaml"],
        &["submit", "--version", "abc", "./file.yaml"],
        &["--timeout", "soon", "runs", "list"],
    ];
    for arguments in wrong {
        let ended = against(&[&fake.address], arguments).await;
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.err);
        assert!(!ended.err.is_empty(), "{arguments:?} says why");
    }
}

#[tokio::test]
async fn addresses_that_are_none_are_usage() {
    for endpoints in ["", "not an address"] {
        let ended = against(&[endpoints], &["runs", "list"]).await;
        assert_eq!(ended.code, 2, "{}", ended.err);
        assert!(ended.err.contains("http://127.0.0.1:7400"), "shows how: {}", ended.err);
    }
}

#[tokio::test]
async fn refusals_are_2_with_the_message() {
    let fake = Fake::start();
    fake.script.get_run.then(Err(Status::not_found("there is no run `1-x`")));
    fake.script.pause_run.then(Err(Status::failed_precondition("the run has ended")));
    for (arguments, message) in
        [(["runs", "get", "1-x"], "there is no run `1-x`"), (["runs", "pause", "1-x"], "the run has ended")]
    {
        let ended = against(&[&fake.address], &arguments).await;
        assert_eq!((ended.code, ended.err), (2, format!("mesonctl: {message}\n")));
    }
}

#[tokio::test]
async fn fields_that_are_wrong_are_shown_line_by_line() {
    let mut details = ErrorDetails::new();
    details.add_bad_request_violation("params.rounds", "5 is more than 3: give at most 3");
    details.add_bad_request_violation("params.name", "missing: give text");
    let fake = Fake::start();
    fake.script.get_workflow.then(Ok(GetWorkflowResponse { workflow: Some(workflow()), versions: vec![] }));
    let refused = Status::with_error_details(Code::InvalidArgument, "two problems", details);
    fake.script.start_run.then(Err(refused));
    let ended = against(&[&fake.address], &["submit", "greet"]).await;
    assert_eq!(ended.code, 2);
    let shown = "mesonctl: refused:\n  params.rounds: 5 is more than 3: give at most 3\n  params.name: missing: give text\n";
    assert_eq!(ended.err, shown);
}

#[tokio::test]
async fn a_full_cluster_says_when_to_try_again() {
    let details = ErrorDetails::with_retry_info(Some(std::time::Duration::from_millis(200)));
    let fake = Fake::start();
    let full = Status::with_error_details(Code::ResourceExhausted, "too many proposals wait", details);
    fake.script.cancel_run.then(Err(full));
    let ended = against(&[&fake.address], &["runs", "cancel", "1-run"]).await;
    assert_eq!(ended.code, 2);
    assert_eq!(ended.err, "mesonctl: too many proposals wait\n  try again in 200 ms\n");
}

#[tokio::test]
async fn nobody_there_is_3() {
    let (first, second) = (nobody(), nobody());
    let commands: [&[&str]; 3] = [&["runs", "list"], &["cluster", "status"], &["logs", "1-run", "say"]];
    for arguments in commands {
        let arguments = [&["--timeout", "0.3"], arguments].concat();
        let ended = against(&[&first, &second], &arguments).await;
        assert_eq!(ended.code, 3, "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains("cannot be reached"), "{}", ended.err);
    }
}

#[tokio::test]
async fn a_reader_that_leaves_is_no_accident() {
    for arguments in [&["schema"][..], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = command(arguments);
        command.stdout(writer).stderr(std::process::Stdio::piped());
        let child = command.spawn().expect("the binary starts");
        let ended = child.wait_with_output().await.expect("it ends");
        assert_eq!(ended.status.code(), Some(141), "as a program that SIGPIPE ended");
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    }
}
