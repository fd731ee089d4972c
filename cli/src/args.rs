//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

/// Where a local trio listens.
const LOCAL: &str = "http://127.0.0.1:7400,http://127.0.0.1:7410,http://127.0.0.1:7420";

/// Steers Meson, the workflow orchestrator.
#[derive(Debug, Parser)]
#[command(name = "mesonctl", version)]
pub struct Args {
    /// gRPC addresses of the replicas, separated by commas.
    #[arg(long, global = true, env = "MESON_ENDPOINTS", default_value = LOCAL, value_delimiter = ',')]
    pub endpoints: Vec<String>,
    /// How results are written.
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub output: Output,
    /// Longest time to try to get an answer, in seconds.
    #[arg(long, global = true, default_value = "30", value_parser = seconds)]
    pub timeout: Duration,
    #[command(subcommand)]
    pub command: Command,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs: one JSON document, or a line of JSON for each item of a stream.
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a trio and an executor on this machine until Ctrl-C.
    Dev(Dev),
    /// Check definitions, without a cluster.
    Validate {
        /// YAML or JSON files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Folders of plugins, separated by commas, whose kinds of steps are checked too; without, such kinds are
        /// accepted by their name.
        #[arg(long, value_name = "DIRS", env = "MESON_PLUGINS", value_delimiter = ',')]
        plugins: Vec<PathBuf>,
    },
    /// Start a run of a definition file or of a registered workflow.
    Submit(Submit),
    /// List, show and steer runs.
    #[command(subcommand)]
    Runs(Runs),
    /// List, show and register workflows.
    #[command(subcommand)]
    Workflows(Workflows),
    /// Print what a step wrote.
    Logs(Logs),
    /// Show and change the replicas; back them up.
    #[command(subcommand)]
    Cluster(Cluster),
    /// Show and drain the executors.
    #[command(subcommand)]
    Executors(Executors),
    /// Show how it goes with Mesos.
    #[command(subcommand)]
    Mesos(Mesos),
    /// Print the JSON Schema of definitions.
    Schema,
    /// Print shell completions.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Group)]
pub struct Dev {
    /// Where data, logs and pids are kept.
    #[arg(long, default_value = "meson-dev")]
    pub data_dir: PathBuf,
    /// First port; replica n uses this + 10·(n−1) for gRPC, one more for Raft, two more for HTTP.
    #[arg(long, default_value_t = 7400)]
    pub port: u16,
    /// Replicas of the scheduler.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=7))]
    pub replicas: u16,
    /// Executors.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=16))]
    pub executors: u16,
    /// Run this shell command once all is up, then stop everything and exit as it did.
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,
}

#[derive(Debug, Group)]
pub struct Submit {
    /// A definition file (it has a `.`, or a `/`), or the name of a registered workflow.
    pub workflow: String,
    /// A parameter; the value is taken as the parameter's type says: text, or JSON.
    #[arg(short, long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// A file with parameters, a JSON object; -p goes over it.
    #[arg(long, value_name = "FILE")]
    pub params_file: Option<PathBuf>,
    /// The same id gives the same run; made up when not given.
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// A label of the run.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// Content hash of the version to run, or its beginning; default the newest.
    #[arg(long, default_value = "")]
    pub version: String,
    /// Follow the run to its end; the exit code is then the run's.
    #[arg(short, long)]
    pub watch: bool,
}

#[derive(Debug, Subcommand)]
pub enum Runs {
    /// List runs, newest first.
    List {
        /// Only of this workflow.
        #[arg(long, default_value = "")]
        workflow: String,
        /// Only in this state: running, paused, stopping, succeeded, failed, cancelled.
        #[arg(long)]
        status: Vec<String>,
        /// Only with this label.
        #[arg(long = "label", value_name = "KEY=VALUE")]
        labels: Vec<String>,
        /// Most runs of the page.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Go on where the page before ended.
        #[arg(long, default_value = "")]
        page_token: String,
        /// Take what one replica knows, which may be out of date: for when there is no leader.
        #[arg(long)]
        stale: bool,
    },
    /// Show a run.
    Get {
        /// The run's id.
        run: String,
        /// Take what one replica knows, which may be out of date: for when there is no leader.
        #[arg(long)]
        stale: bool,
    },
    /// List a run's nodes.
    Nodes {
        /// The run's id.
        run: String,
        /// Only in this state, e.g. ready, running, failed.
        #[arg(long)]
        status: Vec<String>,
        /// Only with a path that begins so.
        #[arg(long, default_value = "")]
        prefix: String,
        /// Most nodes of the page.
        #[arg(long, default_value_t = 200)]
        limit: u32,
        /// Go on where the page before ended.
        #[arg(long, default_value = "")]
        page_token: String,
        /// Take what one replica knows, which may be out of date: for when there is no leader.
        #[arg(long)]
        stale: bool,
    },
    /// Follow a run to its end; the exit code is then the run's.
    Watch {
        /// The run's id.
        run: String,
    },
    /// Cancel a run.
    Cancel {
        /// The run's id.
        run: String,
        /// Why, for people.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Pause a run: what runs goes on, nothing new starts.
    Pause {
        /// The run's id.
        run: String,
    },
    /// Resume a paused run.
    Resume {
        /// The run's id.
        run: String,
    },
    /// Run again what did not succeed in an ended run.
    Restart {
        /// The run's id.
        run: String,
    },
    /// Send a signal to a run.
    Signal {
        /// The run's id.
        run: String,
        /// The signal's name.
        name: String,
        /// Its payload, JSON.
        #[arg(long, default_value = "")]
        payload: String,
        /// The same id delivers once; made up when not given.
        #[arg(long)]
        request_id: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum Workflows {
    /// List workflows.
    List,
    /// Show a workflow's definition and versions.
    Get {
        /// Its name.
        name: String,
        /// Content hash or its beginning; default the newest.
        #[arg(long, default_value = "")]
        version: String,
    },
    /// Compare two versions.
    Diff {
        /// Its name.
        name: String,
        /// Content hash or its beginning.
        from: String,
        /// Default the newest.
        #[arg(default_value = "")]
        to: String,
    },
    /// Store a definition.
    Register {
        /// A YAML or JSON file.
        file: PathBuf,
    },
}

#[derive(Debug, Group)]
pub struct Logs {
    /// The run's id.
    pub run: String,
    /// Path of the step, e.g. `rounds[0]/train_global`.
    pub step: String,
    /// Go on until the step has ended.
    #[arg(short, long)]
    pub follow: bool,
    /// Which attempt, from 1; default the newest.
    #[arg(long, default_value_t = 0)]
    pub attempt: u32,
    /// Only this many of the last records.
    #[arg(long, default_value_t = 0)]
    pub tail: u32,
}

#[derive(Debug, Subcommand)]
pub enum Cluster {
    /// Ask every replica how it is.
    Status,
    /// List the replicas.
    Members,
    /// Add a replica that was started with an empty data directory.
    Add {
        #[command(flatten)]
        member: NewMember,
        /// It follows without a vote.
        #[arg(long)]
        learner: bool,
    },
    /// Put a new replica in the place of one that is lost.
    Replace {
        /// Number of the lost one.
        lost: u64,
        #[command(flatten)]
        member: NewMember,
    },
    /// Take a replica out; a leader hands over first.
    Remove {
        /// Its number.
        node_id: u64,
    },
    /// Hand leadership over, so that the leader's machine can be worked on.
    Transfer {
        /// To whom; default the replica that lags least.
        #[arg(default_value_t = 0)]
        node_id: u64,
    },
    /// Have every replica write a snapshot now, and cut its log.
    Snapshot,
    /// Write all that is acknowledged into a file.
    Backup {
        /// The file, which must not exist.
        file: PathBuf,
    },
    /// Look through the data directory of a replica that does not run: what it holds, and whether all of it is whole.
    Check {
        /// The replica's data directory.
        data_dir: PathBuf,
    },
    /// Make the data directory of one replica of a backup, on its machine, while no replica runs. To be done for each of
    /// them, from the same file and with the same peers.
    Restore {
        /// The backup.
        file: PathBuf,
        /// The replica's settings, as for meson-scheduler.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The replica's number.
        #[arg(long)]
        node_id: Option<u64>,
        /// Its data directory, which must be empty.
        #[arg(long)]
        data_dir: Option<PathBuf>,
        /// All replicas of the restored cluster.
        #[arg(long)]
        peers: Option<String>,
    },
}

/// A replica and its addresses.
#[derive(Debug, Group)]
pub struct NewMember {
    /// Its number, which no replica had before.
    #[arg(long)]
    pub node_id: u64,
    /// Where replicas reach it, as http://host:7401.
    #[arg(long)]
    pub raft: String,
    /// Where clients reach it, as http://host:7400.
    #[arg(long)]
    pub grpc: String,
    /// Where browsers reach it, as http://host:7402.
    #[arg(long)]
    pub http: String,
}

#[derive(Debug, Subcommand)]
pub enum Executors {
    /// List the executors.
    List,
    /// Place nothing more on an executor, before its machine is worked on; what runs there goes on.
    Drain {
        /// Its id.
        executor: String,
    },
    /// Place steps on an executor again.
    Undrain {
        /// Its id.
        executor: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Mesos {
    /// Show the framework's id, the leading master, and how long offers are held.
    Status,
    /// Give the framework's id up and register under a new one: only for when Mesos has forgotten the old one, as `status`
    /// then says. No attempt may run on Mesos.
    RegisterAnew {
        /// The id to give up, as `status` shows it.
        framework_id: String,
    },
}
