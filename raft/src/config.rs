//! What a replica is told when it starts, and who the members of a group are.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How one replica runs. [`Config::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Raft group; replicas of other groups are refused.
    pub group_id: u64,
    /// This replica's number within the group, never given to another replica again.
    pub node_id: u64,
    /// Where log, vote, archive and snapshots live.
    pub data_dir: PathBuf,
    /// How often a leader tells followers that it is there, and the deadline of one AppendEntries call: a disk whose
    /// syncs take longer needs more.
    pub heartbeat_ms: u64,
    /// A follower waits at least this long for its leader before it stands for election.
    pub election_min_ms: u64,
    /// A follower waits at most this long for its leader before it stands for election.
    pub election_max_ms: u64,
    /// Build a snapshot after so many entries since the last one.
    pub snapshot_every_entries: u64,
    /// Build a snapshot as well when the entries since the last one have so many bytes; nor do those that are kept
    /// for followers have more.
    pub snapshot_every_bytes: u64,
    /// Keep so many entries behind a snapshot for followers that lag a little.
    pub keep_entries_after_snapshot: u64,
    /// How many commands may share one entry.
    pub batch_commands_max: usize,
    /// How many bytes of commands may share one entry; also the largest single command. Messages between replicas are
    /// limited accordingly, so it is to be the same on all of them.
    pub batch_bytes_max: usize,
    /// How many entries of this replica's proposals may be under way at once.
    pub batches_in_flight_max: usize,
    /// How many commands may wait or be under way; more are refused with `QueueFull`.
    pub queue_commands_max: usize,
    /// After this long the outcome of a proposal counts as unknown.
    pub propose_timeout_ms: u64,
    /// Memory for cached pages of the store.
    pub cache_bytes: u64,
    /// Take no part in the group until [`crate::Replica::found`] has made sure that this replica may: one that lost its
    /// files must not vote again under its old number.
    pub hold_until_founded: bool,
    /// The newest format of commands and states that this program understands; other replicas ask for it.
    pub format_level: u32,
    /// When less than this is free on the disk, beside room for a snapshot, a leader refuses new commands with
    /// `DiskFull` until there is more again; zero refuses none.
    pub disk_reserve_bytes: u64,
}

impl Config {
    /// The defaults, for a replica of `group_id` numbered `node_id` that keeps its files in `data_dir`.
    pub fn new(group_id: u64, node_id: u64, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            group_id,
            node_id,
            data_dir: data_dir.into(),
            heartbeat_ms: 100,
            election_min_ms: 400,
            election_max_ms: 800,
            snapshot_every_entries: 10_000,
            snapshot_every_bytes: 256 << 20,
            keep_entries_after_snapshot: 2_000,
            batch_commands_max: 256,
            batch_bytes_max: 1 << 20,
            batches_in_flight_max: 2,
            queue_commands_max: 16_384,
            propose_timeout_ms: 10_000,
            cache_bytes: 64 << 20,
            hold_until_founded: false,
            format_level: 0,
            disk_reserve_bytes: 256 << 20,
        }
    }

    /// The largest gRPC message between replicas: one call carries entries of up to twice a batch (see
    /// `log_store`), and the encoding of many tiny commands may double their size.
    pub(crate) fn message_bytes_max(&self) -> usize {
        (1 << 20) + self.batch_bytes_max * 4
    }
}

/// A replica as the group's membership knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The replica's number.
    pub node_id: u64,
    /// Where other replicas reach it, as in `http://127.0.0.1:7401`.
    pub raft_address: String,
    /// Where clients reach its gRPC face.
    pub api_address: String,
    /// Where browsers reach its HTTP face.
    pub http_address: String,
}
