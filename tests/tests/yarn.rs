//! `spark` steps on a real YARN, which Meson knows by Spark's own configuration alone: an application lives and ends with its
//! attempt there, too, whoever ends it.

use anyhow::{Context as _, ensure};
use meson_chaos_tests::{Client, Cluster, Options, until};
use meson_engines::yarn::{Application, Yarn};
use meson_proto::v1::*;
use meson_tests::spark::{WAITS, figures, one, step};
use meson_tests::system::{start, with};
use serde_json::{Value, json};

/// A step that waits for a file, in two tasks at once on one executor.
fn waits(yarn: &Yarn, go: &str) -> anyhow::Result<Value> {
    let mut conf = Yarn::conf()?;
    conf["spark.yarn.am.memory"] = json!("512m");
    let executors = json!({ "count": 1, "cores": 2, "memory": "512MiB" });
    let config =
        json!({ "code": WAITS, "args": [yarn.dir().join(go)], "conf": conf, "executors": executors });
    let retry = json!({ "retry": { "platform": { "retries": 3, "delay": "1s" } } });
    Ok(with(step("a", config, "1GiB"), retry))
}

fn begun(yarn: &Yarn, go: &str) -> std::io::Result<usize> {
    Ok(std::fs::read(yarn.dir().join(go).with_extension("begun"))?.len())
}

fn living(yarn: &Yarn) -> Vec<Application> {
    yarn.applications().into_iter().filter(Application::lives).collect()
}

/// Waits until the only application of a run works, and gives it.
async fn working(yarn: &Yarn, client: &Client, run_id: &str) -> anyhow::Result<Application> {
    let figures = figures(client, run_id).await?;
    let living = living(yarn);
    ensure!(living.len() == 1 && figures["application_id"] == living[0].id, "{living:?}, but {figures}");
    living.into_iter().next().context("there is one")
}

async fn until_none(yarn: &Yarn) -> anyhow::Result<()> {
    until("no application and no container is left", || async {
        (living(yarn).is_empty() && yarn.processes().ok()? == 0).then_some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_on_yarn_lives_and_ends_with_its_attempt() -> anyhow::Result<()> {
    let yarn = Yarn::start().await?;
    let options = Options { env: yarn.settings()?, executors: 1, ..Options::default() };
    let mut cluster = Cluster::start(options).await?;
    let client = Client::new(cluster.endpoints());

    // Executor and leader both die: the application goes on, and ran once.
    let adopted = start(&client, one("adopted", waits(&yarn, "adopted")?)).await?;
    let first = working(&yarn, &client, &adopted).await?;
    cluster.kill_executor(0)?;
    let leader = cluster.leader().await?;
    cluster.kill_replica(leader)?;
    cluster.start_executor(0)?;
    std::fs::write(yarn.dir().join("adopted"), "")?;
    client.succeed(&adopted).await?;
    ensure!(begun(&yarn, "adopted")? == 1, "it began once");
    cluster.start_replica(leader)?;
    until_none(&yarn).await?;
    // Its summary comes after its end.
    let last = until("YARN sums it up", || async {
        yarn.applications().pop().filter(|application| !application.tags.is_empty())
    })
    .await?;
    ensure!(last.id == first.id && last.state == "FINISHED", "{last:?}");
    let tag = format!("meson-attempt-{adopted}.1.1");
    ensure!(last.tags.contains(&tag), "{tag}: {last:?}");

    finds_nobody(&client).await?;
    is_cancelled(&yarn, &client).await?;
    is_killed_by_an_operator(&yarn, &client).await?;
    is_lost_with_its_machine(&yarn, &mut cluster, &client).await
}

/// A ResourceManager that is away is no fault of the step's.
async fn finds_nobody(client: &Client) -> anyhow::Result<()> {
    let mut conf = Yarn::conf()?;
    conf["spark.hadoop.yarn.resourcemanager.address"] = json!("127.0.0.1:1");
    conf["spark.hadoop.yarn.resourcemanager.connect.max-wait.ms"] = json!(1000);
    conf["spark.hadoop.ipc.client.connect.max.retries"] = json!(1);
    let step = step("a", json!({ "code": WAITS, "args": ["x"], "conf": conf }), "1GiB");
    let step = with(step, json!({ "retry": { "platform": { "retries": 0 } } }));
    let run_id = start(client, one("finds-nobody", step)).await?;
    let failure = client.wait(&run_id).await?.failure.unwrap_or_default();
    ensure!(failure.class() == FailureClass::Platform && failure.reason == "master_away", "{failure:?}");
    Ok(())
}

async fn is_cancelled(yarn: &Yarn, client: &Client) -> anyhow::Result<()> {
    let run_id = start(client, one("cancelled", waits(yarn, "never")?)).await?;
    working(yarn, client, &run_id).await?;
    client.cancel(&run_id).await?;
    ensure!(client.wait(&run_id).await?.status() == RunStatus::Cancelled, "cancelled");
    until_none(yarn).await
}

/// Who ends an application on purpose does not want it to begin again.
async fn is_killed_by_an_operator(yarn: &Yarn, client: &Client) -> anyhow::Result<()> {
    let run_id = start(client, one("killed", waits(yarn, "never")?)).await?;
    let application = working(yarn, client, &run_id).await?;
    yarn.kill(&application.id)?;
    let failure = client.wait(&run_id).await?.failure.unwrap_or_default();
    ensure!(failure.class() == FailureClass::User && failure.reason == "application_killed", "{failure:?}");
    until_none(yarn).await
}

/// All processes of the attempt die: YARN ends the application, and another one begins once.
async fn is_lost_with_its_machine(yarn: &Yarn, cluster: &mut Cluster, client: &Client) -> anyhow::Result<()> {
    let run_id = start(client, one("lost", waits(yarn, "lost")?)).await?;
    let first = working(yarn, client, &run_id).await?;
    cluster.kill_executor_and_attempts(0)?;
    cluster.start_executor(0)?;
    until("another application than the first", || async {
        let living = living(yarn);
        assert!(living.len() < 2, "two at once: {living:?}");
        (living.len() == 1 && living[0].id != first.id).then_some(())
    })
    .await?;
    std::fs::write(yarn.dir().join("lost"), "")?;
    client.succeed(&run_id).await?;
    ensure!(begun(yarn, "lost")? == 2, "it began once more");
    until_none(yarn).await
}
