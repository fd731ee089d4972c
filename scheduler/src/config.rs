//! Settings: a TOML file, overridden by `MESON_*` variables, overridden by flags; the same names in all three.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use meson_engine::format;
use meson_raft::Member;
use serde::{Deserialize, Deserializer, Serialize};

use crate::resources::mesos;

/// The workspaces are not looked at more often than this.
const LOOK_MS_MIN: u64 = 1_000;

/// Flags of meson-scheduler. Each may also stand in the file, or as `MESON_<NAME>` in the environment.
#[derive(Debug, Parser, Serialize)]
#[command(name = "meson-scheduler", version, about = "A replica of the Meson workflow scheduler")]
pub struct Flags {
    /// TOML file with settings.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Print the settings in force and exit.
    #[arg(long)]
    #[serde(skip)]
    pub print_config: bool,
    /// This replica's number in the trio, from 1.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<u64>,
    /// Where the replica keeps its log, state and attempts' output.
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<PathBuf>,
    /// Address of the gRPC face for clients and executors.
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    /// Address for the other replicas.
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    raft_listen: Option<SocketAddr>,
    /// Address of the HTTP face (health).
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    http_listen: Option<SocketAddr>,
    /// All replicas, this one too, as `id=raft-url,grpc-url,http-url;…`. A fresh trio begins with these.
    #[arg(long, value_name = "REPLICAS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    peers: Option<String>,
    /// Masters of Mesos: `m1:5050,m2:5050` or `zk://z1:2181,z2:2181/mesos`. All else is in the table `[mesos]`.
    #[arg(long, value_name = "MASTERS")]
    #[serde(skip)]
    mesos_master: Option<String>,
    /// Folders of plugins, separated by commas: each a plugin's own, or one that holds such folders.
    #[arg(long, value_name = "DIRS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    plugins: Option<String>,
    /// What to log: error, warn, info, debug, trace, or a tracing filter.
    #[arg(long, value_name = "FILTER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log_level: Option<String>,
    /// What to do instead of serving.
    #[command(subcommand)]
    #[serde(skip)]
    pub command: Option<Command>,
}

/// What is done to a data directory while no replica runs on it.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the data directory, which must be empty, of a backup. To be done for every replica, from the same file and
    /// with the same peers, before any is started.
    Restore {
        /// The backup.
        file: PathBuf,
    },
    /// Look through the data directory, without changing it: what it holds, and whether all of it is whole.
    Check,
}

/// The settings in force. Times are milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The Raft group; run ids carry it.
    pub group_id: u64,
    /// This replica's number.
    pub node_id: u64,
    /// Data directory.
    pub data_dir: PathBuf,
    /// gRPC face.
    pub listen: SocketAddr,
    /// Face for replicas.
    pub raft_listen: SocketAddr,
    /// HTTP face.
    pub http_listen: SocketAddr,
    /// All replicas, as in the flag. Empty: a single replica at the addresses it listens on.
    pub peers: String,
    /// Log filter.
    pub log_level: String,
    /// Interval of the leader's heartbeats to the other replicas.
    pub raft_heartbeat_ms: u64,
    /// A replica that has not heard the leader for `election_max_ms` stands for election after another while, of at
    /// least this and chosen anew each time, so that not all stand at once.
    pub election_min_ms: u64,
    /// Longest such while; and for so long after a leader's word a replica votes for nobody else. Short means that a dead
    /// leader is soon replaced; too short, that one whose disk or network stutters is replaced for nothing.
    pub election_max_ms: u64,
    /// Log entries between snapshots.
    pub snapshot_every_entries: u64,
    /// Bytes of log entries between snapshots, whichever comes first.
    pub snapshot_every_bytes: u64,
    /// With less free on the disk, beside room for a snapshot, a leader refuses new work; zero: never.
    pub disk_reserve_bytes: u64,
    /// How long an executor's attempts may go on without word from a leader.
    pub lease_ms: u64,
    /// What the scheduler waits beyond the lease before it gives an executor up (P3).
    pub lease_margin_ms: u64,
    /// Interval of executors' heartbeats.
    pub heartbeat_ms: u64,
    /// From polite to forceful kill.
    pub kill_grace_ms: u64,
    /// Largest gRPC message taken in, in bytes.
    pub message_bytes_max: usize,
    /// The newest format of commands and states to use; 0 for the newest that this version understands. Held back, a
    /// trio can go back to the version before.
    pub format_max: u32,
    /// Web interfaces of the standalone masters of Spark at which applications that have gone astray are looked for,
    /// separated by commas. Empty: nowhere.
    pub spark_masters: String,
    /// Where the runs' workspaces are: a URI such as `hdfs://host:8020/meson/workspaces`, of this cluster alone. Empty: each
    /// executor makes directories of its own.
    pub workspaces: String,
    /// How often the leader looks there for what was left over.
    pub workspaces_look_ms: u64,
    /// Folders of plugins, as in the flag: of their kinds of steps definitions may make use. The same on all replicas.
    #[serde(deserialize_with = "paths")]
    pub plugins: Vec<PathBuf>,
    /// Mesos as resource manager: a table of its own.
    pub mesos: mesos::Settings,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            group_id: 1,
            node_id: 1,
            data_dir: "meson-data".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7400)),
            raft_listen: SocketAddr::from(([127, 0, 0, 1], 7401)),
            http_listen: SocketAddr::from(([127, 0, 0, 1], 7402)),
            peers: String::new(),
            // The consensus library tells every step at info; that of HDFS tells errors of which we tell too.
            log_level: "info,openraft=warn,hdfs_native=error".to_owned(),
            raft_heartbeat_ms: 100,
            election_min_ms: 150,
            election_max_ms: 300,
            snapshot_every_entries: 10_000,
            snapshot_every_bytes: 256 << 20,
            disk_reserve_bytes: 256 << 20,
            lease_ms: 15_000,
            lease_margin_ms: 5_000,
            heartbeat_ms: 1_000,
            kill_grace_ms: 5_000,
            message_bytes_max: 4 << 20,
            format_max: 0,
            spark_masters: String::new(),
            workspaces: String::new(),
            workspaces_look_ms: 600_000,
            plugins: Vec::new(),
            mesos: mesos::Settings::default(),
        }
    }
}

/// What can be wrong with settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source cannot be read or has unknown names or wrong values.
    #[error("the settings are not valid: {0}")]
    Read(#[from] Box<figment::Error>),
    /// The list of replicas is not of its form.
    #[error("peers: `{0}` is not of the form `id=raft-url,grpc-url,http-url`")]
    Peer(String),
    /// This replica is not in the list.
    #[error("peers: node id {0} is not among them")]
    NotAmongPeers(u64),
    /// Settings of Mesos that cannot work.
    #[error(transparent)]
    Mesos(#[from] mesos::Error),
    /// A place for workspaces that is none.
    #[error("workspaces: {0}")]
    Workspaces(#[from] meson_store::Error),
    /// Times that contradict each other.
    #[error("{0}")]
    Times(&'static str),
}

impl Config {
    /// Reads the settings from all sources.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(flags: &Flags) -> Result<Config, Error> {
        let config = Self::read(flags)?;
        config.check()?;
        Ok(config)
    }

    /// Only the data directory, for what is done to it whatever the other settings are.
    ///
    /// # Errors
    /// When a source cannot be read.
    pub fn data_dir_of(flags: &Flags) -> Result<PathBuf, Error> {
        Self::read(flags).map(|config| config.data_dir)
    }

    fn read(flags: &Flags) -> Result<Config, Error> {
        let mut figment = Figment::from(Serialized::defaults(Config::default()));
        if let Some(file) = &flags.config {
            figment = figment.merge(Toml::file_exact(file));
        }
        let known = figment.clone().extract::<figment::value::Dict>().unwrap_or_default();
        let env =
            Env::prefixed("MESON_").filter(move |name| known.contains_key(&name.as_str().to_lowercase()));
        let of_mesos = Serialized::defaults(mesos::Settings::default());
        let known = Figment::from(of_mesos).extract::<figment::value::Dict>().unwrap_or_default();
        let mesos = Env::prefixed("MESON_MESOS_")
            .filter(move |name| known.contains_key(&name.as_str().to_lowercase()))
            .map(|name| format!("mesos.{}", name.as_str().to_lowercase()).into());
        let mut figment = figment.merge(env).merge(mesos).merge(Serialized::defaults(flags));
        if let Some(master) = &flags.mesos_master {
            figment = figment.merge(Serialized::default("mesos.master", master));
        }
        Ok(figment.extract().map_err(Box::new)?)
    }

    fn check(&self) -> Result<(), Error> {
        if self.election_min_ms <= self.raft_heartbeat_ms
            || self.election_max_ms <= self.election_min_ms
            || self.election_max_ms < 3 * self.raft_heartbeat_ms
        {
            let rule = "raft_heartbeat_ms < election_min_ms < election_max_ms must hold, and election_max_ms be at \
                        least three times raft_heartbeat_ms";
            return Err(Error::Times(rule));
        }
        if self.heartbeat_ms.saturating_mul(3) > self.lease_ms {
            return Err(Error::Times("lease_ms must be at least three times heartbeat_ms"));
        }
        if self.workspaces_look_ms < LOOK_MS_MIN {
            return Err(Error::Times("workspaces_look_ms must be at least 1000"));
        }
        if self.shares_workspaces() {
            meson_store::Uri::parse(&self.workspaces)?;
        }
        self.mesos.check()?;
        let members = self.members()?;
        if !members.iter().any(|member| member.node_id == self.node_id) {
            return Err(Error::NotAmongPeers(self.node_id));
        }
        Ok(())
    }

    /// Whether workspaces are in a store. A path is the executors' setting of this name, from an environment that both share.
    pub fn shares_workspaces(&self) -> bool {
        !self.workspaces.is_empty() && !self.workspaces.starts_with('/')
    }

    /// The newest format of commands and states that this replica is to understand.
    pub fn format(&self) -> u32 {
        if self.format_max == 0 { format::NEWEST } else { self.format_max.min(format::NEWEST) }
    }

    /// Addresses of the masters in `spark_masters`.
    pub fn spark_masters(&self) -> impl Iterator<Item = &str> {
        self.spark_masters.split(',').map(str::trim).filter(|address| !address.is_empty())
    }

    /// A leader that no majority has answered for so long acts as leader no more: the others have long elected another.
    pub fn majority_patience(&self) -> Duration {
        Duration::from_millis(2 * self.election_max_ms)
    }

    /// The settings of the log.
    pub fn raft(&self) -> meson_raft::Config {
        let mut raft = meson_raft::Config::new(self.group_id, self.node_id, self.data_dir.join("raft"));
        raft.heartbeat_ms = self.raft_heartbeat_ms;
        raft.election_min_ms = self.election_min_ms;
        raft.election_max_ms = self.election_max_ms;
        raft.snapshot_every_entries = self.snapshot_every_entries;
        raft.snapshot_every_bytes = self.snapshot_every_bytes;
        raft.disk_reserve_bytes = self.disk_reserve_bytes;
        raft.hold_until_founded = true;
        raft.format_level = self.format();
        raft
    }

    /// The replicas of a fresh cluster.
    ///
    /// # Errors
    /// When `peers` is not of its form.
    pub fn members(&self) -> Result<Vec<Member>, Error> {
        if self.peers.trim().is_empty() {
            return Ok(vec![Member {
                node_id: self.node_id,
                raft_address: format!("http://{}", self.raft_listen),
                api_address: format!("http://{}", self.listen),
                http_address: format!("http://{}", self.http_listen),
            }]);
        }
        self.peers.split(';').map(str::trim).filter(|peer| !peer.is_empty()).map(member).collect()
    }
}

/// A list of paths, or text with commas between them.
fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum ListOrText {
        List(Vec<PathBuf>),
        Text(String),
    }
    Ok(match ListOrText::deserialize(deserializer)? {
        ListOrText::List(list) => list,
        ListOrText::Text(text) => {
            text.split(',').map(str::trim).filter(|path| !path.is_empty()).map(PathBuf::from).collect()
        }
    })
}

fn member(text: &str) -> Result<Member, Error> {
    let wrong = || Error::Peer(text.to_owned());
    let (id, addresses) = text.split_once('=').ok_or_else(wrong)?;
    let addresses: Vec<&str> = addresses.split(',').map(str::trim).collect();
    let [raft, api, http] = addresses.as_slice() else { return Err(wrong()) };
    if ![raft, api, http]
        .iter()
        .all(|address| address.starts_with("http://") || address.starts_with("https://"))
    {
        return Err(wrong());
    }
    Ok(Member {
        node_id: id.trim().parse().map_err(|_| wrong())?,
        raft_address: (*raft).to_owned(),
        api_address: (*api).to_owned(),
        http_address: (*http).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_parsed_and_bad_ones_named() {
        let config = Config {
            peers: "1=http://a:1,http://a:2,http://a:3; 2=http://b:1,http://b:2,http://b:3".into(),
            ..Config::default()
        };
        let members = config.members().unwrap();
        assert_eq!(members.len(), 2);
        assert_eq!(members[1].api_address, "http://b:2");
        let wrong = Config { peers: "1=http://a:1".into(), ..Config::default() };
        assert_eq!(
            wrong.members().unwrap_err().to_string(),
            "peers: `1=http://a:1` is not of the form `id=raft-url,grpc-url,http-url`"
        );
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(Config::default().check().is_ok());
        assert!(Config { heartbeat_ms: 14_000, ..Config::default() }.check().is_err());
        assert!(Config { election_min_ms: 100, ..Config::default() }.check().is_err());
        let workspaces = |text: &str| Config { workspaces: text.into(), ..Config::default() };
        assert!(workspaces("nn:8020/w").check().is_err() && workspaces("hdfs://nn/../w").check().is_err());
        assert!(workspaces("hdfs://nn/w").shares_workspaces() && !workspaces("/tmp").shares_workspaces());
        assert!(Config { workspaces_look_ms: 0, ..Config::default() }.check().is_err());
        let alone = Config { node_id: 2, peers: "1=http://a,http://b,http://c".into(), ..Config::default() };
        assert!(matches!(alone.check(), Err(Error::NotAmongPeers(2))));
    }
}
