//! Runs a command beside the real engines of the full example, on free ports of loopback: HDFS, Spark's Thrift server with a
//! catalog of Hive's kind, and Podman with the image that publishes. The command's environment has Meson's settings for
//! them. When it ends, or this is told to end, the engines are ended, and their files removed.
//!
//! Usage: `engines COMMAND ARGUMENT…`, with `MESON_ENGINES` naming the folder that `make engines` makes.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use meson_tests::hdfs::Hdfs;
use meson_tests::hive::ThriftServer;
use meson_tests::podman::Podman;
use meson_tests::{root, spark};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// What the status is of a command that a signal ended.
const BY_SIGNAL: u8 = 130;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let command: Vec<String> = std::env::args().skip(1).collect();
    let Some((program, arguments)) = command.split_first() else {
        bail!("usage: engines COMMAND ARGUMENT…");
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let work = async {
        eprintln!("engines: starting HDFS, Spark's Thrift server and Podman");
        // A table of Hive's kind needs a catalog on disk.
        let catalog =
            ["--conf", "spark.sql.catalogImplementation=hive", "--conf", "spark.sql.shuffle.partitions=2"];
        let (hdfs, thrift, podman) =
            tokio::try_join!(Hdfs::start(), ThriftServer::start(&catalog), Podman::start())?;
        podman.build(&root().join("examples/recommendations-full/image/build"))?;
        eprintln!(
            "engines: HDFS at {}, Hive at {}, its jobs at {}",
            hdfs.address(),
            thrift.host(),
            thrift.ui()
        );
        let mut child = Command::new(program);
        child.args(arguments).envs(settings(&hdfs, &thrift, &podman)?).kill_on_drop(true);
        let status = child.status().await.with_context(|| format!("{program} cannot be started"))?;
        anyhow::Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(BY_SIGNAL))
    };
    let code = tokio::select! {
        code = work => code?,
        _ = terminate.recv() => BY_SIGNAL,
        _ = interrupt.recv() => BY_SIGNAL,
    };
    Ok(ExitCode::from(code))
}

fn settings(hdfs: &Hdfs, thrift: &ThriftServer, podman: &Podman) -> anyhow::Result<Vec<(String, String)>> {
    let jars = spark::home()?.join("jars/*").to_string_lossy().into_owned();
    // Hive's server writes as the user who asks, and HDFS belongs to who started it.
    let user = nix::unistd::User::from_uid(nix::unistd::getuid())?.context("this user has no name")?.name;
    let own = [
        ("MESON_WORKSPACES", format!("{}/meson/workspaces", hdfs.address())),
        ("MESON_HIVE_SERVER", thrift.host()),
        ("MESON_HIVE_USER", user),
        ("MESON_HIVE_SPARK_UI", thrift.ui()),
        ("MESON_SCALA_CLASSPATH", jars),
        ("MESON_DOCKER_HOST", podman.host()),
        ("HDFS_ADDRESS", hdfs.address()),
    ];
    Ok(spark::local()?.into_iter().chain(own.map(|(name, value)| (name.to_owned(), value))).collect())
}
