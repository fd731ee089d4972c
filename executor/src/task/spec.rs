//! What executor and supervisor tell each other, as small JSON texts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A command and all that bounds it.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Spec {
    /// Program and arguments; never empty.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Those of its variables whose values must not be seen in the log.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Boot-time milliseconds at which the attempt times out; 0 for never.
    pub timeout_at: u64,
    /// Milliseconds from SIGTERM to SIGKILL.
    pub kill_grace_ms: u64,
    /// Memory of the whole tree in bytes; 0 for no limit.
    pub mem_bytes: u64,
    /// Log bytes kept; what comes after is dropped.
    pub log_bytes_max: u64,
    /// The executor's lease.
    pub lease: PathBuf,
    /// Thousandths of a core, for the cgroup; 0 for no limit.
    pub cpus_milli: u64,
    /// Whether it ends with its executor: nobody would adopt it.
    #[serde(default)]
    pub bound: bool,
    /// A cgroup of its own, when the machine gives one.
    pub cgroup: Option<PathBuf>,
    /// Run once the tree is gone, however it ended: ends what it began outside of it. Empty for nothing.
    #[serde(default)]
    pub cleanup: Vec<String>,
}

/// A process, beyond the reuse of its pid.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks from boot to its start.
    pub start_ticks: u64,
    /// The boot these two belong to.
    pub boot_id: String,
}

/// An order to kill the tree.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct KillOrder {
    /// Milliseconds from SIGTERM to SIGKILL.
    pub grace_ms: u64,
}

/// Why an attempt's process tree is gone.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The child ended by itself.
    #[default]
    Exited,
    /// The child could not be started, and could not elsewhere.
    StartFailed,
    /// The machine could not start the child.
    StartRefused,
    /// Killed by order of the executor.
    Killed,
    /// Killed at its timeout.
    TimedOut,
    /// Killed because it used more memory than it may.
    OutOfMemory,
    /// Killed because the lease ended.
    LeaseExpired,
    /// Killed because its executor was gone, which it was bound to.
    ExecutorGone,
}

/// How an attempt's process tree ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Exit {
    /// Why.
    pub cause: Cause,
    /// Exit status of the child, where it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended the child.
    pub signal: Option<i32>,
    /// Details for people.
    pub message: String,
    /// Why something that it began elsewhere may go on; empty when nothing does.
    #[serde(default)]
    pub left_behind: String,
    /// Whether its events hold no secrets any more: whoever reads them now need not know any.
    #[serde(default)]
    pub masked: bool,
    /// Wall-clock milliseconds.
    pub started_at_ms: u64,
    /// Wall-clock milliseconds.
    pub ended_at_ms: u64,
}

/// Reads one of these files; `None` when it is missing or unreadable.
pub fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Encodes one of these files.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain structs with text keys always encode")
}
