//! A disk in memory for simulations: what is not synced may be lost, and syncs take their time.
//!
//! A cut of the power keeps some first part of the changes since the last sync, down to the single change: those between
//! two syncs become durable in order, which is what [`super::Op`] promises and no more. Handles that were opened before
//! the cut do nothing any more.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{Limit, Op, Tree, after_prefix};
use crate::error::StoreError;
use crate::sim;

type Contents = [BTreeMap<Vec<u8>, Bytes>; 3];

/// The platters; clones share them.
#[derive(Clone, Default)]
pub struct Memory {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    durable: Contents,
    current: Contents,
    unsynced: VecDeque<(u64, Op)>,
    /// Changes so far.
    sequence: u64,
    /// Cuts and openings so far: a handle of an older one is dead.
    epoch: u64,
    full: bool,
    /// A write failed: as with the real store, none is tried until it is opened again.
    failed: bool,
    sync_ms: Range<u64>,
}

impl Memory {
    /// How long a sync takes.
    pub fn set_sync_ms(&self, range: Range<u64>) {
        self.lock().sync_ms = range;
    }

    /// Whether writes are refused for want of space.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// The power goes, or the process is killed: unsynced changes are lost from some point on. Says how many were.
    pub fn cut(&self) -> usize {
        let mut inner = self.lock();
        let kept = sim::random_in(0..inner.unsynced.len() as u64 + 1) as usize;
        let lost = inner.unsynced.len() - kept;
        for (_, op) in std::mem::take(&mut inner.unsynced).into_iter().take(kept) {
            apply(&mut inner.durable, &op);
        }
        inner.current = inner.durable.clone();
        inner.epoch += 1;
        lost
    }

    pub(super) fn open(&self) -> Handle {
        let mut inner = self.lock();
        inner.epoch += 1;
        inner.failed = false;
        Handle { memory: self.clone(), epoch: inner.epoch }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The disk as one process sees it.
#[derive(Clone)]
pub(super) struct Handle {
    memory: Memory,
    epoch: u64,
}

impl Handle {
    fn inner(&self) -> Result<MutexGuard<'_, Inner>, StoreError> {
        let inner = self.memory.lock();
        if inner.epoch == self.epoch { Ok(inner) } else { Err(StoreError::Closed) }
    }

    pub(super) fn write(&self, ops: Vec<Op>, sync: bool) -> Write {
        Write { handle: self.clone(), sync, begun: self.begin(ops) }
    }

    fn begin(&self, ops: Vec<Op>) -> Result<u64, StoreError> {
        let mut inner = self.inner()?;
        if inner.failed {
            return Err(StoreError::Failed("an earlier write failed".into()));
        }
        if inner.full && !ops.is_empty() {
            inner.failed = true;
            return Err(StoreError::io("memory", std::io::ErrorKind::StorageFull.into()));
        }
        for op in ops {
            apply(&mut inner.current, &op);
            inner.sequence += 1;
            let sequence = inner.sequence;
            inner.unsynced.push_back((sequence, op));
        }
        Ok(inner.sequence)
    }

    fn sync(&self, up_to: u64) -> Result<(), StoreError> {
        let mut inner = self.inner()?;
        while inner.unsynced.front().is_some_and(|(sequence, _)| *sequence <= up_to) {
            if let Some((_, op)) = inner.unsynced.pop_front() {
                apply(&mut inner.durable, &op);
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.inner()?.current[tree as usize].get(key).cloned())
    }

    pub(super) fn scan(
        &self,
        tree: Tree,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        reverse: bool,
        limit: Limit,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, StoreError> {
        let inner = self.inner()?;
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut range = inner.current[tree as usize].range::<[u8], _>(range);
        while found.len() < limit.count && (found.is_empty() || bytes < limit.bytes) {
            let Some((key, value)) = (if reverse { range.next_back() } else { range.next() }) else { break };
            bytes += value.len();
            found.push((key.clone(), value.clone()));
        }
        Ok(found)
    }

    pub(super) fn size_bytes(&self) -> u64 {
        let inner = self.memory.lock();
        inner.current.iter().flat_map(BTreeMap::values).map(|value| value.len() as u64).sum()
    }

    pub(super) fn close(&self) {
        if let Ok(mut inner) = self.inner() {
            for (_, op) in std::mem::take(&mut inner.unsynced) {
                apply(&mut inner.durable, &op);
            }
            inner.epoch += 1;
        }
    }
}

/// A write under way: done for readers, and durable after a sync.
pub(super) struct Write {
    handle: Handle,
    sync: bool,
    begun: Result<u64, StoreError>,
}

impl Write {
    /// Waits as long as the sync takes.
    pub(super) async fn wait(self) -> Result<(), StoreError> {
        let up_to = self.begun?;
        if !self.sync || sim::is_planted(sim::Bug::AckBeforeSync) {
            return Ok(());
        }
        let range = self.handle.inner()?.sync_ms.clone();
        tokio::time::sleep(Duration::from_millis(sim::random_in(range))).await;
        self.handle.sync(up_to)
    }

    /// Syncs at once: nobody can wait on the only thread.
    pub(super) fn wait_blocking(self) -> Result<(), StoreError> {
        let up_to = self.begun?;
        if self.sync { self.handle.sync(up_to) } else { Ok(()) }
    }
}

fn apply(contents: &mut Contents, op: &Op) {
    match op {
        Op::Put(tree, key, value) => {
            contents[*tree as usize].insert(key.clone(), value.clone());
        }
        Op::Remove(tree, key) => {
            contents[*tree as usize].remove(key);
        }
        Op::RemoveRange(tree, from, to) => remove(&mut contents[*tree as usize], from, to.as_deref()),
        Op::RemovePrefix(tree, prefix) => {
            remove(&mut contents[*tree as usize], prefix, after_prefix(prefix).as_deref());
        }
    }
}

fn remove(tree: &mut BTreeMap<Vec<u8>, Bytes>, from: &[u8], to: Option<&[u8]>) {
    let mut removed = tree.split_off(from);
    if let Some(to) = to {
        tree.append(&mut removed.split_off(to));
    }
}
