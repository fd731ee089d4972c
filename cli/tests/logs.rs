//! `logs`: output as the step wrote it, and going on where a stream broke.

mod common;

use common::fake::Fake;
use common::*;
use meson_proto::v1::*;
use tonic::Status;

fn piece(sequence: u64, stream: LogStream, text: &str) -> Result<ReadLogsResponse, Status> {
    let data = text.as_bytes().to_vec().into();
    let record = LogRecord { sequence, stream: stream.into(), data, ..Default::default() };
    Ok(ReadLogsResponse { records: vec![record], attempt_id: String::new() })
}

#[tokio::test]
async fn each_stream_goes_to_its_own() {
    let fake = Fake::start();
    let pieces = vec![
        piece(1, LogStream::Stdout, "epoch 1\n"),
        piece(2, LogStream::Stderr, "a warning\n"),
        piece(3, LogStream::System, "exit status 0"),
    ];
    fake.script.read_logs.then(Ok(pieces));
    let ended = against(&[&fake.address], &["logs", "1-run", "train", "--attempt", "2", "--tail", "5"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "epoch 1\n"));
    assert_eq!(ended.err, "a warning\n[meson] exit status 0\n");
    let asked = fake.script.read_logs.only();
    assert_eq!((asked.step.as_str(), asked.attempt, asked.tail, asked.follow), ("train", 2, 5, false));
}

#[tokio::test]
async fn following_goes_on_after_a_break() {
    let fake = Fake::start();
    let broken = Err(Status::unavailable("shutting down"));
    fake.script.read_logs.then(Ok(vec![piece(4, LogStream::Stdout, "a\n"), broken]));
    fake.script.read_logs.then(Ok(vec![piece(5, LogStream::Stdout, "b\n")]));
    let ended = against(&[&fake.address], &["logs", "1-run", "train", "-f", "--tail", "1"]).await;
    assert_eq!((ended.code, ended.out.as_str()), (0, "a\nb\n"), "{}", ended.err);
    let seen = fake.script.read_logs.seen();
    assert_eq!((seen[1].from_sequence, seen[1].tail), (5, 0), "from where it broke, no tail again");
}

#[tokio::test]
async fn a_log_that_only_breaks_is_given_up() {
    let fake = Fake::start();
    fake.script.read_logs.then(Ok(vec![Err(Status::unavailable("shutting down"))]));
    let endpoints = [fake.address.as_str()];
    let reading = against(&endpoints, &["--timeout", "1", "logs", "1-run", "train"]);
    let patience = std::time::Duration::from_secs(20);
    let ended = tokio::time::timeout(patience, reading).await.expect("it does not go on for ever");
    assert_eq!(ended.code, 3, "{}", ended.err);
}

#[tokio::test]
async fn json_lines_carry_stream_and_text() {
    let fake = Fake::start();
    fake.script.read_logs.then(Ok(vec![piece(1, LogStream::Stdout, "x\n")]));
    let lines = against(&[&fake.address], &["-o", "json", "logs", "1-run", "train"]).await.json_lines();
    assert_eq!((&lines[0]["stream"], &lines[0]["text"]), (&"stdout".into(), &"x\n".into()));
}
