//! Pipelines on a Mesos cluster: executors launched by agents, and what happens when leaders, masters and agents fail.
//! Mesos is the stand-in of this repository.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use meson_chaos_tests::mesos::Mesos;
use meson_chaos_tests::{Client, until};
use meson_mesos::operator::Operator;
use meson_mesos::v1::master::Call;
use meson_mesos::v1::master::call::{self, Teardown};
use meson_proto::v1::*;
use meson_tests::system::{noop, shell, start, with};
use meson_workflow::Definition;
use nix::sys::signal::Signal;
use serde_json::json;

/// Waits until that many steps of a run have succeeded.
async fn progress(client: &Client, run_id: &str, steps: u32) -> anyhow::Result<()> {
    until(&format!("{steps} steps have succeeded"), || async {
        let run = client.run(run_id).await.ok()?;
        let done = run.counts.unwrap_or_default().succeeded >= steps;
        (done || run.status() != RunStatus::Running).then_some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_runs_on_mesos_through_all_failovers() -> anyhow::Result<()> {
    let data = PathBuf::from(std::env::var("EXAMPLE_DATA").context("EXAMPLE_DATA: see `make test`")?);
    let mut mesos = Mesos::start(&["rack:r1", "rack:r2"]).await?;
    let mut cluster = mesos.trio(&[]).await?;
    let client = Client::new(cluster.endpoints());
    let example = meson_tests::root().join("examples/recommendations");
    let published = mesos.dir().join("published");
    let definition = Definition::from_yaml(&std::fs::read_to_string(example.join("workflow.yaml"))?)
        .map_err(|problems| anyhow::anyhow!("{problems}"))?;
    client.register(&definition.canonical_json()).await?;
    let params = json!({ "home": example, "python": data.join("venv/bin/python"),
        "data": data.join("movielens/movielens.sqlite"), "publish_to": published, "factors": 4, "epochs": 4 });
    let run_id = client.start("recommendations", "once", &params.to_string()).await?;

    progress(&client, &run_id, 3).await?;
    let leader = cluster.leader().await?;
    cluster.kill_replica(leader)?;
    progress(&client, &run_id, 6).await?;
    let master = usize::from(client.mesos().await?.master != mesos.address(0));
    mesos.kill_master(master)?;
    progress(&client, &run_id, 9).await?;
    mesos.signal_agent(0, Signal::SIGSTOP)?;
    progress(&client, &run_id, 12).await?;
    mesos.signal_agent(0, Signal::SIGCONT)?;
    cluster.start_replica(leader)?;

    let run = client.succeed(&run_id).await.map_err(|error| error.context(cluster.log_tails()))?;
    ensure!(
        published.join("model.json").exists() || published.read_dir()?.next().is_some(),
        "nothing was published"
    );
    ensure!(run.counts.unwrap_or_default().succeeded > 12, "the faults came before the end");
    // An ACCEPT may die with its master; then its attempt never began, and there is another one. That nothing which ran is
    // started again is what the chaos tests check, by what steps themselves say.
    let hosts: Vec<String> =
        client.executors().await?.into_iter().map(|executor| executor.hostname).collect();
    ensure!(
        hosts.iter().all(|host| host.starts_with("agent-")) && !hosts.is_empty(),
        "executors on {hosts:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_that_mesos_forgot_is_registered_anew() -> anyhow::Result<()> {
    let mesos = Mesos::start(&["rack:r1"]).await?;
    let cluster = mesos.trio(&[("MESON_LEASE_MS", "4000"), ("MESON_LEASE_MARGIN_MS", "1000")]).await?;
    let client = Client::new(cluster.endpoints());
    let went = mesos.dir().join("went");
    let once = format!("[ -e {0} ] || {{ touch {0}; sleep 600; }}", went.display());
    let run_id = start(&client, json!({ "name": "forgotten", "nodes": [shell("a", &[], &once)] })).await?;
    until("it runs", || async { went.exists().then_some(()) }).await?;
    let before = client.mesos().await?.framework_id;

    let refused = client.register_anew(&before).await.expect_err("an attempt lives");
    ensure!(refused.message().contains("1 attempts still run"), "{refused:?}");
    let teardown = Call {
        r#type: Some(call::Type::Teardown as i32),
        teardown: Some(Teardown { framework_id: before.as_str().into() }),
        ..Call::default()
    };
    Operator::new(mesos.address(0), false, Default::default())?.call(&teardown).await?;
    until("Mesos is known to have forgotten it", || async {
        client.mesos().await.ok()?.trouble.contains("register-anew").then_some(())
    })
    .await?;
    until("its attempts are given up", || async { client.register_anew(&before).await.ok() }).await?;

    client.succeed(&run_id).await?;
    let after = client.mesos().await?;
    ensure!(after.subscribed && after.framework_id != before, "{after:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_have_roles_and_constraints_see_attributes() -> anyhow::Result<()> {
    let mesos = Mesos::start(&["rack:r1", "rack:r2;disks:{ssd,nvme}"]).await?;
    let cluster = mesos.trio(&[("MESON_MESOS_ROLES", "{science=\"analytics\"}")]).await?;
    let client = Client::new(cluster.endpoints());
    let on = |id: &str, attribute: &str, value: &str| {
        let constraint = json!([{ "attribute": attribute, "operator": "equals", "values": [value] }]);
        with(shell(id, &[], "hostname"), json!({ "constraints": constraint }))
    };
    let nodes = json!([on("a", "rack", "r2"), on("b", "hostname", "agent-1"), noop("c", &["a", "b"])]);
    let run_id = start(&client, json!({ "name": "placed", "nodes": nodes })).await?;
    client.succeed(&run_id).await?;
    let executors = client.executors().await?;
    let host = |node: &Node| {
        let of = executors.iter().find(|executor| executor.executor_id == node.agent_id);
        of.map(|executor| executor.hostname.clone()).unwrap_or_default()
    };
    for (path, wanted) in [("a", "agent-2"), ("b", "agent-1")] {
        let nodes = client.nodes(&run_id).await?;
        let node = nodes.iter().find(|node| node.path == path).context("the node is there")?;
        ensure!(host(node) == wanted, "{path} ran on {}", host(node));
    }

    let nowhere = json!([on("a", "rack", "r9")]);
    let waiting = start(&client, json!({ "name": "nowhere", "nodes": nowhere })).await?;
    until("it says what it waits for", || async {
        let nodes = client.nodes(&waiting).await.ok()?;
        nodes[0].waiting_reason.contains("no agent offers attribute rack=r9").then_some(())
    })
    .await?;
    client.cancel(&waiting).await?;

    client.register(&json!({ "name": "theirs", "nodes": [noop("a", &[])] }).to_string()).await?;
    let run_id = client.start_with_labels("theirs", &[("tenant", "science")]).await?;
    client.succeed(&run_id).await?;
    Ok(())
}
