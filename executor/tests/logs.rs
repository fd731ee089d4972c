//! Logs: whole, in order, on every replica, and safe before the last report.

mod common;

use common::leader::{Leader, Manners};
use common::process::{Executor, until};
use common::shell;
use meson_proto::v1::{LogRecord, LogStream};

fn in_order(records: &[LogRecord]) -> bool {
    records.iter().zip(1..).all(|(record, sequence)| record.sequence == sequence)
        && records.iter().rev().skip(1).all(|record| !record.end)
        && records.last().is_some_and(|record| record.end)
}

#[tokio::test]
async fn every_replica_gets_the_whole_log() {
    let replicas = [Leader::start(Manners::default()).await, Leader::start(Manners::default()).await];
    let leader = Leader::start(Manners::default()).await;
    let mut addresses: Vec<String> = replicas.iter().map(|replica| replica.address.clone()).collect();
    addresses.push(leader.address.clone());
    leader.behave(|manners| manners.replicas = addresses);
    let executor = Executor::start(&[&leader.address], &[]);
    leader.hello(1).await;
    leader.launch(shell("w1", "echo one; echo two >&2; seq 1 20000; printf unfinished")).await;
    assert!(leader.end_of("w1").await.log_complete);
    let wanted: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    for server in replicas.iter().chain([&leader]) {
        let records = server
            .until("the whole log", |record| record.logs.get("w1").filter(|log| in_order(log)).cloned())
            .await;
        let of = |stream: LogStream| -> String {
            let of_stream = records.iter().filter(|record| record.stream() == stream);
            of_stream.map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect()
        };
        assert_eq!(of(LogStream::Stdout), format!("one\n{wanted}unfinished"));
        assert_eq!(of(LogStream::Stderr), "two\n");
        assert!(records.iter().all(|record| record.data.len() <= 64 * 1024));
        // In pieces as large as the pipe gives them, not line by line.
        assert!(records.len() < 200, "{} records", records.len());
    }
    until("the local log is removed", || executor.recorded("w1").log_stored).await;
    until("its data too", || !executor.attempt("w1").join("log.output").exists()).await;
}

#[tokio::test]
async fn a_silent_step_has_an_end_record() {
    let leader = Leader::start(Manners::default()).await;
    let _executor = Executor::start(&[&leader.address], &[]);
    leader.hello(1).await;
    leader.launch(shell("e1", "true")).await;
    leader.end_of("e1").await;
    let records = leader.record().logs["e1"].clone();
    assert!(in_order(&records) && records.len() == 1 && records[0].data.is_empty());
}

#[tokio::test]
async fn a_majority_is_enough_and_less_is_waited_for_only_so_long() {
    let leader = Leader::start(Manners::default()).await;
    let other = Leader::start(Manners::default()).await;
    let replicas = vec![leader.address.clone(), other.address.clone(), "http://127.0.0.1:1".to_owned()];
    leader.behave(|manners| manners.replicas = replicas);
    let _executor = Executor::start(&[&leader.address], &["--log-wait-ms", "300"]);
    leader.hello(1).await;
    leader.launch(shell("q1", "echo x")).await;
    assert!(leader.end_of("q1").await.log_complete);
    other.behave(|manners| manners.take_logs = false);
    leader.launch(shell("q2", "echo x")).await;
    assert!(!leader.end_of("q2").await.log_complete);
}

#[tokio::test]
async fn sequence_numbers_survive_a_restart() {
    let leader = Leader::start(Manners::default()).await;
    let mut executor = Executor::start(&[&leader.address], &[]);
    leader.hello(1).await;
    let command = r#"echo before; echo x > /dev/stderr
        while ! test -e "$MESON_WORKSPACE/go"; do sleep 0.02; done; echo after"#;
    leader.launch(shell("v1", command)).await;
    leader.until("the first record", |record| record.logs.get("v1").cloned()).await;
    executor.kill();
    executor.restart();
    leader.hello(2).await;
    std::fs::write(executor.data_dir.join("workspaces/g1-01jd2k3m4n5p6q7r8s9t0v1w2x/go"), "").unwrap();
    assert!(leader.end_of("v1").await.log_complete);
    let records = leader.record().logs["v1"].clone();
    assert!(in_order(&records));
    let text = leader.record().log_text("v1");
    assert!(text.contains("before\n") && text.contains("x\n") && text.ends_with("after\n"), "{text}");
}
