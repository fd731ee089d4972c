//! The stand-in's master process.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use meson_mesos_standin::{cluster::Config, master};

/// A stand-in of the Mesos master, for tests. Flags that the real master has too mean the same.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Address to listen on; port 0 takes a free one, which the first line of output tells.
    #[arg(long, default_value = "127.0.0.1:5050")]
    listen: String,
    /// Host name or address under which agents and schedulers reach this master.
    #[arg(long, default_value = "127.0.0.1")]
    hostname: String,
    /// Directory that all masters of one cluster share: the leader's lock and the registry.
    #[arg(long)]
    work_dir: PathBuf,
    /// Seconds between two rounds of offers.
    #[arg(long, default_value_t = 1.0)]
    allocation_interval: f64,
    /// Seconds after which an unanswered offer is rescinded; never if absent.
    #[arg(long)]
    offer_timeout: Option<f64>,
    /// Seconds between two heartbeats to schedulers.
    #[arg(long, default_value_t = 15.0)]
    heartbeat_interval: f64,
    /// Seconds between two pings of an agent.
    #[arg(long, default_value_t = 15.0)]
    agent_ping_timeout: f64,
    /// Pings that an agent may miss before it is unreachable.
    #[arg(long, default_value_t = 5)]
    max_agent_ping_timeouts: u32,
    /// Seconds that a disconnected agent has to come back.
    #[arg(long, default_value_t = 600.0)]
    agent_reregister_timeout: f64,
    /// File with a principal and its secret a line; schedulers must authenticate if it is given.
    #[arg(long)]
    credentials: Option<PathBuf>,
    /// Weights of roles, like `web=2,batch=1`.
    #[arg(long, value_delimiter = ',')]
    weights: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let options = Options::parse();
    let mut config = Config {
        heartbeat_interval: options.heartbeat_interval,
        allocation_interval: options.allocation_interval,
        offer_timeout: options.offer_timeout,
        agent_ping_interval: options.agent_ping_timeout,
        agent_pings_missed_max: options.max_agent_ping_timeouts,
        agent_reregister_timeout: options.agent_reregister_timeout,
        ..Config::default()
    };
    if let Some(file) = &options.credentials {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (principal, secret) = line
                .split_once(char::is_whitespace)
                .context("a line of credentials is `principal secret`")?;
            config.credentials.insert(principal.to_owned(), secret.trim().to_owned());
        }
    }
    for weight in &options.weights {
        let (role, weight) = weight.split_once('=').context("a weight is `role=number`")?;
        config.weights.insert(role.to_owned(), weight.parse()?);
    }
    let settings = master::Settings {
        listen: options.listen,
        advertise: options.hostname,
        work_dir: options.work_dir,
        config,
    };
    master::Master::run(settings).await
}
