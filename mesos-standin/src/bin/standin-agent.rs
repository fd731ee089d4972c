//! The stand-in's agent process: one agent, or many.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use meson_mesos::{
    duration,
    v1::{
        Attribute,
        value::{Scalar, Text, Type},
    },
};
use meson_mesos_standin::{
    agent::{Agent, Settings},
    command_executor, resources,
};

/// A stand-in of the Mesos agent, for tests. Flags that the real agent has too mean the same.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// Masters, separated by commas; any of them leads.
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:5050")]
    master: Vec<String>,
    /// Address to listen on; with port 0, and for every agent after the first, a free port is taken.
    #[arg(long, default_value = "127.0.0.1:5051")]
    listen: String,
    /// Address under which executors reach the agent.
    #[arg(long, default_value = "127.0.0.1")]
    ip: String,
    /// Host name that offers carry; agents after the first get `-2`, `-3`, … behind it.
    #[arg(long, default_value = "127.0.0.1")]
    hostname: String,
    /// Directory of sandboxes and checkpoints.
    #[arg(long)]
    work_dir: Option<PathBuf>,
    /// What each agent offers.
    #[arg(long, default_value = "cpus:4;mem:4096;disk:10240;ports:[31000-32000]")]
    resources: String,
    /// What each agent is like: `rack:r1;cores:8`.
    #[arg(long, default_value = "")]
    attributes: String,
    /// How many agents this process is.
    #[arg(long, default_value_t = 1)]
    agents: u32,
    /// How long an executor has to subscribe.
    #[arg(long, default_value = "1mins", value_parser = time)]
    executor_registration_timeout: Duration,
    /// How long an executor has to subscribe again after the agent's restart.
    #[arg(long, default_value = "2secs", value_parser = time)]
    executor_reregistration_timeout: Duration,
    /// How long an executor has to end after SHUTDOWN.
    #[arg(long, default_value = "5secs", value_parser = time)]
    executor_shutdown_grace_period: Duration,
    /// How long executors wait for a lost agent.
    #[arg(long, default_value = "15mins", value_parser = time)]
    recovery_timeout: Duration,
    /// First pause before an update that is not acknowledged is sent again; not settable in Mesos.
    #[arg(long, default_value = "10secs", value_parser = time)]
    update_retry: Duration,
}

#[derive(Subcommand)]
enum Command {
    /// Run the command of a task: what the agent starts for tasks without executor.
    CommandExecutor,
}

fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let options = Options::parse();
    if let Some(Command::CommandExecutor) = options.command {
        return command_executor::run().await;
    }
    let mut agents = Vec::new();
    for number in 1..=options.agents {
        agents.push(Agent::start(settings(&options, number)?).await?);
    }
    for agent in &agents {
        // Scripts and tests read these lines to learn the ports.
        println!("standin-agent listens on {}", agent.address());
    }
    std::future::pending().await
}

fn settings(options: &Options, number: u32) -> anyhow::Result<Settings> {
    let host = options.listen.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
    let first = number == 1;
    let work_dir = std::path::absolute(options.work_dir.as_ref().context("--work-dir is missing")?)?;
    Ok(Settings {
        masters: options.master.clone(),
        listen: if first { options.listen.clone() } else { format!("{host}:0") },
        hostname: if first { options.hostname.clone() } else { format!("{}-{number}", options.hostname) },
        advertise: options.ip.clone(),
        work_dir: if options.agents == 1 { work_dir } else { work_dir.join(number.to_string()) },
        resources: resources::parse(&options.resources).context("--resources")?,
        attributes: attributes(&options.attributes)?,
        executor_registration_timeout: options.executor_registration_timeout,
        executor_reregistration_timeout: options.executor_reregistration_timeout,
        executor_shutdown_grace_period: options.executor_shutdown_grace_period,
        recovery_timeout: options.recovery_timeout,
        update_retry: options.update_retry,
        alone: options.agents == 1,
        command_executor: std::env::current_exe()?,
    })
}

/// Numbers become scalars, all else text.
fn attributes(line: &str) -> anyhow::Result<Vec<Attribute>> {
    let one = |part: &str| {
        let (name, value) =
            part.split_once(':').with_context(|| format!("`{part}` is no attribute: name:value"))?;
        let name = name.trim().to_owned();
        let value = value.trim();
        Ok(match value.parse::<f64>() {
            Ok(value) => Attribute {
                name,
                r#type: Type::Scalar.into(),
                scalar: Some(Scalar { value }),
                ..Attribute::default()
            },
            Err(_) => Attribute {
                name,
                r#type: Type::Text.into(),
                text: Some(Text { value: value.to_owned() }),
                ..Attribute::default()
            },
        })
    };
    line.split(';').map(str::trim).filter(|part| !part.is_empty()).map(one).collect()
}
