//! The session: reports until acknowledged, redirects, deposed leaders, restarts and failovers.

mod common;

use common::leader::{Leader, Manners, Record};
use common::process::{Executor, binary, processes_of, until};
use common::{is_terminal, launch, reason, shell};
use meson_proto::v1::session_response::Message as Heard;
use meson_proto::v1::{AttemptState, Kill, Launch};
use nix::sys::signal::Signal;
use serde_json::json;

async fn pair() -> (Leader, Executor) {
    let leader = Leader::start(Manners::default()).await;
    let executor = Executor::start(&[&leader.address], &[]);
    leader.hello(1).await;
    (leader, executor)
}

/// A step that leaves a line a start in the workspace, and ends when it is told.
const WAITING: &str = r#"echo started >> "$MESON_WORKSPACE/starts"; echo out
    echo '{"output": {"n": 1}}' >> "$MESON_EVENTS"
    while ! test -e "$MESON_WORKSPACE/go"; do sleep 0.02; done"#;

async fn waiting(leader: &Leader, executor: &Executor, attempt_id: &str) -> std::path::PathBuf {
    let workspace = executor.data_dir.join("workspaces/g1-01jd2k3m4n5p6q7r8s9t0v1w2x");
    leader.launch(shell(attempt_id, WAITING)).await;
    until("it runs", || workspace.join("starts").exists()).await;
    workspace
}

#[tokio::test]
async fn a_report_is_repeated_until_it_is_acknowledged() {
    let (leader, mut executor) = pair().await;
    leader.behave(|manners| manners.ack_reports = false);
    leader.launch(shell("a1", "exit 4")).await;
    let first = leader.end_of("a1").await;
    leader.launch(shell("a1", "exit 4")).await;
    let said = |record: &Record| record.reports.iter().filter(|report| is_terminal(report)).count();
    leader.until("again in this session", |record| (said(record) >= 2).then_some(())).await;
    leader.drop_session();
    leader.hello(2).await;
    leader.until("again in the next", |record| (said(record) >= 3).then_some(())).await;

    executor.kill();
    let before = said(&leader.record());
    leader.behave(|manners| manners.ack_reports = true);
    executor.restart();
    let known = leader.hello(3).await.attempts;
    assert_eq!((known.len(), known[0].attempt_id.as_str(), known[0].running), (1, "a1", false));
    leader.until("again after a restart", |record| (said(record) > before).then_some(())).await;
    assert!(
        leader.record().reports.iter().filter(|r| is_terminal(r)).all(|r| r.report_id == first.report_id)
    );

    until("it is forgotten", || executor.recorded("a1").done).await;
    executor.kill();
    executor.restart();
    assert!(leader.hello(4).await.attempts.is_empty());
}

#[tokio::test]
async fn a_running_attempt_is_adopted_after_kill_9_and_not_doubled() {
    let (leader, mut executor) = pair().await;
    let workspace = waiting(&leader, &executor, "r1").await;
    executor.kill();
    assert!(!processes_of("r1", &executor.data_dir).is_empty());
    executor.restart();
    let known = leader.hello(2).await.attempts;
    assert_eq!((known[0].attempt_id.as_str(), known[0].running), ("r1", true));
    leader.launch(shell("r1", WAITING)).await;
    std::fs::write(workspace.join("go"), "").unwrap();
    let end = leader.end_of("r1").await;
    assert_eq!((end.state(), end.outputs_json.as_str()), (AttemptState::Succeeded, r#"{"n":1}"#));
    assert_eq!(std::fs::read_to_string(workspace.join("starts")).unwrap(), "started\n");
    assert_eq!(leader.record().ends_of("r1").len(), 1);
}

#[tokio::test]
async fn an_attempt_that_ended_meanwhile_is_reported_as_it_ended() {
    let (leader, mut executor) = pair().await;
    let workspace = waiting(&leader, &executor, "r2").await;
    executor.kill();
    std::fs::write(workspace.join("go"), "").unwrap();
    until("it ended", || executor.recorded("r2").exit.is_some()).await;
    executor.restart();
    let end = leader.end_of("r2").await;
    assert_eq!((end.state(), end.outputs_json.as_str()), (AttemptState::Succeeded, r#"{"n":1}"#));
}

#[tokio::test]
async fn an_attempt_that_vanished_is_lost_and_cleaned_up() {
    let (leader, mut executor) = pair().await;
    waiting(&leader, &executor, "r3").await;
    executor.kill();
    let supervisor = executor.recorded("r3").supervisor.unwrap().pid;
    meson_executor::task::proc::kill_hard(&[supervisor]);
    executor.restart();
    assert_eq!(reason(&leader.end_of("r3").await), "executor_restart_lost");
    assert!(processes_of("r3", &executor.data_dir).is_empty());
}

#[tokio::test]
async fn a_graceful_stop_leaves_attempts_running() {
    let (leader, mut executor) = pair().await;
    let workspace = waiting(&leader, &executor, "r4").await;
    executor.signal(Signal::SIGTERM);
    assert!(executor.wait());
    assert!(!processes_of("r4", &executor.data_dir).is_empty());
    executor.restart();
    leader.hello(2).await;
    std::fs::write(workspace.join("go"), "").unwrap();
    assert_eq!(leader.end_of("r4").await.state(), AttemptState::Succeeded);
}

#[tokio::test]
async fn redirects_are_followed() {
    let leader = Leader::start(Manners::default()).await;
    let follower =
        Leader::start(Manners { redirect_to: Some(leader.address.clone()), ..Manners::default() }).await;
    let _executor = Executor::start(&[&follower.address], &[]);
    leader.hello(1).await;
    leader.launch(launch("n1", "noop", json!({}))).await;
    leader.end_of("n1").await;
    assert!(!follower.record().hellos.is_empty());
}

#[tokio::test]
async fn a_failover_keeps_attempts_and_lease() {
    let second = Leader::start(Manners { term: 2, ..Manners::default() }).await;
    let replicas = vec![second.address.clone()];
    let first = Leader::start(Manners { replicas, ..Manners::default() }).await;
    let executor = Executor::start(&[&first.address], &[]);
    first.hello(1).await;
    let workspace = waiting(&first, &executor, "f1").await;
    // Silent, not gone: the hardest way to lose a leader.
    first.behave(|manners| {
        manners.ack_heartbeats = false;
        manners.redirect_to = Some(String::new());
    });
    let hello = second.hello(1).await;
    assert!(hello.attempts[0].running);
    std::fs::write(workspace.join("go"), "").unwrap();
    assert_eq!(second.end_of("f1").await.state(), AttemptState::Succeeded);
}

#[tokio::test]
async fn a_deposed_leader_is_not_obeyed() {
    let leader = Leader::start(Manners { term: 5, ..Manners::default() }).await;
    let executor = Executor::start(&[&leader.address], &[]);
    leader.hello(1).await;
    leader.launch(Launch { term: 4, ..launch("old", "noop", json!({})) }).await;
    leader.launch(Launch { term: 6, ..shell("new", WAITING) }).await;
    let workspace = executor.data_dir.join("workspaces/g1-01jd2k3m4n5p6q7r8s9t0v1w2x");
    until("it runs", || workspace.join("starts").exists()).await;
    leader
        .say(Heard::Kill(Kill { term: 5, attempt_id: "new".into(), fence: 1, grace_ms: 1, discard: false }))
        .await;
    std::fs::write(workspace.join("go"), "").unwrap();
    assert_eq!(leader.end_of("new").await.state(), AttemptState::Succeeded);
    assert!(leader.record().ends_of("old").is_empty());
    leader.behave(|manners| manners.term = 5);
    leader.drop_session();
    leader.hello(2).await;
    leader.behave(|manners| manners.term = 7);
    leader.hello(3).await;
}

#[tokio::test]
async fn a_stale_fence_is_refused() {
    let (leader, _executor) = pair().await;
    let step = |id: &str, fence| Launch { fence, step: "same".into(), ..launch(id, "noop", json!({})) };
    leader.launch(step("s2", 2)).await;
    assert_eq!(leader.end_of("s2").await.state(), AttemptState::Succeeded);
    leader.launch(step("s1", 1)).await;
    assert_eq!(reason(&leader.end_of("s1").await), "stale_fence");
}

#[tokio::test]
async fn a_second_executor_on_the_same_directory_refuses() {
    let (leader, executor) = pair().await;
    let output = binary()
        .args(["--data-dir", executor.data_dir.to_str().unwrap(), "--endpoints", &leader.address])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("another executor uses"));
    let printed = binary().args(["--print-config", "--cpus", "3"]).env("MESON_GPUS", "2").output().unwrap();
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(printed.contains("cpus = 3.0") && printed.contains("gpus = 2"), "{printed}");
}

#[tokio::test]
async fn thousands_of_noops() {
    const STEPS: usize = 5_000;
    let (leader, _executor) = pair().await;
    let begin = std::time::Instant::now();
    for step in 0..STEPS {
        leader.launch(launch(&format!("n{step}"), "noop", json!({}))).await;
    }
    leader.until("all", |record| (record.reports.len() >= STEPS).then_some(())).await;
    eprintln!("{STEPS} noop steps in {:?}", begin.elapsed());
    let mut ids: Vec<u64> = leader.record().reports.iter().map(|report| report.report_id).collect();
    ids.dedup();
    assert!(ids.is_sorted() && ids.len() == STEPS);
}
