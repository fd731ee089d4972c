//! Runs a command beside the real engines of the full example, on free ports of loopback: HDFS, Spark's Thrift server with a
//! catalog of Hive's kind, and Podman with the image that publishes. The command's environment has Meson's settings for
//! them. When this is told to end, or who started it has ended, the command and what else is in its group are told so too,
//! and have a while for it. After that, or when the command has ended, the engines are ended, and their files removed.
//!
//! Usage: `engines COMMAND ARGUMENT…`, with `MESON_ENGINES` naming the folder that `make engines` makes.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use meson_engines::hdfs::Hdfs;
use meson_engines::hive::ThriftServer;
use meson_engines::podman::Podman;
use meson_engines::spark;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// The script that makes the image that publishes.
const IMAGE_BUILD: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/recommendations-full/image/build");

/// What the status is of a command that a signal ended.
const BY_SIGNAL: u8 = 130;

/// How long a command may take to end once it was told to: longer than a trio and its executor take at most.
const END_MAX: Duration = Duration::from_secs(45);

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let command: Vec<String> = std::env::args().skip(1).collect();
    let Some((program, arguments)) = command.split_first() else {
        bail!("usage: engines COMMAND ARGUMENT…");
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // A script that is ended tells nobody.
    set_pdeathsig(Signal::SIGTERM)?;
    let engines = tokio::select! {
        engines = Engines::start() => engines?,
        _ = terminate.recv() => return Ok(ExitCode::from(BY_SIGNAL)),
        _ = interrupt.recv() => return Ok(ExitCode::from(BY_SIGNAL)),
    };
    // In a group of its own, so that a terminal's Ctrl-C comes to it by this program, like any other signal.
    let mut child = Command::new(program)
        .args(arguments)
        .envs(engines.settings()?)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{program} cannot be started"))?;
    let ended = tokio::select! {
        status = child.wait() => status?.code(),
        _ = terminate.recv() => end(&mut child).await?,
        _ = interrupt.recv() => end(&mut child).await?,
    };
    Ok(ExitCode::from(ended.and_then(|code| u8::try_from(code).ok()).unwrap_or(BY_SIGNAL)))
}

/// Tells the command and its group to end, and sees to it that they do. There is no status but that of the signal.
async fn end(child: &mut Child) -> anyhow::Result<Option<i32>> {
    let Some(id) = child.id() else { return Ok(None) };
    let group = Pid::from_raw(i32::try_from(id)?);
    // These fail only when all of the group has ended.
    let _ = killpg(group, Signal::SIGTERM);
    if timeout(END_MAX, child.wait()).await.is_err() {
        eprintln!("engines: the command does not end; killing it");
        let _ = killpg(group, Signal::SIGKILL);
        child.wait().await?;
    }
    Ok(None)
}

struct Engines {
    hdfs: Hdfs,
    thrift: ThriftServer,
    podman: Podman,
}

impl Engines {
    async fn start() -> anyhow::Result<Engines> {
        eprintln!("engines: starting HDFS, Spark's Thrift server and Podman");
        // A table of Hive's kind needs a catalog on disk.
        let catalog =
            ["--conf", "spark.sql.catalogImplementation=hive", "--conf", "spark.sql.shuffle.partitions=2"];
        let (hdfs, thrift, podman) =
            tokio::try_join!(Hdfs::start(), ThriftServer::start(&catalog), Podman::start())?;
        podman.build(Path::new(IMAGE_BUILD))?;
        eprintln!(
            "engines: HDFS at {}, Hive at {}, its jobs at {}",
            hdfs.address(),
            thrift.host(),
            thrift.ui()
        );
        Ok(Engines { hdfs, thrift, podman })
    }

    fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        let jars = spark::home()?.join("jars/*").to_string_lossy().into_owned();
        // Hive's server writes as the user who asks, and HDFS belongs to who started it.
        let user = nix::unistd::User::from_uid(nix::unistd::getuid())?.context("this user has no name")?.name;
        let own = [
            ("MESON_WORKSPACES", format!("{}/meson/workspaces", self.hdfs.address())),
            ("MESON_HIVE_SERVER", self.thrift.host()),
            ("MESON_HIVE_USER", user),
            ("MESON_HIVE_SPARK_UI", self.thrift.ui()),
            ("MESON_SCALA_CLASSPATH", jars),
            ("MESON_DOCKER_HOST", self.podman.host()),
            ("HDFS_ADDRESS", self.hdfs.address()),
        ];
        Ok(spark::local()?.into_iter().chain(own.map(|(name, value)| (name.to_owned(), value))).collect())
    }
}
