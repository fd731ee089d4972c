//! Ways to end an attempt: kill, timeout, memory, lease. Nothing of its tree may be left.

mod common;

use common::leader::{Leader, Manners};
use common::process::{Executor, processes_of, until};
use common::{reason, shell};
use meson_executor::task::spec::Cause;
use meson_proto::v1::{FailureClass, Launch, Resources};

async fn pair(manners: Manners) -> (Leader, Executor) {
    let leader = Leader::start(manners).await;
    let executor = Executor::start(&[&leader.address], &[]);
    leader.hello(1).await;
    (leader, executor)
}

/// A step that ignores SIGTERM, with a grandchild in a session of its own and an orphan; says when all are there.
const STUBBORN: &str = r#"
    trap '' TERM
    setsid sh -c 'trap "" TERM; touch "$MESON_WORKSPACE/grandchild"; while :; do sleep 1; done' &
    (sh -c 'trap "" TERM; touch "$MESON_WORKSPACE/orphan"; while :; do sleep 1; done' &)
    while :; do sleep 1; done"#;

async fn stubborn(leader: &Leader, executor: &Executor, launch: Launch) {
    let workspace = executor.data_dir.join("workspaces/g1-01jd2k3m4n5p6q7r8s9t0v1w2x");
    leader.launch(launch).await;
    until("the tree is there", || workspace.join("grandchild").exists() && workspace.join("orphan").exists())
        .await;
}

fn none_left(attempt_id: &str, executor: &Executor) -> bool {
    processes_of(attempt_id, &executor.data_dir).is_empty()
}

#[tokio::test]
async fn a_kill_is_polite_first() {
    let (leader, executor) = pair(Manners::default()).await;
    let command =
        r#"trap 'echo saved; exit 0' TERM; touch "$MESON_WORKSPACE/ready"; while :; do sleep 0.02; done"#;
    leader.launch(shell("k1", command)).await;
    until("ready", || executor.data_dir.join("workspaces/g1-01jd2k3m4n5p6q7r8s9t0v1w2x/ready").exists())
        .await;
    leader.kill("k1", 20_000, false).await;
    let end = leader.end_of("k1").await;
    assert_eq!((end.failure.as_ref().unwrap().class(), reason(&end)), (FailureClass::Cancelled, "killed"));
    assert!(leader.record().log_text("k1").contains("saved"));
}

#[tokio::test]
async fn a_kill_reaches_all_that_ignore_it() {
    let (leader, executor) = pair(Manners::default()).await;
    stubborn(&leader, &executor, shell("k2", STUBBORN)).await;
    leader.kill("k2", 100, false).await;
    assert_eq!(reason(&leader.end_of("k2").await), "killed");
    assert!(none_left("k2", &executor));
}

#[tokio::test]
async fn a_kill_that_overtakes_its_launch_holds() {
    let (leader, executor) = pair(Manners::default()).await;
    leader.kill("k9", 100, false).await;
    assert_eq!(reason(&leader.end_of("k9").await), "unknown_attempt");
    leader.launch(shell("k9", "touch \"$MESON_WORKSPACE/k9\"")).await;
    // Orders are taken in turn: once the later one is done, the earlier one would have begun.
    leader.launch(shell("k10", "true")).await;
    leader.end_of("k10").await;
    assert!(!executor.attempt("k9").exists(), "it was given up, and another attempt may run by now");
}

#[tokio::test]
async fn a_discarded_attempt_says_nothing_more() {
    let (leader, executor) = pair(Manners::default()).await;
    stubborn(&leader, &executor, shell("k3", STUBBORN)).await;
    leader.kill("k3", 50, true).await;
    until("it is gone", || none_left("k3", &executor)).await;
    leader.launch(shell("k4", "true")).await;
    leader.end_of("k4").await;
    assert!(leader.record().ends_of("k3").is_empty());
}

#[tokio::test]
async fn an_unknown_attempt_is_gone() {
    let (leader, _executor) = pair(Manners::default()).await;
    leader.kill("nobody", 0, true).await;
    leader.kill("stranger", 0, false).await;
    let end = leader.end_of("stranger").await;
    assert_eq!(
        (end.failure.as_ref().unwrap().class(), reason(&end)),
        (FailureClass::Platform, "unknown_attempt")
    );
    assert!(leader.record().ends_of("nobody").is_empty());
}

#[tokio::test]
async fn a_timeout_kills_the_tree() {
    let (leader, executor) = pair(Manners::default()).await;
    leader.launch(Launch { timeout_ms: 200, ..shell("t1", STUBBORN) }).await;
    let end = leader.end_of("t1").await;
    assert_eq!((end.failure.as_ref().unwrap().class(), reason(&end)), (FailureClass::Timeout, "timeout"));
    assert!(none_left("t1", &executor));
}

#[tokio::test]
async fn too_much_memory_kills_the_tree() {
    let (leader, executor) = pair(Manners::default()).await;
    let resources = Some(Resources { mem_bytes: 64 << 20, ..Resources::default() });
    let command = r#"python3 -c 'x = b"x" * (300 << 20); import signal; signal.pause()'"#;
    leader.launch(Launch { resources, ..shell("m1", command) }).await;
    let end = leader.end_of("m1").await;
    assert_eq!((end.failure.as_ref().unwrap().class(), reason(&end)), (FailureClass::User, "out_of_memory"));
    assert!(none_left("m1", &executor));
}

#[tokio::test]
async fn orphans_do_not_outlive_a_step_that_succeeds() {
    let (leader, executor) = pair(Manners::default()).await;
    leader.launch(shell("b1", "setsid sleep 600 & echo started")).await;
    assert!(leader.end_of("b1").await.failure.is_none());
    assert!(none_left("b1", &executor));
}

#[tokio::test]
async fn the_end_of_the_lease_kills_and_is_reported_later() {
    let (leader, executor) = pair(Manners { lease_ms: 1_500, ..Manners::default() }).await;
    stubborn(&leader, &executor, shell("l1", STUBBORN)).await;
    leader.behave(|manners| manners.ack_heartbeats = false);
    let acknowledged = meson_executor::clock::boot_ms();
    until("all are dead", || none_left("l1", &executor)).await;
    // An acknowledgement may have been on its way; its heartbeat was sent before.
    assert!(meson_executor::clock::boot_ms() <= acknowledged + 1_500 + 100);
    let end = leader.end_of("l1").await;
    assert_eq!(
        (end.failure.as_ref().unwrap().class(), reason(&end)),
        (FailureClass::Platform, "lease_expired")
    );
}

#[tokio::test]
async fn the_patience_of_a_kill_ends_with_the_lease() {
    let (leader, executor) = pair(Manners { lease_ms: 1_500, ..Manners::default() }).await;
    stubborn(&leader, &executor, shell("l3", STUBBORN)).await;
    leader.kill("l3", 3_600_000, false).await;
    leader.behave(|manners| manners.ack_heartbeats = false);
    until("all are dead", || none_left("l3", &executor)).await;
    assert_eq!(executor.recorded("l3").exit.unwrap().cause, Cause::Killed);
}

#[tokio::test]
async fn the_lease_ends_for_a_dead_or_stopped_executor_too() {
    for stop in [nix::sys::signal::Signal::SIGKILL, nix::sys::signal::Signal::SIGSTOP] {
        let (leader, executor) = pair(Manners { lease_ms: 1_500, ..Manners::default() }).await;
        stubborn(&leader, &executor, shell("l2", STUBBORN)).await;
        executor.signal(stop);
        until("all are dead", || none_left("l2", &executor)).await;
        assert_eq!(executor.recorded("l2").exit.unwrap().cause, Cause::LeaseExpired);
    }
}

#[tokio::test]
async fn the_lease_ends_for_steps_without_a_process() {
    let (leader, _executor) = pair(Manners { lease_ms: 400, ..Manners::default() }).await;
    leader.launch(common::launch("i1", "noop", serde_json::json!({"duration": "1h"}))).await;
    leader.until("it runs", |record| record.heartbeats.iter().find(|beat| beat.sequence > 3).cloned()).await;
    leader.behave(|manners| manners.ack_heartbeats = false);
    assert_eq!(reason(&leader.end_of("i1").await), "lease_expired");
    leader.launch(common::launch("i2", "noop", serde_json::json!({"duration": "1h"}))).await;
    leader.kill("i2", 1, false).await;
    assert_eq!(reason(&leader.end_of("i2").await), "killed");
}
