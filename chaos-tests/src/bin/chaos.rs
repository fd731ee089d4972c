//! Runs the chaos tests from the command line: `chaos mixed` for a schedule of all faults, `chaos kills` for one leader's
//! death after the other, `chaos replay` for a schedule that was saved, `chaos check` for a history that was saved, `chaos network` for the cost of
//! its network.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use meson_chaos_tests::chance::Chance;
use meson_chaos_tests::check::check;
use meson_chaos_tests::history::History;
use meson_chaos_tests::load::Pace;
use meson_chaos_tests::network::measure;
use meson_chaos_tests::run::{Outcome, Plan, run};
use meson_chaos_tests::schedule::{Limits, Schedule};
use meson_chaos_tests::testbed::Options;

/// Masters of the stand-in of Mesos.
const MASTERS: u8 = 2;

/// Real processes under faults.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// All kinds of faults for a time.
    Mixed {
        /// For how long faults strike, in seconds.
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        #[command(flatten)]
        common: Common,
        /// No full disks.
        #[arg(long)]
        no_disk_full: bool,
    },
    /// Kills one leader after the other.
    Kills {
        /// How many.
        #[arg(long, default_value_t = 200)]
        kills: u32,
        #[command(flatten)]
        common: Common,
        /// File for the times from kill to next step; it says how they were measured.
        #[arg(long)]
        results: Option<PathBuf>,
    },
    /// Plays a saved schedule again.
    Replay {
        /// The file, as `schedule.json` of an earlier test.
        schedule: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Checks a saved history again.
    Check {
        /// The file, as `history.jsonl` of an earlier test.
        history: PathBuf,
    },
    /// Measures what the network between the machines costs.
    Network,
}

#[derive(clap::Args)]
struct Common {
    /// Seed of the schedule, the load and the network; a fresh one if none is given.
    #[arg(long)]
    seed: Option<u64>,
    /// Where each test gets a directory named after its seed.
    #[arg(long, default_value = "target/chaos")]
    dir: PathBuf,
    /// Clients on each of the machines for clients.
    #[arg(long, default_value_t = 3)]
    clients_each: u32,
    /// Length of the executors' lease.
    #[arg(long, default_value_t = 6_000)]
    lease_ms: u64,
    /// What the leader waits beyond the lease.
    #[arg(long, default_value_t = 2_000)]
    lease_margin_ms: u64,
    /// Run the attempts through the stand-in of Mesos: two masters, and agents that start the executors.
    #[arg(long)]
    mesos: bool,
    /// Disks answer syncs without doing them: with power cuts, promises must break. A test of the test.
    #[arg(long)]
    disks_lie: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Mixed { seconds, common, no_disk_full } => {
            let options = options(&common, common.seed.unwrap_or_else(Chance::fresh_seed))?;
            let limits = Limits {
                lasts_ms: seconds * 1_000,
                lease_ms: options.lease_ms + options.lease_margin_ms,
                disk_full: !no_disk_full,
            };
            let schedule = Schedule::of(options.seed, options.size, limits);
            finish(play(options, schedule, &common, Pace::Mixed)?)
        }
        Command::Kills { kills, common, results } => {
            let options = options(&common, common.seed.unwrap_or_else(Chance::fresh_seed))?;
            let schedule = Schedule::kills(options.seed, kills);
            let (dir, outcome) = play(options, schedule, &common, Pace::Quick)?;
            if let Some(results) = results {
                std::fs::write(results, outcome.failover_markdown())?;
            }
            finish((dir, outcome))
        }
        Command::Replay { schedule, common } => {
            let schedule: Schedule = serde_json::from_slice(&std::fs::read(schedule)?)?;
            let options = options(&common, schedule.seed)?;
            finish(play(options, schedule, &common, Pace::Mixed)?)
        }
        Command::Network => {
            let (switch, loopback) = measure()?;
            for (name, cost) in [("through the switch", switch), ("over loopback", loopback)] {
                let (micros, megabytes) = (cost.round_trip_micros, cost.megabytes_a_second);
                println!("{name}: round trip {micros} µs (median), one stream {megabytes} MB/s");
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { history } => {
            let report = check(&History::load(&history)?);
            print!("{}", report.markdown());
            Ok(exit_code(report.holds()))
        }
    }
}

fn options(common: &Common, seed: u64) -> anyhow::Result<Options> {
    println!("seed {seed}");
    let dir = common.dir.join(seed.to_string());
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    let mut options = Options::new(std::path::absolute(dir)?, seed);
    (options.lease_ms, options.lease_margin_ms) = (common.lease_ms, common.lease_margin_ms);
    options.disks_lie = common.disks_lie;
    options.size.masters = if common.mesos { MASTERS } else { 0 };
    Ok(options)
}

fn play(
    options: Options,
    schedule: Schedule,
    common: &Common,
    pace: Pace,
) -> anyhow::Result<(PathBuf, Outcome)> {
    let dir = options.dir.clone();
    println!(
        "{} faults of replicas and {} of others in {} s; everything goes to {}",
        schedule.replicas.len(),
        schedule.others.len(),
        schedule.lasts_ms / 1_000,
        dir.display()
    );
    Ok((dir, run(Plan { options, schedule, clients_each: common.clients_each, pace })?))
}

fn finish((dir, outcome): (PathBuf, Outcome)) -> anyhow::Result<ExitCode> {
    println!("{}", outcome.markdown());
    let holds = outcome.holds();
    let verdict = if holds {
        "every promise was kept"
    } else {
        "PROMISES WERE BROKEN, or processes ended by themselves"
    };
    println!("seed {}: {verdict}; the report is {}", outcome.history.seed, shown(&dir.join("report.md")));
    Ok(exit_code(holds))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn exit_code(holds: bool) -> ExitCode {
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
