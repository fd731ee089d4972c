//! meson-scheduler: one replica of the scheduler.

use std::io::IsTerminal as _;

use clap::Parser as _;
use meson_scheduler::config::{Command, Config, Flags};
use meson_scheduler::offline;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    if let Some(Command::Check) = &flags.command {
        return offline::check(&Config::data_dir_of(&flags)?);
    }
    let config = Config::load(&flags)?;
    if flags.print_config {
        println!("{}", toml::to_string_pretty(&config)?);
        return Ok(());
    }
    let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(&config.log_level))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    die_on_panic();
    match &flags.command {
        Some(Command::Restore { file }) => return offline::restore(&config, file),
        Some(Command::Check) | None => {}
    }
    // Actors live on this thread; gRPC and the log on the runtime's workers.
    let system = actix::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("the runtime starts once, first of all")
    });
    system.block_on(async move {
        let (stop, stopping) = watch::channel(false);
        actix::spawn(async move {
            if wait_for_signal().await.is_ok() {
                stop.send_replace(true);
            }
        });
        meson_scheduler::serve::run(config, stopping).await
    })
}

async fn wait_for_signal() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// The truth is in the log: a replica whose insides are in doubt ends, and comes back from there.
fn die_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
}
