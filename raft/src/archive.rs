//! The archive: ended things, readable on every replica without asking the state machine.

use std::ops::Bound;

use bytes::Bytes;

use crate::disk::{Disk, Limit, Op, Tree, after_prefix};
use crate::error::StoreError;
use crate::state_machine::ArchiveOp;

/// Keys with their values.
pub type Records = Vec<(Vec<u8>, Bytes)>;

/// Reads the archive of a replica; clones share it.
///
/// All methods read files and block: on a runtime call them from `spawn_blocking`. What a proposal wrote is readable
/// before its outcome is answered. After a restart, and while a snapshot is installed, the archive may for a moment be
/// ahead of the state, or lack what replay is about to put back.
#[derive(Clone)]
pub struct Archive {
    disk: Disk,
}

impl Archive {
    pub(crate) fn new(disk: Disk) -> Self {
        Self { disk }
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.disk.get(Tree::Archive, key)
    }

    /// Up to `limit` records whose keys start with a prefix, in order; with `after`, only those behind that key.
    pub fn scan_prefix(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Records, StoreError> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let end = after_prefix(prefix);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.scan((from, to), false, limit)
    }

    /// Up to `limit` records whose keys start with a prefix, last first; with `before`, only those ahead of that key.
    pub fn scan_prefix_reverse(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Records, StoreError> {
        let end = after_prefix(prefix);
        let to = match (before, end.as_deref()) {
            (Some(before), Some(end)) => Bound::Excluded(before.min(end)),
            (Some(bound), None) | (None, Some(bound)) => Bound::Excluded(bound),
            (None, None) => Bound::Unbounded,
        };
        self.scan((Bound::Included(prefix), to), true, limit)
    }

    fn scan(
        &self,
        (from, to): (Bound<&[u8]>, Bound<&[u8]>),
        reverse: bool,
        limit: usize,
    ) -> Result<Records, StoreError> {
        // The store does not take ranges that end before they begin.
        if let (Bound::Included(first) | Bound::Excluded(first), Bound::Excluded(end)) = (from, to)
            && first >= end
        {
            return Ok(Vec::new());
        }
        let limit = Limit { count: limit, bytes: usize::MAX };
        self.disk.scan(Tree::Archive, (from, to), reverse, limit)
    }
}

impl From<ArchiveOp> for Op {
    fn from(op: ArchiveOp) -> Self {
        match op {
            ArchiveOp::Put { key, value } => Op::Put(Tree::Archive, key, value),
            ArchiveOp::DeletePrefix { prefix } => Op::RemovePrefix(Tree::Archive, prefix),
        }
    }
}
