//! The real executor as a custom executor of Mesos, launched by the stand-in's agent, with a scheduler of our own library.

#![allow(clippy::unwrap_used, reason = "all of it is test")]

mod common;
mod mesos_support;

use common::leader::{Leader, Manners};
use common::process::until;
use common::shell;
use meson_mesos::v1::{TaskState, TaskStatus};
use meson_proto::v1::{AttemptState, Report};
use mesos_support::Cluster;
use prost::Message as _;

fn report(status: &TaskStatus) -> Report {
    Report::decode(&status.data.as_ref().unwrap()[..]).unwrap()
}

/// Runs until its file is there.
fn waiting(cluster: &Cluster, attempt_id: &str) -> meson_proto::v1::Launch {
    let (began, go) = (cluster.path("began"), cluster.path("go"));
    shell(
        attempt_id,
        &format!("touch {}; while ! test -e {}; do sleep 0.02; done", began.display(), go.display()),
    )
}

#[tokio::test]
async fn success_is_told_both_ways_with_the_same_report() {
    let leader = Leader::start(Manners::default()).await;
    let mut cluster = Cluster::start(&leader.address, &[], &[]).await;
    cluster.launch(&shell("a1", r#"echo '{"output": {"n": 1}}' >> "$MESON_EVENTS"; sleep 0.3"#)).await;
    let running = cluster.update("a1").await;
    assert_eq!(running.state(), TaskState::TaskRunning);
    let finished = cluster.update("a1").await;
    assert_eq!(finished.state(), TaskState::TaskFinished);
    let said = leader.end_of("a1").await;
    assert_eq!((report(&finished), said.outputs_json.as_str()), (said.clone(), r#"{"n":1}"#));
    let hello = leader.hello(1).await.mesos.unwrap();
    assert_eq!(hello.framework_id, cluster.framework_id);
    assert_eq!(hello.agent_id, cluster.agent_id());
    assert_eq!(leader.record().claims, ["a1"]);
}

#[tokio::test]
async fn a_refused_claim_never_begins_and_frees_its_resources() {
    let leader = Leader::start(Manners { permit: false, ..Manners::default() }).await;
    let mut cluster = Cluster::start(&leader.address, &[], &[]).await;
    let began = cluster.path("began");
    cluster.launch(&shell("a1", &format!("touch {}", began.display()))).await;
    let killed = cluster.update("a1").await;
    assert_eq!((killed.state(), killed.data), (TaskState::TaskKilled, None));
    assert!(!began.exists() && leader.record().ends_of("a1").is_empty());
}

#[tokio::test]
async fn data_that_is_no_launch_of_the_task_is_an_error() {
    let leader = Leader::start(Manners::default()).await;
    let mut cluster = Cluster::start(&leader.address, &[], &[]).await;
    cluster.launch_as("other", &shell("a1", "true")).await;
    let status = cluster.update("other").await;
    assert_eq!(status.state(), TaskState::TaskError);
    assert!(status.message().contains("a1"), "{}", status.message());
}

#[tokio::test]
async fn a_kill_has_the_patience_of_its_policy() {
    let leader = Leader::start(Manners::default()).await;
    let mut cluster = Cluster::start(&leader.address, &[], &[]).await;
    let ready = cluster.path("ready");
    // Deaf to the polite signal: only force ends it, and the launch's own patience is longer than the test's.
    let mut launch =
        shell("a1", &format!("trap '' TERM; touch {}; while :; do sleep 0.05; done", ready.display()));
    launch.kill_grace_ms = 3_600_000;
    cluster.launch(&launch).await;
    until("it is deaf", || ready.exists()).await;
    cluster.kill("a1", 200).await;
    let killed = cluster.last("a1").await;
    assert_eq!(killed.state(), TaskState::TaskKilled);
    assert_eq!(report(&killed), leader.end_of("a1").await);
}

#[tokio::test]
async fn without_grpc_the_session_goes_through_framework_messages() {
    let leader = Leader::start(Manners::default()).await;
    // Nobody listens on port 1.
    let flags = ["--message-fallback-after-ms", "100", "--log-wait-ms", "200"];
    let mut cluster = Cluster::start("http://127.0.0.1:1", &flags, &[]).await;
    cluster.launch(&shell("a1", "echo lost; exit 3")).await;
    let failed = cluster.last_with("a1", Some(&leader)).await;
    assert_eq!(failed.state(), TaskState::TaskFailed);
    let report = report(&failed);
    assert_eq!((report.exit_code, report.log_complete), (Some(3), false));
    assert_eq!(leader.record().claims, ["a1"]);
    assert!(leader.record().hellos[0].mesos.is_some());
}

#[tokio::test]
async fn shutdown_ends_everything_and_says_so() {
    let leader = Leader::start(Manners::default()).await;
    let cluster = Cluster::start(&leader.address, &[], &[]).await;
    let launch = waiting(&cluster, "a1");
    cluster.launch(&launch).await;
    let began = cluster.path("began");
    until("it runs", || began.exists()).await;
    cluster.shutdown().await;
    let end = leader.end_of("a1").await;
    assert_eq!(end.state(), AttemptState::Failed);
    until("nothing is left", || cluster.processes("a1").is_empty() && cluster.executors().is_empty()).await;
}

#[tokio::test]
async fn an_attempt_goes_on_while_the_agent_restarts() {
    let leader = Leader::start(Manners::default()).await;
    let mut cluster = Cluster::start(&leader.address, &[], &[]).await;
    let launch = waiting(&cluster, "a1");
    cluster.launch(&launch).await;
    assert_eq!(cluster.update("a1").await.state(), TaskState::TaskRunning);
    let before = cluster.executors();
    cluster.kill_agent();
    std::fs::write(cluster.path("go"), "").unwrap();
    // Said to the leader while the agent is away, and to the agent when it is back.
    let end = leader.end_of("a1").await;
    cluster.start_agent();
    let finished = cluster.last("a1").await;
    assert_eq!((finished.state(), report(&finished)), (TaskState::TaskFinished, end));
    assert_eq!(cluster.executors(), before);
}

#[tokio::test]
async fn a_killed_executor_leaves_nothing_running() {
    let leader = Leader::start(Manners { lease_ms: 3_600_000, ..Manners::default() }).await;
    let mut cluster = Cluster::start(&leader.address, &[], &[]).await;
    // Not even what left the process group of its step.
    cluster.launch(&shell("a1", "setsid sleep 3600 & sleep 3600")).await;
    assert_eq!(cluster.update("a1").await.state(), TaskState::TaskRunning);
    assert!(!cluster.processes("a1").is_empty());
    cluster.kill_executor();
    until("all is gone", || cluster.processes("a1").is_empty()).await;
    assert_ne!(cluster.last("a1").await.state(), TaskState::TaskFinished);
}

#[tokio::test]
async fn an_idle_executor_ends() {
    let leader = Leader::start(Manners::default()).await;
    let mut cluster = Cluster::start(&leader.address, &["--idle-shutdown-ms", "500"], &[]).await;
    let launch = waiting(&cluster, "a1");
    cluster.launch(&launch).await;
    assert_eq!(cluster.update("a1").await.state(), TaskState::TaskRunning);
    assert_eq!(cluster.executors().len(), 1);
    std::fs::write(cluster.path("go"), "").unwrap();
    assert_eq!(cluster.last("a1").await.state(), TaskState::TaskFinished);
    until("it ends", || cluster.executors().is_empty()).await;
}

#[tokio::test]
async fn a_polite_signal_is_a_shutdown() {
    let leader = Leader::start(Manners::default()).await;
    let mut cluster = Cluster::start(&leader.address, &[], &[]).await;
    let launch = waiting(&cluster, "a1");
    cluster.launch(&launch).await;
    assert_eq!(cluster.update("a1").await.state(), TaskState::TaskRunning);
    cluster.terminate_executor();
    let killed = cluster.last("a1").await;
    // Of the executor itself: what the agent says of a lost executor has no report.
    assert_eq!((killed.state(), report(&killed).state()), (TaskState::TaskKilled, AttemptState::Failed));
    until("it ends", || cluster.executors().is_empty()).await;
}

#[tokio::test]
async fn without_its_agent_an_executor_ends_with_its_attempts() {
    let leader = Leader::start(Manners::default()).await;
    let mut cluster = Cluster::start(&leader.address, &[], &["--recovery-timeout", "1secs"]).await;
    let launch = waiting(&cluster, "a1");
    cluster.launch(&launch).await;
    assert_eq!(cluster.update("a1").await.state(), TaskState::TaskRunning);
    cluster.kill_agent();
    until("all is gone", || cluster.processes("a1").is_empty() && cluster.executors().is_empty()).await;
}
