//! `meson-executor`: the executor itself, (hidden) the supervisor and the driver of one attempt, and `fs`, by which steps reach
//! storage.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use meson_executor::agent::{Agent, End};
use meson_executor::attempts::Executor;
use meson_executor::config::{self, Config};
use meson_executor::identity::Identity;
use meson_executor::session::Session;
use meson_executor::task::handle::SUPERVISE;
use meson_executor::{drive, fs, task, telemetry, ways};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

fn main() -> ExitCode {
    // Before anything else: a supervisor starts with every attempt and must cost next to nothing.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == SUPERVISE) {
        let Some(dir) = arguments.next() else { return ExitCode::FAILURE };
        return task::supervise::run(Path::new(&dir)).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let text = |argument: std::ffi::OsString| argument.to_string_lossy().into_owned();
    let arguments: Vec<String> = std::env::args_os().skip(1).map(text).collect();
    if let Some((what, rest)) = arguments.split_first()
        && let Some(ended) =
            drive::run(what, rest).or_else(|| ways::run(what, rest)).or_else(|| fs::run(what, rest))
    {
        return ended;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("meson-executor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let flags = config::command().get_matches();
    let mut config = Config::load(&flags).context("settings")?;
    if flags.get_flag("print_config") {
        print!("{}", toml::to_string(&config).context("settings")?);
        return Ok(());
    }
    telemetry::start(&config.log_level);
    let identity = Identity::claim(&config.data_dir)?;
    // Attempts have other working directories.
    config.data_dir = std::path::absolute(&config.data_dir).context("data directory")?;
    config.workspaces = std::path::absolute(config.workspaces()).context("workspaces")?;
    if !config.secrets_dir.as_os_str().is_empty() {
        config.secrets_dir = std::path::absolute(&config.secrets_dir).context("secrets directory")?;
    }
    let workers = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("runtime")?;
    // A thread for the session alone: nothing that attempts do to the disk may delay a heartbeat.
    let session = tokio::runtime::Builder::new_current_thread().enable_all().build().context("runtime")?;
    let result = session.block_on(serve(config, identity, workers.handle().clone()));
    // Attempts go on under their supervisors; nothing here is worth waiting for.
    workers.shutdown_background();
    result
}

async fn serve(config: Config, identity: Identity, workers: Handle) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    info!(executor_id = identity.executor_id, data_dir = %config.data_dir.display(), "started");
    let folders: Vec<PathBuf> = config.plugins.iter().map(PathBuf::from).collect();
    let plugins = meson_plugins::load(&folders)?;
    for plugin in &plugins {
        plugin.check_programs()?;
        info!(kind = plugin.kind.name, folder = %plugin.folder.display(), "plugin");
    }
    let executor = Executor::open(config, plugins, workers.clone()).context("data directory")?;
    let executor = Arc::new(executor);
    executor.adopt_all().context("attempts of before")?;
    workers.spawn(executor.clone().keep_tidy());
    if executor.config.mesos {
        return serve_mesos(executor, identity, &workers, terminate, interrupt).await;
    }
    tokio::select! {
        () = Session::new(executor, identity, None).run() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("stopped; attempts that run go on and are adopted at the next start");
    Ok(())
}

/// Under Mesos the attempts end with the executor: nobody would start it again in the same sandbox.
async fn serve_mesos(
    executor: Arc<Executor>,
    identity: Identity,
    workers: &Handle,
    mut terminate: Signal,
    mut interrupt: Signal,
) -> anyhow::Result<()> {
    let (agent, ways) = {
        let _entered = workers.enter();
        Agent::start(&executor).context("Mesos")?
    };
    let serving = workers.spawn(agent.clone().serve(executor.clone(), ways));
    let session = Session::new(executor, identity, Some(agent.clone())).run();
    let stopped = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        agent.leave();
        std::future::pending::<()>().await
    };
    let end = tokio::select! {
        end = serving => end.context("the agent's thread")?,
        () = session => End::Done,
        () = stopped => End::Done,
    };
    info!(?end, "stopped");
    anyhow::ensure!(end == End::Done, "the agent is lost");
    Ok(())
}
