//! The types that the consensus library is told to work with, under short names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::config::Member;
use crate::snapshot::SnapshotFile;

/// The commands of one entry.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Batch {
    /// The commands, in order.
    pub commands: Vec<Bytes>,
    /// Lives with a proposal on the replica that made it, and nowhere else.
    #[serde(skip)]
    pub written: Written,
}

/// Whether an entry ever reached this replica's log. A proposal that did not can be refused for certain; one that
/// did may be applied later, even when this replica's own copy was cut off again.
#[derive(Clone, Debug, Default)]
pub struct Written(Option<Arc<AtomicBool>>);

impl Written {
    /// For a proposal made here.
    pub fn tracked() -> Self {
        Self(Some(Arc::default()))
    }

    /// The log is about to write the entry.
    pub fn set(&self) {
        if let Some(flag) = &self.0 {
            flag.store(true, Ordering::SeqCst);
        }
    }

    /// Whether the log ever began to write the entry.
    pub fn get(&self) -> bool {
        self.0.as_ref().is_some_and(|flag| flag.load(Ordering::SeqCst))
    }
}

/// One outcome per command of an entry.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcomes(pub Vec<Bytes>);

#[cfg(feature = "sim")]
use crate::sim::Runtime;
#[cfg(not(feature = "sim"))]
type Runtime = openraft::TokioRuntime;

openraft::declare_raft_types!(
    /// What the consensus library works with.
    pub TypeConfig:
        D = Batch,
        R = Outcomes,
        NodeId = u64,
        Node = Member,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = SnapshotFile,
        AsyncRuntime = Runtime,
);

pub type Raft = openraft::Raft<TypeConfig>;
pub type Entry = openraft::Entry<TypeConfig>;
pub type LogId = openraft::LogId<u64>;
pub type Vote = openraft::Vote<u64>;
pub type Membership = openraft::Membership<u64, Member>;
pub type StoredMembership = openraft::StoredMembership<u64, Member>;
pub type SnapshotMeta = openraft::SnapshotMeta<u64, Member>;
pub type Snapshot = openraft::Snapshot<TypeConfig>;
pub type StorageError = openraft::StorageError<u64>;
