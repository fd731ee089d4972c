//! The errors of this crate: of opening, proposing, reading and changing members, and of the files beneath.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::Member;

/// What to do about damage.
pub(crate) const REMEDY: &str = "this replica must not serve: keep its directory aside, and rebuild the replica from its \
     peers (docs/operations.md, \"A damaged replica\")";

/// What can go wrong with the files of a replica.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Stored bytes are not what was written.
    #[error("corrupt data at {place}: {reason}; {REMEDY}")]
    Corrupt {
        /// Which file, tree and key.
        place: String,
        /// What does not fit.
        reason: String,
    },
    /// Another process has the store open.
    #[error(
        "{} is in use by process{holder}: one process at a time may have a data directory; stop that one, or give \
         this one a directory of its own", .directory.display()
    )]
    Locked {
        /// The store's directory.
        directory: PathBuf,
        /// The other process's number after a space, if it could be read.
        holder: String,
    },
    /// The disk has no room for a write, and the replica was told to close meanwhile.
    #[error("no space for a write of the log in {}; make room on that disk, and start again", .directory.display())]
    NoSpace {
        /// The store's directory.
        directory: PathBuf,
    },
    /// The operating system refused.
    #[error("{place}: {source}")]
    Io {
        /// Which file.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// The embedded store refused.
    #[error("{place}: {source}")]
    Sled {
        /// Which tree.
        place: String,
        /// Why.
        source: sled::Error,
    },
    /// An earlier write failed; what is on disk is unknown until the replica is opened again.
    #[error("an earlier write failed: {0}")]
    Failed(String),
    /// The replica was shut down.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub(crate) fn corrupt(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Corrupt { place: place.into(), reason: reason.into() }
    }

    /// Names the store's file as well, where damage was only told as a part of it.
    pub(crate) fn within(self, file: &Path) -> Self {
        let data_dir = file.parent().and_then(Path::parent).unwrap_or(file).to_string_lossy();
        match self {
            Self::Corrupt { place, reason } if data_dir.is_empty() || !place.starts_with(&*data_dir) => {
                Self::Corrupt { place: format!("{}, {place}", file.display()), reason }
            }
            other => other,
        }
    }

    pub(crate) fn io(place: impl Into<String>, source: io::Error) -> Self {
        Self::Io { place: place.into(), source }
    }
}

/// Why a replica could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration cannot work.
    #[error("invalid configuration: {0}")]
    Config(String),
    /// The data directory belongs to another replica.
    #[error(
        "{dir} belongs to replica {found_node} of group {found_group}, not to replica {node} of group {group}"
    )]
    Identity {
        /// The data directory.
        dir: PathBuf,
        /// The group it was created for.
        found_group: u64,
        /// The replica it was created for.
        found_node: u64,
        /// The group asked for.
        group: u64,
        /// The replica asked for.
        node: u64,
    },
    /// The files could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state machine refused the snapshot.
    #[error("restoring the state from {path}: {source}")]
    Restore {
        /// The snapshot.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The consensus library could not start.
    #[error("starting consensus: {0}")]
    Consensus(String),
}

/// Why a proposal has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another replica leads; the command was not written.
    #[error("not the leader")]
    NotLeader {
        /// Who leads, if that is known.
        leader: Option<Member>,
    },
    /// Too many commands wait; the command was not written.
    #[error("too many commands are waiting")]
    QueueFull,
    /// The leader's disk has too little room; the command was not written. Others are taken again once there is more.
    #[error("{} has {free} bytes free and needs {needed}: new commands wait until there is more room", .path.display())]
    DiskFull {
        /// A directory on that disk.
        path: PathBuf,
        /// Bytes free.
        free: u64,
        /// Bytes that have to be free.
        needed: u64,
    },
    /// The command, or the commands that were to stay together, exceed what fits into an entry.
    #[error("{size} bytes of commands exceed the maximum of {max}")]
    TooLarge {
        /// Their size.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// Timed out, or leadership was lost with the entry under way: it may or may not be applied.
    #[error("the outcome is unknown")]
    Unknown,
    /// This replica is shut down or has failed; the command was not written.
    #[error("the replica has stopped")]
    Stopped,
}

/// Why a read is not known to be current.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Another replica leads.
    #[error("not the leader")]
    NotLeader {
        /// Who leads, if that is known.
        leader: Option<Member>,
    },
    /// No quorum answered within the deadline.
    #[error("no quorum confirmed leadership in time")]
    Unavailable,
    /// This replica is shut down or has failed.
    #[error("the replica has stopped")]
    Stopped,
}

/// Why the members or the snapshot could not be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// Another replica leads.
    #[error("not the leader")]
    NotLeader {
        /// Who leads, if that is known.
        leader: Option<Member>,
    },
    /// The request does not fit the group as it is.
    #[error("refused: {0}")]
    Refused(String),
    /// This replica has no log, but another one counts it among the voters: its files are lost, and with them its votes
    /// and what it had acknowledged. Taking part again could undo what a majority had acknowledged.
    #[error(
        "replica {node_id} is a voter of this group, as {witness} says, but its data directory is empty: a replica that \
         lost its files never comes back under its old number. Give it a new one, and replace the old one by it \
         (`mesonctl cluster replace`); or restore all replicas from a backup"
    )]
    Forgotten {
        /// This replica.
        node_id: u64,
        /// Where the one listens that knows it.
        witness: String,
    },
    /// Not done within the deadline; it may still happen.
    #[error("the outcome is unknown")]
    Unknown,
    /// This replica is shut down or has failed.
    #[error("the replica has stopped")]
    Stopped,
}
