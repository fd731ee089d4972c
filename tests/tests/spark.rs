//! `spark` steps on a real Spark: alone on this machine, and with a standalone master, in client and in cluster mode,
//! through a real trio. What comes out, how it fails, and that an application is never there twice or left behind.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use meson_chaos_tests::{Client, Cluster, Options, until};
use meson_engines::spark::{SlowInterface, Standalone, jar, local};
use meson_proto::v1::*;
use meson_tests::spark::{WAITS, figures, one, spark_data, step};
use meson_tests::system::{in_attempts_of, start, with};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// Says what it was given, and lets Spark add up.
const SPEAKS: &str = "import sys, meson_sdk as meson
from pyspark.sql import SparkSession
spark = SparkSession.builder.appName('a name of its own').getOrCreate()
total = spark.sparkContext.parallelize(range(100), 4).sum()
meson.output(total=total, arg=sys.argv[1], conf=spark.conf.get('spark.hadoop.text'))";

/// An interface that takes so long for an answer is as good as none.
const TOO_SLOW: Duration = Duration::from_secs(8);

/// A text that breaks out of its place wherever it can.
const HOSTILE: &str = "'\"; touch pwned; $(touch pwned) `touch pwned` \\ --conf x=y é";

#[tokio::test(flavor = "multi_thread")]
async fn applications_speak_and_fail_as_themselves() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    // More than two at once would be more than two cores are good for.
    let cluster = Cluster::start(Options { env: local()?, cpus: 2, ..Options::default() }).await?;
    let client = Client::new(cluster.endpoints());
    let conf = json!({ "spark.hadoop.text": "{{ params.text }}" });
    let speaks = json!({ "code": SPEAKS, "args": ["{{ params.text }}"], "conf": conf });
    let params = json!({ "text": { "type": "string", "default": HOSTILE } });
    let speaks =
        start(&client, json!({ "name": "speaks", "params": params, "nodes": [step("a", speaks, "1GiB")] }))
            .await?;
    let raises = "from pyspark import SparkContext
def bad(x): raise ValueError('the reason')
SparkContext().parallelize(range(4), 2).map(bad).count()";
    let eats = "from pyspark import SparkContext
SparkContext()
x = bytearray(2 << 30)
while True: x[::4096] = x[::4096]";
    let stalls = "import time
from pyspark import SparkContext
# tidy: allow sleep: it is the step that sleeps, until it is found to stall
SparkContext().parallelize(range(2), 2).map(lambda x: time.sleep(600)).count()";
    let stall = json!({ "code": stalls, "stall": { "after": "4s" } });
    let timeout = with(step("a", json!({ "code": stalls }), "1GiB"), json!({ "timeout": "15s" }));
    // What takes connections and never answers holds the first port that the interface is looked for at.
    let mute = std::net::TcpListener::bind("127.0.0.1:0")?;
    let conf = json!({ "spark.ui.port": mute.local_addr()?.port(), "spark.hadoop.text": "y" });
    let beside_mute = json!({ "code": SPEAKS, "args": ["x"], "conf": conf });
    let silent = json!({ "code": SPEAKS, "args": ["x"], "conf": { "spark.ui.enabled": "false", "spark.hadoop.text": "y" } });
    let fails = [
        (
            step("a", json!({ "code": raises }), "1GiB"),
            FailureClass::User,
            "application_failed",
            "ValueError: the reason",
        ),
        (step("a", json!({ "code": eats }), "1GiB"), FailureClass::User, "out_of_memory", "1073741824"),
        (step("a", stall, "1GiB"), FailureClass::Timeout, "stalled", "no task of local-"),
        // Executor or leader, whoever noticed first, has its own words for it.
        (timeout, FailureClass::Timeout, "timeout", ""),
    ];
    let silent = start(&client, one("has-no-interface", step("a", silent, "1GiB"))).await?;
    let beside_mute = start(&client, one("is-beside-a-mute-one", step("a", beside_mute, "1GiB"))).await?;
    let mut runs = Vec::new();
    for (number, (step, class, reason, text)) in fails.into_iter().enumerate() {
        runs.push((start(&client, one(&format!("fails-{number}"), step)).await?, class, reason, text));
    }
    let (interface, go) = (SlowInterface::new()?, cluster.dir().join("go"));
    let slow = interface.conf("slow", TOO_SLOW);
    let slow = json!({ "code": WAITS, "args": [go], "conf": slow, "stall": { "after": "4s" } });
    let slow = start(&client, one("has-a-slow-interface", step("a", slow, "1GiB"))).await?;
    client.succeed(&speaks).await?;
    let outputs: Value = serde_json::from_str(&client.nodes(&speaks).await?[0].outputs_json)?;
    ensure!(outputs == json!({ "total": 4950, "arg": HOSTILE, "conf": HOSTILE }), "{outputs}");
    client.succeed(&silent).await?;
    client.succeed(&beside_mute).await?;
    for (run_id, class, reason, text) in runs {
        let failure = client.wait(&run_id).await?.failure.unwrap_or_default();
        ensure!(failure.reason == reason && failure.class() == class, "{reason}: {failure:?}");
        ensure!(failure.message.contains(text), "{text}: {failure:?}");
    }
    nothing_is_held_against_a_slow_interface(&client, &slow, &interface, &go).await
}

async fn nothing_is_held_against_a_slow_interface(
    client: &Client,
    run_id: &str,
    interface: &SlowInterface,
    go: &Path,
) -> anyhow::Result<()> {
    until("it was asked in vain, for longer than it may stall", || async {
        (interface.asked("slow") >= 3).then_some(())
    })
    .await?;
    ensure!(client.nodes(run_id).await?[0].ended_at.is_none(), "it goes on");
    std::fs::write(go, "")?;
    client.succeed(run_id).await?;
    ensure!(std::fs::read(go.with_extension("begun"))? == b"x", "it began once");
    Ok(())
}

async fn on_cluster(executors: usize) -> anyhow::Result<(Standalone, Cluster, Client)> {
    let spark = Standalone::start().await?;
    let cluster = Cluster::start(Options { env: spark.settings()?, executors, ..Options::default() }).await?;
    let client = Client::new(cluster.endpoints());
    Ok((spark, cluster, client))
}

async fn applications(spark: &Standalone) -> anyhow::Result<Vec<String>> {
    Ok(spark.state().await?.active_apps.into_iter().map(|app| app.id).collect())
}

async fn drivers(spark: &Standalone) -> anyhow::Result<BTreeSet<String>> {
    Ok(spark.state().await?.active_drivers.into_iter().map(|driver| driver.id).collect())
}

async fn until_none(spark: &Standalone) -> anyhow::Result<()> {
    until("no application is left", || async { applications(spark).await.ok()?.is_empty().then_some(()) })
        .await
}

/// Waits for another application than the first, which must be over by then.
async fn until_followed(spark: &Standalone, first: &[String]) -> anyhow::Result<()> {
    until("another application than the first", || async {
        let now = applications(spark).await.ok()?;
        assert!(now.len() < 2, "two at once: {now:?}");
        (now.len() == 1 && now != first).then_some(())
    })
    .await
}

/// One test at a time: each has several virtual machines of Java.
static TURN: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn an_application_at_a_master_lives_and_ends_with_its_attempt() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let (spark, mut cluster, client) = on_cluster(1).await?;
    let go = spark.dir().join("go");
    let conf = json!({ "spark.executor.memory": "512m", "spark.cores.max": 2 });
    let waits = |go: &Path| {
        let config = json!({ "code": WAITS, "args": [go.to_string_lossy()], "conf": conf });
        with(step("a", config, "1GiB"), json!({ "retry": { "platform": { "retries": 3, "delay": "1s" } } }))
    };

    // Cancelled in the middle of its work: gone from the master when the run has ended.
    let mut step = waits(&spark.dir().join("never"));
    step["config"]["conf"] = json!({});
    step["config"]["executors"] = json!({ "cores": 1, "memory": "512MiB" });
    step["config"]["dynamic_allocation"] = json!({ "max": 2 });
    let cancelled = start(&client, one("cancelled", step)).await?;
    let seen = figures(&client, &cancelled).await?;
    ensure!(applications(&spark).await? == [seen["application_id"].as_str().unwrap_or_default()], "{seen}");
    ensure!(seen["jobs"]["known"] == 2 && seen["stages"][0]["tasks"] == 2, "{seen}");
    until("as many executors as there are tasks", || async {
        let node = client.nodes(&cancelled).await.ok()?.into_iter().next()?;
        (spark_data(&node)["executors"] == 2).then_some(())
    })
    .await?;
    client.cancel(&cancelled).await?;
    ensure!(client.wait(&cancelled).await?.status() == RunStatus::Cancelled, "cancelled");
    ensure!(applications(&spark).await?.is_empty(), "when the run has ended nothing is left");

    // Executor and leader both die: the application goes on, and ran once.
    // Its interface is slow, but not too slow.
    let (interface, mut step) = (SlowInterface::new()?, waits(&go));
    merge(&mut step, interface.conf("adopted", Duration::from_millis(700)));
    let adopted = start(&client, one("adopted", step)).await?;
    figures(&client, &adopted).await?;
    let first = applications(&spark).await?;
    cluster.kill_executor(0)?;
    let leader = cluster.leader().await?;
    cluster.kill_replica(leader)?;
    cluster.start_executor(0)?;
    ensure!(applications(&spark).await? == first, "nothing happened to it");
    std::fs::write(&go, "")?;
    client.succeed(&adopted).await?;
    ensure!(std::fs::read(go.with_extension("begun"))? == b"x", "it began once");
    cluster.start_replica(leader)?;

    // All processes of the attempt die, too: the application ends, and only then another begins.
    let go = spark.dir().join("go-again");
    let retried = start(&client, one("retried", waits(&go))).await?;
    figures(&client, &retried).await?;
    let first = applications(&spark).await?;
    cluster.kill_executor_and_attempts(0)?;
    cluster.start_executor(0)?;
    until_followed(&spark, &first).await?;
    std::fs::write(&go, "")?;
    client.succeed(&retried).await?;
    until_none(&spark).await
}

/// A machine that loses its power tells no master: the application stays there, and executors work for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_machine_left_at_the_master_is_ended_first() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let (spark, mut cluster, client) = on_cluster(2).await?;
    let go = spark.dir().join("go");
    let conf = json!({ "spark.executor.memory": "512m", "spark.cores.max": 2 });
    let config = json!({ "code": WAITS.replace("appName='renamed'", ""), "args": [go], "conf": conf });
    let retry = json!({ "retry": { "platform": { "retries": 3, "delay": "1s" } } });
    let run_id = start(&client, one("lost", with(step("a", config, "1GiB"), retry))).await?;
    figures(&client, &run_id).await?;
    let first = applications(&spark).await?;
    let lost = executor_of(&cluster, &client, &run_id).await?;
    cluster.kill_executor_and_supervisors(lost)?;
    for process in in_attempts_of(&run_id)? {
        let pid = process.file_name().and_then(|name| name.to_str()?.parse().ok()).context("a process")?;
        // One that has just ended is fine too.
        let _ = kill(Pid::from_raw(pid), Signal::SIGSTOP);
    }
    until_followed(&spark, &first).await?;
    std::fs::write(&go, "")?;
    client.succeed(&run_id).await?;
    until_none(&spark).await?;
    cluster.start_executor(lost)?;
    until("what the machine still held is ended", || async {
        in_attempts_of(&run_id).ok()?.is_empty().then_some(())
    })
    .await
}

/// Adds properties of Spark to a step.
fn merge(step: &mut Value, conf: Value) {
    if let (Some(all), Value::Object(more)) = (step["config"]["conf"].as_object_mut(), conf) {
        all.extend(more);
    }
}

/// The same for a jar.
const APP: &str = r#"import org.apache.spark.{SparkConf, SparkContext}
object Waits {
  def main(args: Array[String]): Unit = {
    val go = args(0)
    // tidy: allow sleep: it is the step that waits
    while (args.length > 1 && !new java.io.File(args(1)).exists) Thread.sleep(100)
    val sc = new SparkContext(new SparkConf())
    if (go == "fail") sys.error("the reason")
    val begun = new java.io.FileOutputStream(go + ".begun", true)
    begun.write('x'); begun.close()
    sc.parallelize(1 to 4, 2).count()
    // tidy: allow sleep: it is the step that waits
    sc.parallelize(1 to 4, 2).map { x => while (!new java.io.File(go).exists) Thread.sleep(100); x }.count()
    sc.stop()
  }
}
"#;

fn on_cluster_config(jar: &str, arguments: &[&str]) -> Value {
    let conf =
        json!({ "spark.executor.memory": "512m", "spark.driver.memory": "512m", "spark.cores.max": 1 });
    json!({ "jar": jar, "main_class": "Waits", "deploy_mode": "cluster", "args": arguments, "conf": conf })
}

#[tokio::test(flavor = "multi_thread")]
async fn drivers_on_the_cluster_are_followed_taken_over_and_reaped() -> anyhow::Result<()> {
    let _turn = TURN.lock().await;
    let (spark, mut cluster, client) = on_cluster(2).await?;
    let jar = jar(spark.dir(), "app", APP)?.to_string_lossy().into_owned();
    let config = |arguments: &[&str]| on_cluster_config(&jar, arguments);
    let retry = json!({ "retry": { "platform": { "retries": 3, "delay": "1s" } } });

    let fails = start(&client, one("fails", step("a", config(&["fail"]), "256MiB"))).await?;
    let failure = client.wait(&fails).await?.failure.unwrap_or_default();
    ensure!(failure.class() == FailureClass::User && failure.message.contains("the reason"), "{failure:?}");

    // Two of the same class, one of which has not come as far as an application; and then all executors' machines are lost.
    let [go, late, context] = ["go", "late", "context"].map(|name| spark.dir().join(name));
    let mut runs = Vec::new();
    for (name, arguments) in [("taken-over", &[&go][..]), ("late", &[&late, &context])] {
        let arguments: Vec<String> =
            arguments.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        runs.push(
            start(&client, one(name, with(step("a", config(&arguments), "256MiB"), retry.clone()))).await?,
        );
    }
    figures(&client, &runs[0]).await?;
    let first = until("both have a driver", || async {
        let drivers = drivers(&spark).await.ok()?;
        (drivers.len() == 2).then_some(drivers)
    })
    .await?;
    let lost = executor_of(&cluster, &client, &runs[1]).await?;
    for executor in [lost, 1 - lost] {
        cluster.kill_executor_and_attempts(executor)?;
    }
    // The one comes back at once and says that its attempts are dead; the other is waited for until its lease is over.
    cluster.start_executor(1 - lost)?;
    until("the late one's second attempt waits", || async {
        let node = client.nodes(&runs[1]).await.ok()?.into_iter().next()?;
        (node.attempt == 2 && node.message.starts_with("waits until it is known")).then_some(())
    })
    .await?;
    until("the other's second attempt runs", || async {
        let node = client.nodes(&runs[0]).await.ok()?.into_iter().next()?;
        (node.attempt == 2 && node.message.contains("stage")).then_some(())
    })
    .await?;
    ensure!(drivers(&spark).await? == first, "the first drivers live on, alone");
    // The lost one comes back, too; what its attempts began is no longer its own.
    cluster.start_executor(lost)?;
    std::fs::write(&context, "")?;
    figures(&client, &runs[1]).await?;
    ensure!(drivers(&spark).await? == first, "the first drivers live on, alone");
    for (run_id, go) in runs.iter().zip([go, late]) {
        std::fs::write(&go, "")?;
        client.succeed(run_id).await?;
        ensure!(std::fs::read(go.with_extension("begun"))? == b"x", "it began once");
    }

    let interface = SlowInterface::new()?;
    let go = spark.dir().join("go-slow");
    let mut slow = with(step("a", config(&[&go.to_string_lossy()]), "256MiB"), retry);
    merge(&mut slow, interface.conf("slow", TOO_SLOW));
    a_driver_with_a_slow_interface_is_taken_over(&spark, &mut cluster, &client, slow, &interface).await?;
    what_nobody_wants_is_reaped(&spark, &mut cluster, &client, config(&["never"])).await
}

/// Nobody is left to end it: the leader does.
async fn what_nobody_wants_is_reaped(
    spark: &Standalone,
    cluster: &mut Cluster,
    client: &Client,
    config: Value,
) -> anyhow::Result<()> {
    let run_id = start(client, one("astray", step("a", config, "256MiB"))).await?;
    figures(client, &run_id).await?;
    cluster.kill_executor_and_attempts(0)?;
    cluster.kill_executor_and_attempts(1)?;
    let _ = client.cancel(&run_id).await?;
    until_none(spark).await?;
    until("no driver is left", || async { drivers(spark).await.ok()?.is_empty().then_some(()) }).await
}

/// What the master knows tells whose it is.
async fn a_driver_with_a_slow_interface_is_taken_over(
    spark: &Standalone,
    cluster: &mut Cluster,
    client: &Client,
    step: Value,
    interface: &SlowInterface,
) -> anyhow::Result<()> {
    let go = spark.dir().join("go-slow");
    let run_id = start(client, one("slow", step)).await?;
    let begun = go.with_extension("begun");
    until("it has begun", || async { begun.exists().then_some(()) }).await?;
    let first = drivers(spark).await?;
    for executor in [0, 1] {
        cluster.kill_executor_and_attempts(executor)?;
    }
    for executor in [0, 1] {
        cluster.start_executor(executor)?;
    }
    let asked = interface.asked("slow");
    until("the second attempt follows a driver", || async {
        let node = client.nodes(&run_id).await.ok()?.into_iter().next()?;
        (node.attempt == 2 && node.message.starts_with("driver ")).then_some(())
    })
    .await?;
    until("it is asked again", || async { (interface.asked("slow") > asked).then_some(()) }).await?;
    ensure!(drivers(spark).await? == first, "the first driver lives on, alone");
    std::fs::write(&go, "")?;
    client.succeed(&run_id).await?;
    ensure!(std::fs::read(begun)? == b"x", "it began once");
    Ok(())
}

/// The executor that a run's only step runs on.
async fn executor_of(cluster: &Cluster, client: &Client, run_id: &str) -> anyhow::Result<usize> {
    let agent_id = client.nodes(run_id).await?[0].agent_id.clone();
    let own = std::fs::read_to_string(cluster.dir().join("executor-1/executor_id"))?;
    Ok(usize::from(!own.trim().contains(&agent_id)))
}
