//! The one thread that writes: takes what waits, applies it in order, syncs once if anybody asked for it, answers all.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::{Arc, RwLock, mpsc};

use sled::Batch;
use tokio::sync::oneshot;

use super::{Op, Tree, Trees, values};
use crate::error::StoreError;

/// So many requests share a sync at most, which bounds how long the first one waits.
const REQUESTS_MAX: usize = 1024;
/// A batch of the store is applied when it has grown to this.
const BATCH_BYTES: usize = 1 << 20;
/// Removals between two batches.
const REMOVALS_MAX: usize = 256;

/// Where a write is answered.
pub type Done = oneshot::Sender<Result<(), StoreError>>;

/// What the thread is asked.
pub enum Message {
    /// Change something.
    Write {
        /// What to change.
        ops: Vec<Op>,
        /// Whether to answer only when it is durable.
        sync: bool,
        /// Where to answer.
        done: Done,
    },
    /// Remove what lies below a key, little by little, while nothing else waits or in between.
    Sweep(Tree, Vec<u8>),
    /// Make everything durable and end.
    Close,
}

/// The thread's state.
pub struct Writer {
    trees: Arc<RwLock<Option<Trees>>>,
    /// The store's file, opened once more: the store's own flush is no sync.
    file: File,
    /// After a failed write nobody knows what is on disk, so nothing is written any more.
    failed: Option<String>,
    /// What is still to be swept.
    sweeps: VecDeque<(Tree, Vec<u8>)>,
}

impl Writer {
    /// For trees whose bytes are in `file`.
    pub fn new(trees: Arc<RwLock<Option<Trees>>>, file: File) -> Self {
        Self { trees, file, failed: None, sweeps: VecDeque::new() }
    }

    /// Works until closed, then closes the store.
    pub fn run(mut self, requests: &mpsc::Receiver<Message>) {
        let mut open = true;
        while open {
            let Some(first) = self.wait(requests) else { break };
            let mut group = Vec::new();
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Write { ops, sync, done } => group.push((ops, sync, done)),
                    Message::Sweep(tree, to) => self.sweeps.push_back((tree, to)),
                    Message::Close => {
                        open = false;
                        break;
                    }
                }
                next = if group.len() < REQUESTS_MAX { requests.try_recv().ok() } else { None };
            }
            self.write_group(group);
            self.sweep();
        }
        if self.failed.is_none()
            && let Err(error) = self.with_trees(|trees| self.commit(trees))
        {
            tracing::error!(%error, "the last sync of the log failed");
        }
        self.trees.write().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    }

    /// The next request; sweeps while there is none.
    fn wait(&mut self, requests: &mpsc::Receiver<Message>) -> Option<Message> {
        while !self.sweeps.is_empty() {
            match requests.try_recv() {
                Ok(message) => return Some(message),
                Err(mpsc::TryRecvError::Empty) => self.sweep(),
                Err(mpsc::TryRecvError::Disconnected) => return None,
            }
        }
        requests.recv().ok()
    }

    /// A little of what is to be swept, so that nobody waits long for it. What a stop leaves is swept again when its
    /// owner opens the store.
    fn sweep(&mut self) {
        let Some((tree, to)) = self.sweeps.pop_front() else { return };
        let all = self.with_trees(|trees| remove_some(trees, tree, &[], Some(&to), |_| true));
        match all {
            Ok(true) => {}
            Ok(false) => self.sweeps.push_front((tree, to)),
            Err(error) => {
                tracing::error!(%error, "removing old entries failed; the replica stops");
                self.failed = Some(error.to_string());
                self.sweeps.clear();
            }
        }
    }

    fn write_group(&mut self, group: Vec<(Vec<Op>, bool, Done)>) {
        let (mut ops, mut at_once, mut synced) = (Vec::new(), Vec::new(), Vec::new());
        for (more, sync, done) in group {
            ops.extend(more);
            if sync { synced.push(done) } else { at_once.push(done) }
        }
        self.attempt(|trees, _| apply(trees, ops));
        // Who asked for no sync does not wait for that of the others.
        self.answer(at_once);
        if !synced.is_empty() {
            self.attempt(|trees, writer| writer.commit(trees));
            self.answer(synced);
        }
    }

    /// Does something to the store, unless it has failed before; the first failure is kept.
    fn attempt(&mut self, work: impl FnOnce(&Trees, &Self) -> Result<(), StoreError>) {
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = self.with_trees(|trees| work(trees, self)) {
            tracing::error!(%error, "writing the log failed; the replica stops");
            self.failed = Some(error.to_string());
        }
    }

    fn answer(&self, waiting: Vec<Done>) {
        for done in waiting {
            let answer = match &self.failed {
                None => Ok(()),
                Some(reason) => Err(StoreError::Failed(reason.clone())),
            };
            // Who no longer waits needs no answer.
            let _ = done.send(answer);
        }
    }

    /// Makes all that was applied durable. The store's flush hands its buffers to the operating system and asks that
    /// writing begin; only the second step waits for the disk.
    fn commit(&self, trees: &Trees) -> Result<(), StoreError> {
        trees.db.flush().map_err(|source| values::failed(Tree::Log, &[], source))?;
        self.file.sync_data().map_err(|error| StoreError::io("db", error))
    }

    fn with_trees<R>(&self, act: impl FnOnce(&Trees) -> Result<R, StoreError>) -> Result<R, StoreError> {
        let trees = self.trees.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        act(trees.as_ref().ok_or(StoreError::Closed)?)
    }
}

/// Changes of one tree that are applied together.
struct Open<'a> {
    trees: &'a Trees,
    tree: Tree,
    batch: Batch,
    bytes: usize,
}

impl Open<'_> {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += key.len() + value.len();
        self.batch.insert(key, value);
    }

    fn apply(&mut self) -> Result<(), StoreError> {
        if self.bytes > 0 {
            let batch = std::mem::take(&mut self.batch);
            self.bytes = 0;
            let tree = self.trees.get(self.tree);
            tree.apply_batch(batch).map_err(|source| values::failed(self.tree, &[], source))?;
        }
        Ok(())
    }
}

/// Applies changes in order.
fn apply(trees: &Trees, ops: Vec<Op>) -> Result<(), StoreError> {
    let mut open = Open { trees, tree: Tree::Log, batch: Batch::default(), bytes: 0 };
    for op in ops {
        let tree = match &op {
            Op::Put(tree, ..)
            | Op::Remove(tree, _)
            | Op::RemoveRange(tree, ..)
            | Op::RemovePrefix(tree, _) => *tree,
        };
        if tree != open.tree || open.bytes >= BATCH_BYTES {
            open.apply()?;
            open.tree = tree;
        }
        match op {
            Op::Put(_, key, value) => put(&mut open, &key, &value)?,
            Op::Remove(_, key) => {
                open.apply()?;
                remove_one(trees.get(tree), tree, &key)?;
            }
            Op::RemoveRange(_, from, to) => {
                open.apply()?;
                let inside = |_: &[u8]| true;
                remove_between(trees, tree, &from, to.as_deref(), inside)?;
            }
            Op::RemovePrefix(_, prefix) => {
                open.apply()?;
                let end = after_prefix(&prefix);
                remove_between(trees, tree, &prefix, end.as_deref(), |key| key.starts_with(&prefix))?;
            }
        }
    }
    open.apply()
}

fn put(open: &mut Open<'_>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let mut further = 0;
    // Only archive values are overwritten, and only a longer predecessor leaves chunks behind.
    let before = if open.tree == Tree::Archive {
        open.apply()?;
        let head = open.trees.get(open.tree).get(values::head_key(key));
        head.map_err(|source| values::failed(open.tree, key, source))?
            .map_or(0, |head| values::further_count(&head))
    } else {
        0
    };
    for (number, (stored, part)) in values::parts(key, value).enumerate() {
        further = number as u32;
        open.put(stored, part);
    }
    for number in further + 1..=before {
        open.batch.remove(values::further_key(key, number));
    }
    Ok(())
}

fn remove_one(stored: &sled::Tree, tree: Tree, key: &[u8]) -> Result<(), StoreError> {
    let failed = |source| values::failed(tree, key, source);
    if let Some(head) = stored.get(values::head_key(key)).map_err(failed)? {
        let mut batch = Batch::default();
        batch.remove(values::head_key(key));
        for number in 1..=values::further_count(&head) {
            batch.remove(values::further_key(key, number));
        }
        stored.apply_batch(batch).map_err(failed)?;
    }
    Ok(())
}

fn remove_between(
    trees: &Trees,
    tree: Tree,
    from: &[u8],
    to: Option<&[u8]>,
    inside: impl Fn(&[u8]) -> bool,
) -> Result<(), StoreError> {
    while !remove_some(trees, tree, from, to, &inside)? {}
    Ok(())
}

/// Removes some of the keys between two, and tells whether that was all of them. Heads go before chunks: what a crash
/// leaves behind of a value is then no value.
fn remove_some(
    trees: &Trees,
    tree: Tree,
    from: &[u8],
    to: Option<&[u8]>,
    inside: impl Fn(&[u8]) -> bool,
) -> Result<bool, StoreError> {
    let stored = trees.get(tree);
    let failed = |source| values::failed(tree, from, source);
    let mut batch = Batch::default();
    let mut count = 0;
    // The first byte tells heads from chunks; without an end the range ends where that kind does.
    for kind in [values::head_key(&[])[0], values::further_key(&[], 0)[0]] {
        let bounded = |key: &[u8]| [&[kind], key].concat();
        let end = to.map_or(vec![kind + 1], bounded);
        for key in stored.range(bounded(from)..end).keys() {
            let key = key.map_err(failed)?;
            if inside(values::user_key(&key)) {
                batch.remove(key);
                count += 1;
            }
            if count == REMOVALS_MAX {
                stored.apply_batch(batch).map_err(failed)?;
                return Ok(false);
            }
        }
        stored.apply_batch(std::mem::take(&mut batch)).map_err(failed)?;
    }
    Ok(true)
}

/// The first key after all that start with a prefix, or none when there is no such key.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end)
}
