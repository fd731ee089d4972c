//! A disk in memory for simulations: what is not synced may be lost, syncs take their time, and room may run out.
//!
//! A cut of the power keeps some first part of the changes since the last sync, down to the single change: those between
//! two syncs become durable in order, which is what [`super::Op`] promises and no more. What is archived waits for a sync
//! of everything, as in the real store. Handles that were opened before the cut do nothing any more.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Limit, Op, Tree, after_prefix};
use crate::error::StoreError;
use crate::{sabotage, sim};

type Contents = [BTreeMap<Vec<u8>, Bytes>; 3];

/// How much room there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// Plenty.
    #[default]
    Enough,
    /// What the store has reserved: writes go on, and new work is to be refused.
    Low,
    /// None: writes wait.
    None,
}

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
    room: Room,
    /// Writes that wait for room, in order.
    waiting: VecDeque<(Vec<Op>, oneshot::Sender<u64>)>,
    /// Nobody waits for room any more.
    closing: bool,
    sync_ms: Range<u64>,
}

impl Memory {
    /// How long a sync takes.
    pub fn set_sync_ms(&self, range: Range<u64>) {
        self.lock().sync_ms = range;
    }

    /// How much room there is for writes.
    pub fn set_room(&self, room: Room) {
        let mut inner = self.lock();
        inner.room = room;
        if room != Room::None {
            inner.write_waiting();
        }
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
        inner.waiting.clear();
        inner.epoch += 1;
        lost
    }

    pub(super) fn open(&self) -> Handle {
        let mut inner = self.lock();
        inner.epoch += 1;
        inner.closing = false;
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
        // Who asks for a sync of nothing new asks for all that there is, the archive as well.
        let whole = ops.is_empty();
        Write { handle: self.clone(), sync, whole, begun: self.begin(ops) }
    }

    fn begin(&self, ops: Vec<Op>) -> Begun {
        let Ok(mut inner) = self.inner() else { return Begun::Never };
        if ops.is_empty() || (inner.room != Room::None && inner.waiting.is_empty()) {
            return Begun::At(inner.write(ops));
        }
        if inner.closing {
            return Begun::Never;
        }
        let (written, waiting) = oneshot::channel();
        inner.waiting.push_back((ops, written));
        Begun::Waits(waiting)
    }

    fn sync(&self, up_to: u64, whole: bool) -> Result<(), StoreError> {
        let mut inner = self.inner()?;
        let mut kept = VecDeque::new();
        for (sequence, op) in std::mem::take(&mut inner.unsynced) {
            if sequence <= up_to && (whole || op.tree() != Tree::Archive) {
                apply(&mut inner.durable, &op);
            } else {
                kept.push_back((sequence, op));
            }
        }
        inner.unsynced = kept;
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

    /// Of a disk that is large, or full.
    pub(super) fn free_bytes(&self) -> u64 {
        if self.memory.lock().room == Room::Enough { u64::MAX / 2 } else { 0 }
    }

    pub(super) fn is_low(&self) -> bool {
        self.memory.lock().room != Room::Enough
    }

    pub(super) fn stop_waiting(&self) {
        if let Ok(mut inner) = self.inner() {
            inner.closing = true;
            inner.waiting.clear();
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.inner().is_ok_and(|inner| inner.closing)
    }

    pub(super) fn close(&self) {
        if let Ok(mut inner) = self.inner() {
            inner.waiting.clear();
            for (_, op) in std::mem::take(&mut inner.unsynced) {
                apply(&mut inner.durable, &op);
            }
            inner.epoch += 1;
        }
    }
}

impl Inner {
    fn write(&mut self, ops: Vec<Op>) -> u64 {
        for op in ops {
            apply(&mut self.current, &op);
            self.sequence += 1;
            self.unsynced.push_back((self.sequence, op));
        }
        self.sequence
    }

    fn write_waiting(&mut self) {
        for (ops, written) in std::mem::take(&mut self.waiting) {
            // Who no longer waits needs no answer.
            let _ = written.send(self.write(ops));
        }
    }
}

/// A write under way: done for readers once it has begun, and durable after a sync.
pub(super) struct Write {
    handle: Handle,
    sync: bool,
    whole: bool,
    begun: Begun,
}

/// When a write was done.
enum Begun {
    /// As this change.
    At(u64),
    /// Once there is room.
    Waits(oneshot::Receiver<u64>),
    /// Not at all: the store is closed.
    Never,
}

impl Write {
    /// Waits as long as room and the sync take.
    pub(super) async fn wait(self) -> Result<(), StoreError> {
        let up_to = match self.begun {
            Begun::At(up_to) => up_to,
            Begun::Waits(written) => written.await.map_err(|_| StoreError::Closed)?,
            Begun::Never => return Err(StoreError::Closed),
        };
        if !self.sync || sabotage::without("sync-before-ack") {
            return Ok(());
        }
        let range = self.handle.inner()?.sync_ms.clone();
        tokio::time::sleep(Duration::from_millis(sim::random_in(range))).await;
        self.handle.sync(up_to, self.whole)
    }

    /// Syncs at once, and finds room at once: nobody can wait on the only thread.
    pub(super) fn wait_blocking(self) -> Result<(), StoreError> {
        let up_to = match self.begun {
            Begun::At(up_to) => up_to,
            Begun::Waits(mut written) => {
                self.handle.inner()?.write_waiting();
                written.try_recv().map_err(|_| StoreError::Closed)?
            }
            Begun::Never => return Err(StoreError::Closed),
        };
        if self.sync { self.handle.sync(up_to, self.whole) } else { Ok(()) }
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
