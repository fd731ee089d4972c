//! The settings: a TOML file, overridden by `MESON_*` variables, overridden by flags; the same names in all three.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::Value;
use meson_proto::v1::Resources;
use serde::{Deserialize, Serialize};

use crate::units;

/// All settings. `HELP` explains each.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "one explanation each, in HELP, for people and --help alike")]
pub struct Config {
    #[serde(deserialize_with = "units::list")]
    pub endpoints: Vec<String>,
    pub data_dir: PathBuf,
    pub workspaces: PathBuf,
    pub hostname: String,
    pub cpus: f64,
    #[serde(deserialize_with = "units::bytes")]
    pub mem: u64,
    #[serde(deserialize_with = "units::bytes")]
    pub disk: u64,
    pub gpus: u32,
    #[serde(deserialize_with = "units::map")]
    pub attributes: BTreeMap<String, String>,
    pub kill_grace_ms: u64,
    pub lease_margin_ms: u64,
    pub connect_timeout_ms: u64,
    pub running_report_after_ms: u64,
    pub log_wait_ms: u64,
    #[serde(deserialize_with = "units::bytes")]
    pub log_bytes_max: u64,
    #[serde(deserialize_with = "units::bytes")]
    pub cache_bytes_max: u64,
    #[serde(deserialize_with = "units::bytes")]
    pub fetch_bytes_max: u64,
    pub fetch_timeout_ms: u64,
    pub keep_attempts_ms: u64,
    pub keep_attempts_max: usize,
    pub keep_workspaces_ms: u64,
    #[serde(deserialize_with = "units::text")]
    pub cgroup: String,
    pub python: String,
    pub rscript: String,
    pub java: String,
    pub scala_classpath: String,
    pub docker_host: String,
    pub docker_auth_file: String,
    pub secrets_dir: PathBuf,
    pub spark_home: String,
    pub spark_master: String,
    pub spark_master_ui: String,
    pub spark_gateway: String,
    pub spark_python: String,
    pub hive_server: String,
    pub hive_user: String,
    pub hive_password_file: String,
    pub hive_auth: String,
    pub hive_tls: bool,
    pub hive_ca_file: String,
    pub hive_spark_ui: String,
    pub hive_call_timeout_ms: u64,
    #[serde(deserialize_with = "units::bytes")]
    pub hive_file_bytes_max: u64,
    #[serde(deserialize_with = "units::list")]
    pub plugins: Vec<String>,
    pub mesos: bool,
    pub idle_shutdown_ms: u64,
    pub message_fallback_after_ms: u64,
    pub log_level: String,
}

/// Every setting with its explanation, in the order of `--help`.
pub const HELP: &[(&str, &str)] = &[
    ("endpoints", "Public gRPC addresses of the scheduler's replicas, separated by commas"),
    ("data_dir", "Directory of this executor alone: identity, attempts, outbox, cache"),
    (
        "workspaces",
        "Directory of the runs' workspaces, shared by all executors if there are several; default: in data_dir; unused where the schedulers' own setting names a store",
    ),
    ("hostname", "Name of this machine; default: what the system says"),
    ("cpus", "Processor cores offered; default: all of the machine"),
    ("mem", "Memory offered, e.g. 16GiB; default: all of the machine"),
    ("disk", "Disk offered, e.g. 100GiB"),
    ("gpus", "Graphics processors offered"),
    ("attributes", "Attributes for placement, e.g. zone=a,disk=ssd"),
    ("kill_grace_ms", "From SIGTERM to SIGKILL where the launch says nothing"),
    ("lease_margin_ms", "How long before the lease's end killing starts (at most a quarter of the lease)"),
    ("connect_timeout_ms", "Longest time to connect to a replica"),
    ("running_report_after_ms", "Attempts that end sooner are reported once, at their end"),
    ("log_wait_ms", "Longest time a last report waits for the log to be stored by a majority"),
    (
        "log_bytes_max",
        "Output of an attempt that is kept as its log; of what is more, the last 64 KiB of each stream",
    ),
    ("cache_bytes_max", "Size of the cache of fetched files"),
    ("fetch_bytes_max", "Longest file fetched and largest archive unpacked"),
    ("fetch_timeout_ms", "Longest time without any progress of a fetch"),
    ("keep_attempts_ms", "How long files of finished attempts are kept"),
    ("keep_attempts_max", "How many finished attempts are kept at most"),
    ("keep_workspaces_ms", "How long the workspace of a run is kept after its last use"),
    ("cgroup", "Writable cgroup v2 directory for attempts; `auto` finds one, `off` watches /proc instead"),
    ("python", "Interpreter of python steps that name none"),
    ("rscript", "Interpreter of r steps that name none"),
    ("java", "Java of scala steps"),
    (
        "scala_classpath",
        "Class path of a Scala compiler, 2.12 or 2.13, e.g. /opt/scala/lib/*; without it no scala steps are run",
    ),
    ("docker_host", "Address of the container engine, Docker's or Podman's: unix:///path or tcp://host:port"),
    (
        "docker_auth_file",
        "Credentials of image registries, in the form of Docker's config.json; only this user should read it",
    ),
    ("secrets_dir", "Directory of the secrets that steps name, a file each; without it no step gets any"),
    ("spark_home", "Where Spark is installed; without it no spark steps are run"),
    ("spark_master", "Master of spark steps that name none; `local` uses as many cores as the step has"),
    ("spark_master_ui", "Web interface of that master, if it is a standalone one, e.g. http://master:8080"),
    ("spark_gateway", "Gateway for drivers in cluster mode: of a standalone master http://master:6066"),
    ("spark_python", "Interpreter of Python in spark steps that name none; default: what Spark takes"),
    (
        "hive_server",
        "HiveServer2 of hive steps that name none, e.g. host:10000 or hive2://host:10000/database; without it no hive steps are run",
    ),
    ("hive_user", "Who hive steps are that name no user"),
    (
        "hive_password_file",
        "File with the password of hive_user at hive_server, given to no other; only this user should read it",
    ),
    ("hive_auth", "What hive_server expects: plain for SASL PLAIN, or nosasl"),
    ("hive_tls", "Whether hive_server is spoken to by TLS: true or false"),
    ("hive_ca_file", "Authorities of HiveServer2's certificates, PEM; default: those of the system"),
    (
        "hive_spark_ui",
        "Where hive_server is Spark's Thrift server: address of its web interface, e.g. http://host:4040, for the percentage, and to end what earlier attempts left there",
    ),
    ("hive_call_timeout_ms", "Longest time for one answer of a HiveServer2; compiling a statement is one"),
    ("hive_file_bytes_max", "Largest file of rows that a hive step writes"),
    (
        "plugins",
        "Folders of plugins, separated by commas: each a plugin's own, or one that holds such folders (docs/plugins.md)",
    ),
    ("mesos", "A Mesos agent started this: take tasks from it, and tell it of them"),
    ("idle_shutdown_ms", "With Mesos: end after so long without anything to do; 0 for never"),
    (
        "message_fallback_after_ms",
        "With Mesos: without a gRPC session for so long, go through framework messages",
    ),
    ("log_level", "What this process logs (RUST_LOG wins), e.g. info or meson_executor=debug"),
];

impl Default for Config {
    fn default() -> Self {
        const GIB: u64 = 1 << 30;
        Self {
            endpoints: vec!["http://127.0.0.1:7400".to_owned()],
            data_dir: PathBuf::from("meson-executor-data"),
            workspaces: PathBuf::new(),
            hostname: system_hostname(),
            cpus: std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64),
            mem: system_memory().unwrap_or(GIB),
            disk: 10 * GIB,
            gpus: 0,
            attributes: BTreeMap::new(),
            kill_grace_ms: 5_000,
            lease_margin_ms: 1_500,
            connect_timeout_ms: 500,
            running_report_after_ms: 50,
            log_wait_ms: 5_000,
            log_bytes_max: 256 << 20,
            cache_bytes_max: 10 * GIB,
            fetch_bytes_max: 10 * GIB,
            fetch_timeout_ms: 30_000,
            keep_attempts_ms: 3_600_000,
            keep_attempts_max: 10_000,
            keep_workspaces_ms: 24 * 3_600_000,
            cgroup: "auto".to_owned(),
            python: "python3".to_owned(),
            rscript: "Rscript".to_owned(),
            java: "java".to_owned(),
            scala_classpath: String::new(),
            docker_host: "unix:///var/run/docker.sock".to_owned(),
            docker_auth_file: String::new(),
            secrets_dir: PathBuf::new(),
            spark_home: String::new(),
            spark_master: "local".to_owned(),
            spark_master_ui: String::new(),
            spark_gateway: String::new(),
            spark_python: String::new(),
            hive_server: String::new(),
            hive_user: "meson".to_owned(),
            hive_password_file: String::new(),
            hive_auth: "plain".to_owned(),
            hive_tls: false,
            hive_ca_file: String::new(),
            hive_spark_ui: String::new(),
            hive_call_timeout_ms: 120_000,
            hive_file_bytes_max: 10 * GIB,
            plugins: Vec::new(),
            mesos: false,
            idle_shutdown_ms: 0,
            message_fallback_after_ms: 3_000,
            // The library for HDFS tells errors of which we tell too.
            log_level: "info,hdfs_native=error".to_owned(),
        }
    }
}

impl Config {
    /// Reads the settings that the command line, the environment and the file it names give.
    ///
    /// # Errors
    /// When a file, variable or flag is unknown or has the wrong form.
    pub fn load(flags: &ArgMatches) -> Result<Self, Box<figment::Error>> {
        let names: Vec<&str> = HELP.iter().map(|(name, _)| *name).collect();
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = flags.get_one::<String>("config") {
            figment = figment.merge(Toml::file_exact(file));
        }
        figment = figment.merge(Env::prefixed("MESON_").only(&names));
        for name in names {
            if let Some(text) = flags.get_one::<String>(name) {
                // The same reading as of variables: numbers are numbers, all else is text.
                let value: Value = text.parse().unwrap_or_else(|never| match never {});
                figment = figment.merge(Serialized::default(name, value));
            }
        }
        figment.extract().map_err(Box::new)
    }

    /// The directory of the runs' workspaces.
    pub fn workspaces(&self) -> PathBuf {
        // A URI is the schedulers' setting of this name, from an environment that both share.
        let is_uri = self.workspaces.to_string_lossy().contains("://");
        if is_uri || self.workspaces.as_os_str().is_empty() {
            self.data_dir.join("workspaces")
        } else {
            self.workspaces.clone()
        }
    }

    /// Path of a helper that steps' own code may use.
    pub fn helper(&self, name: &str) -> String {
        self.helpers().join(name).to_string_lossy().into_owned()
    }

    /// Directory of those helpers.
    pub fn helpers(&self) -> PathBuf {
        self.data_dir.join("helpers")
    }

    /// What this executor offers.
    pub fn resources(&self) -> Resources {
        Resources {
            cpus_milli: (self.cpus.max(0.0) * 1000.0).round() as u64,
            mem_bytes: self.mem,
            disk_bytes: self.disk,
            gpus: self.gpus,
        }
    }
}

/// The command line.
pub fn command() -> Command {
    let command = Command::new("meson-executor")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs attempts of steps on this machine and reports on them to the scheduler")
        .arg(Arg::new("config").long("config").env("MESON_CONFIG").help("TOML file with settings"))
        .arg(
            Arg::new("print_config")
                .long("print-config")
                .action(ArgAction::SetTrue)
                .help("Print the settings in force as TOML and end"),
        );
    HELP.iter().fold(command, |command, (name, help)| {
        // Read once in the life of the process; clap wants names that live as long.
        let long: &'static str = name.replace('_', "-").leak();
        let arg = Arg::new(*name).long(long).alias(*name).value_name("VALUE").help(*help);
        // The only one that is a yes or no.
        command.arg(if *name == "mesos" { arg.num_args(0..=1).default_missing_value("true") } else { arg })
    })
}

fn system_hostname() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "localhost".to_owned())
}

fn system_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_explained() {
        let value = serde_json::to_value(Config::default()).unwrap();
        let fields: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let mut helped: Vec<&str> = HELP.iter().map(|(name, _)| *name).collect();
        helped.sort_unstable();
        assert_eq!(fields, helped);
    }

    #[test]
    fn flags_beat_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("executor.toml");
        std::fs::write(&file, "cpus = 3\nmem = \"2GiB\"\nendpoints = [\"http://a:1\"]\nhostname = \"h\"\n")
            .unwrap();
        let flags = [
            "meson-executor",
            "--config",
            file.to_str().unwrap(),
            "--cpus",
            "1.5",
            "--attributes",
            "zone=a,x=1",
        ];
        let config = Config::load(&command().get_matches_from(flags)).unwrap();
        assert_eq!(config.resources().cpus_milli, 1_500);
        assert_eq!((config.mem, config.hostname.as_str()), (2 << 30, "h"));
        assert_eq!(config.endpoints, ["http://a:1"]);
        assert_eq!(config.attributes["x"], "1");
    }

    #[test]
    fn a_uri_of_workspaces_is_left_to_the_schedulers() {
        let config = |workspaces: &str| Config { workspaces: workspaces.into(), ..Config::default() };
        assert_eq!(config("/w").workspaces(), PathBuf::from("/w"));
        assert_eq!(config("hdfs://nn:1/w").workspaces(), Config::default().workspaces());
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("executor.toml");
        std::fs::write(&file, "cpu = 3\n").unwrap();
        let flags = command().get_matches_from(["meson-executor", "--config", file.to_str().unwrap()]);
        assert!(Config::load(&flags).unwrap_err().to_string().contains("cpu"));
    }

    #[test]
    fn defaults_survive_their_own_toml() {
        let text = toml::to_string(&Config::default()).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
    }
}
