//! What operators do, as they do it: with mesonctl and signals, on a trio that works meanwhile. Nothing fails for a client
//! that retries, nothing runs twice, nothing is lost.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, ensure};
use meson_chaos_tests::{Client, Cluster, Options, binary_path, until};
use meson_proto::v1::NodeStatus;
use serde_json::json;

fn mesonctl(cluster: &Cluster, args: &[&str]) -> anyhow::Result<Output> {
    let output = Command::new(binary_path("mesonctl")?)
        .args(["--endpoints", &cluster.endpoints().join(",")])
        .args(args)
        .output()?;
    Ok(output)
}

/// Runs mesonctl to success; gives what it printed.
fn done(cluster: &Cluster, args: &[&str]) -> anyhow::Result<String> {
    let output = tokio::task::block_in_place(|| mesonctl(cluster, args))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "mesonctl {args:?}: {said}\n{}", cluster.log_tails());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs mesonctl, which is to refuse; gives what it said.
fn refused(cluster: &Cluster, args: &[&str]) -> anyhow::Result<String> {
    let output = tokio::task::block_in_place(|| mesonctl(cluster, args))?;
    ensure!(output.status.code() == Some(2), "mesonctl {args:?}: {:?}", output.status);
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A chain of steps that leave a line each in a file.
fn chain(cluster: &Cluster, steps: usize, seconds: f64) -> String {
    let history = cluster.dir().join("history");
    let command = format!("echo $MESON_RUN_ID.$MESON_STEP >> {}; sleep {seconds}", history.display());
    let nodes: Vec<_> = (0..steps)
        .map(|step| {
            let needs: Vec<String> = step.checked_sub(1).map(|before| format!("s{before}")).into_iter().collect();
            json!({ "id": format!("s{step}"), "needs": needs, "kind": "shell", "config": { "command": command } })
        })
        .collect();
    json!({ "name": "chain", "nodes": nodes }).to_string()
}

/// Every step of every run wrote its line exactly once.
fn ran_once(cluster: &Cluster, runs: &[String], steps: usize) -> anyhow::Result<()> {
    let history = std::fs::read_to_string(cluster.dir().join("history"))?;
    let mut lines: Vec<&str> = history.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<String> =
        runs.iter().flat_map(|run| (0..steps).map(move |step| format!("{run}.s{step}"))).collect();
    expected.sort();
    ensure!(lines == expected, "each step of each run once: {} of {} lines", lines.len(), expected.len());
    Ok(())
}

/// Starts runs one after the other until told to stop; every request has to be answered.
async fn submit(client: Arc<Client>, stop: Arc<AtomicBool>) -> anyhow::Result<Vec<String>> {
    let mut runs = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        runs.push(client.start("chain", &format!("request-{}", runs.len()), "").await?);
        // tidy: allow sleep: paces the load
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Ok(runs)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_request_and_no_attempt() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Options { cpus: 64, ..Options::default() }).await?;
    let client = Arc::new(Client::new(cluster.endpoints()));
    client.register(&chain(&cluster, 2, 0.2)).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(submit(client.clone(), stop.clone()));
    for replica in [0, 1, 2] {
        let leader = cluster.leader().await?;
        cluster.stop_replica(replica).await?;
        if leader == replica {
            let log = std::fs::read_to_string(cluster.dir().join(format!("replica-{}.log", replica + 1)))?;
            ensure!(log.contains("handed over"), "a leader that stops hands over:\n{log}");
        }
        cluster.start_replica(replica)?;
        cluster.caught_up(replica, (replica + 1) % 3).await?;
    }
    stop.store(true, Ordering::SeqCst);
    let runs = load.await??;
    ensure!(runs.len() > 10, "there was a load: {}", runs.len());
    for run in &runs {
        client.succeed(run).await?;
    }
    ran_once(&cluster, &runs, 2)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_replica_is_replaced_by_a_new_one() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let client = Client::new(cluster.endpoints());
    client.register(&chain(&cluster, 3, 0.5)).await?;
    let run = client.start("chain", "request-1", "").await?;
    let lost = cluster.leader().await?;
    cluster.kill_replica(lost)?;
    cluster.lose_disk(lost)?;
    cluster.leader().await?;

    cluster.start_replica(lost)?;
    let status = until("the replica without its files gives up", || {
        let ended = cluster.ended(lost);
        async move { ended }
    })
    .await?;
    ensure!(!status.success(), "it refuses to take part");
    let log = std::fs::read_to_string(cluster.dir().join(format!("replica-{}.log", lost + 1)))?;
    ensure!(log.contains("mesonctl cluster replace"), "it names the remedy:\n{log}");

    let new = cluster.add_replica()?;
    cluster.start_replica(new)?;
    let [raft, grpc, http] = cluster.addresses(new);
    let (old_id, new_id) = ((lost + 1).to_string(), (new + 1).to_string());
    let member = ["--node-id", &new_id, "--raft", &raft, "--grpc", &grpc, "--http", &http];
    let replace = [&["cluster", "replace", &old_id][..], &member[..]].concat();
    until("the new replica listens", || cluster.status(new)).await?;
    let members = done(&cluster, &replace)?;
    ensure!(members.lines().filter(|line| line.contains("voter")).count() == 3, "{members}");
    done(&cluster, &replace).context("the command may be given again")?;

    // The new one counts: another may go.
    let other = (0..3).find(|replica| *replica != lost).context("there are three")?;
    let leader = cluster.leader().await?;
    cluster.kill_replica(if leader == new { other } else { leader })?;
    client.succeed(&run).await?;
    ran_once(&cluster, &[run], 3)?;
    let refusal = refused(&cluster, &["cluster", "remove", &new_id])?;
    ensure!(refusal.contains("stand still") || refusal.contains("no replica"), "{refusal}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_data_directories_are_lost_and_the_runs_go_on_from_a_backup() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let client = Client::new(cluster.endpoints());
    client.register(&chain(&cluster, 4, 2.0)).await?;
    let run = client.start("chain", "request-1", "").await?;
    until("the second step runs", || async {
        let nodes = client.nodes(&run).await.ok()?;
        nodes.iter().find(|node| node.path == "s1" && node.status() == NodeStatus::Running).map(drop)
    })
    .await?;
    let file = cluster.dir().join("backup").to_string_lossy().into_owned();
    done(&cluster, &["cluster", "backup", &file])?;
    ensure!(refused(&cluster, &["cluster", "backup", &file])?.contains("exists"), "nothing is overwritten");

    for replica in 0..3 {
        cluster.kill_replica(replica)?;
        cluster.lose_disk(replica)?;
    }
    let peers = cluster.peers();
    for replica in 0..3 {
        let dir = cluster.data_dir(replica).to_string_lossy().into_owned();
        let id = (replica + 1).to_string();
        let restore = ["cluster", "restore", &file, "--node-id", &id, "--data-dir", &dir, "--peers", &peers];
        done(&cluster, &restore)?;
        let again = tokio::task::block_in_place(|| mesonctl(&cluster, &restore))?;
        ensure!(!again.status.success(), "a directory with a log in it is not restored into");
    }
    for replica in 0..3 {
        cluster.start_replica(replica)?;
    }
    ensure!(client.start("chain", "request-1", "").await? == run, "P2: the request is remembered");
    client.succeed(&run).await?;
    ran_once(&cluster, &[run], 4)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trio_is_upgraded_one_replica_at_a_time_across_a_change_of_format() -> anyhow::Result<()> {
    let old = Options { env: vec![("MESON_FORMAT_MAX".into(), "1".into())], ..Options::default() };
    let mut cluster = Cluster::start(old).await?;
    let client = Arc::new(Client::new(cluster.endpoints()));
    client.register(&chain(&cluster, 2, 0.2)).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(submit(client.clone(), stop.clone()));
    let executor = client.executors().await?.first().context("there is one")?.executor_id.clone();

    cluster.set_env("MESON_FORMAT_MAX", "0");
    for replica in 0..3 {
        let refusal = refused(&cluster, &["executors", "drain", &executor])?;
        ensure!(refusal.contains("format 2"), "not before all know it: {refusal}");
        cluster.stop_replica(replica).await?;
        cluster.start_replica(replica)?;
        cluster.caught_up(replica, (replica + 1) % 3).await?;
    }
    until("all replicas agree on a newer format", || async {
        let status = cluster.status(cluster.leader().await.ok()?).await?;
        (status.format > 1).then_some(())
    })
    .await?;
    done(&cluster, &["executors", "drain", &executor])?;
    let drained = client.executors().await?;
    ensure!(drained.iter().all(|executor| executor.draining), "{drained:?}");
    done(&cluster, &["executors", "undrain", &executor])?;
    stop.store(true, Ordering::SeqCst);
    let runs = load.await??;
    for run in &runs {
        client.succeed(run).await?;
    }
    ran_once(&cluster, &runs, 2)?;

    // The log holds old commands and new ones; a replica reads both, and one of the old version says what it cannot.
    cluster.stop_replica(0).await?;
    cluster.start_replica(0)?;
    cluster.caught_up(0, 1).await?;
    cluster.stop_replica(0).await?;
    cluster.set_env("MESON_FORMAT_MAX", "1");
    cluster.start_replica(0)?;
    until("the old version stops", || {
        let ended = cluster.ended(0);
        async move { ended }
    })
    .await?;
    let log = std::fs::read_to_string(cluster.dir().join("replica-1.log"))?;
    ensure!(log.contains("format 2"), "of the command that it stops at:\n{log}");
    Ok(())
}
