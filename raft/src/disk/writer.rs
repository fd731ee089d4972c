//! The one thread that writes: takes what waits, applies it in order, syncs once if anybody asked for it, answers all.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::changes::Changes;
use super::committer::Committer;
use super::reserve::{Reserve, Room};
use super::summary::Summary;
use super::{Op, TREES, Tree, Trees, opening, panics, values};
use crate::error::StoreError;

/// So many requests share a sync at most, which bounds how long the first one waits.
const REQUESTS_MAX: usize = 1024;
/// No further request joins a group of so many bytes, which bounds the room it needs.
const GROUP_BYTES: u64 = 4 << 20;
/// How often a full disk is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How often it is complained of.
const COMPLAIN_AGAIN: Duration = Duration::from_secs(10);

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

/// What the thread works on.
pub struct Parts {
    /// Where all of it lies.
    pub directory: PathBuf,
    /// The trees, until closed.
    pub trees: Arc<RwLock<Option<Trees>>>,
    /// Makes durable what was applied.
    pub committer: Committer,
    /// What the trees hold.
    pub summaries: [Summary; TREES.len()],
    /// Room for what is written next.
    pub reserve: Reserve,
    /// Told to others: whether there is little room.
    pub low: Arc<AtomicBool>,
    /// Told by others: whether nobody waits for room any more.
    pub closing: Arc<AtomicBool>,
    /// Kept until the store is closed.
    pub lock: File,
}

/// The thread's state.
pub struct Writer {
    parts: Parts,
    /// After a failed write nobody knows what is on disk, so nothing is written any more.
    failed: Option<StoreError>,
    /// What is still to be swept.
    sweeps: VecDeque<(Tree, Vec<u8>)>,
    /// The key of the last entry, unless it has to be looked up.
    log_end: Option<Vec<u8>>,
}

impl Writer {
    /// For a store that was just opened.
    pub fn new(parts: Parts) -> Self {
        Self { parts, failed: None, sweeps: VecDeque::new(), log_end: None }
    }

    /// Works until closed, then closes the store.
    pub fn run(mut self, requests: &mpsc::Receiver<Message>) {
        let mut open = true;
        while open {
            let Some(first) = self.wait(requests) else { break };
            let (mut group, mut bytes) = (Vec::new(), 0);
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Write { ops, sync, done } => {
                        bytes += ops.iter().map(Op::bytes).sum::<u64>();
                        group.push((ops, sync, done));
                    }
                    Message::Sweep(tree, to) => self.sweeps.push_back((tree, to)),
                    Message::Close => {
                        open = false;
                        break;
                    }
                }
                let more = group.len() < REQUESTS_MAX && bytes < GROUP_BYTES;
                next = if more { requests.try_recv().ok() } else { None };
            }
            self.write_group(group, bytes);
            self.sweep();
        }
        self.attempt(|writer| writer.commit(true));
        self.close();
    }

    /// Others may open the store once this returns.
    fn close(self) {
        let trees = self.parts.trees.write().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        let directory = self.parts.directory.clone();
        let closed = panics::named(&directory, || {
            drop(trees);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::error!(%error, "closing the log failed");
        }
        panics::unwatch(&directory);
        drop(self.parts.lock);
    }

    /// The next request; sweeps while there is none, and looks for room while there is little.
    fn wait(&mut self, requests: &mpsc::Receiver<Message>) -> Option<Message> {
        loop {
            let low = self.parts.low.load(Ordering::Relaxed);
            if low && self.failed.is_none() {
                match requests.recv_timeout(LOOK_AGAIN) {
                    Ok(message) => return Some(message),
                    Err(mpsc::RecvTimeoutError::Timeout) => drop(self.look_for_room(0)),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                }
            } else if self.sweeps.is_empty() {
                return requests.recv().ok();
            } else {
                match requests.try_recv() {
                    Ok(message) => return Some(message),
                    Err(mpsc::TryRecvError::Empty) => self.sweep(),
                    Err(mpsc::TryRecvError::Disconnected) => return None,
                }
            }
        }
    }

    /// A little of what is to be swept, so that nobody waits long for it. What a stop leaves is swept again when its
    /// owner opens the store. It takes room before it gives any, so it waits while there is little.
    fn sweep(&mut self) {
        if self.parts.low.load(Ordering::Relaxed) || self.failed.is_some() {
            return;
        }
        let Some((tree, below)) = self.sweeps.pop_front() else { return };
        let mut all = true;
        self.attempt(|writer| {
            let again = (tree, below);
            if writer.look_for_room(0)? == Room::Enough {
                all = writer.change(|changes| changes.sweep(tree, &again.1))?;
            } else {
                all = false;
            }
            if !all {
                writer.sweeps.push_front(again);
            }
            Ok(())
        });
    }

    fn write_group(&mut self, group: Vec<(Vec<Op>, bool, Done)>, bytes: u64) {
        let (mut ops, mut at_once, mut synced) = (Vec::new(), Vec::new(), Vec::new());
        // Who asks for a sync of nothing new asks for all that there is, the archive as well.
        let whole = group.iter().any(|(ops, sync, _)| *sync && ops.is_empty());
        for (more, sync, done) in group {
            for op in &more {
                self.parts.committer.note(op);
                match op {
                    Op::Put(Tree::Log, key, _) => self.log_end = Some(key.clone()),
                    _ if op.tree() == Tree::Log => self.log_end = None,
                    _ => {}
                }
            }
            ops.extend(more);
            if sync { synced.push(done) } else { at_once.push(done) }
        }
        if !ops.is_empty() {
            self.attempt(|writer| writer.wait_for_room(bytes));
            self.attempt(|writer| writer.change(|changes| changes.apply(ops)));
        }
        // Who asked for no sync does not wait for that of the others.
        self.answer(at_once);
        if !synced.is_empty() {
            self.attempt(|writer| writer.commit(whole));
            self.answer(synced);
        }
    }

    /// Does something to the store, unless it has failed before; the first failure is kept.
    fn attempt(&mut self, work: impl FnOnce(&mut Self) -> Result<(), StoreError>) {
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = work(self) {
            tracing::error!(%error, "writing the log failed; the replica stops");
            self.failed = Some(error);
            self.sweeps.clear();
        }
    }

    fn answer(&self, waiting: Vec<Done>) {
        for done in waiting {
            let answer = match &self.failed {
                None => Ok(()),
                Some(StoreError::Corrupt { place, reason }) => Err(StoreError::corrupt(place, reason)),
                Some(other) => Err(StoreError::Failed(other.to_string())),
            };
            // Who no longer waits needs no answer.
            let _ = done.send(answer);
        }
    }

    /// Returns when there is room for a write, or nobody waits for it any more. Nothing is lost meanwhile: the write
    /// has not begun. To the other replicas this one looks paused.
    fn wait_for_room(&mut self, bytes: u64) -> Result<(), StoreError> {
        let mut complained: Option<Instant> = None;
        while self.look_for_room(bytes)? == Room::None {
            let directory = &self.parts.directory;
            if self.parts.closing.load(Ordering::Relaxed) {
                return Err(StoreError::NoSpace { directory: directory.clone() });
            }
            if complained.is_none_or(|since| since.elapsed() > COMPLAIN_AGAIN) {
                let directory = directory.display();
                tracing::error!(%directory, bytes, "the disk is full: writes wait until there is room");
                complained = Some(Instant::now());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    fn look_for_room(&mut self, bytes: u64) -> Result<Room, StoreError> {
        let room = self.parts.reserve.make_room(bytes)?;
        let low = room != Room::Enough;
        if self.parts.low.swap(low, Ordering::Relaxed) != low {
            let directory = self.parts.directory.display();
            if low {
                tracing::error!(%directory, "the disk is nearly full: this replica takes no further entries");
            } else {
                tracing::info!(%directory, "the disk has room again");
            }
        }
        Ok(room)
    }

    /// Makes all that was applied durable. The store's flush hands its buffers to the operating system and asks that
    /// writing begin; it is no sync.
    fn commit(&mut self, whole: bool) -> Result<(), StoreError> {
        let known = self.log_end.as_deref().and_then(|key| key.try_into().ok()).map(u64::from_be_bytes);
        let log_end =
            known.map_or_else(|| self.with_trees(opening::log_end), |index: u64| Ok(Some(index)))?;
        let Parts { directory, trees, committer, summaries, .. } = &mut self.parts;
        let flush = || {
            with_trees(directory, trees, |trees| {
                trees.db.flush().map(|_| ()).map_err(|source| values::failed(Tree::Log, &[], source))
            })
        };
        committer.commit(*summaries, log_end, whole, flush)
    }

    fn change<R>(&mut self, act: impl FnOnce(Changes<'_>) -> Result<R, StoreError>) -> Result<R, StoreError> {
        let mut summaries = self.parts.summaries;
        let result = self.with_trees(|trees| act(Changes::new(trees, &mut summaries)));
        self.parts.summaries = summaries;
        result
    }

    fn with_trees<R>(&self, act: impl FnOnce(&Trees) -> Result<R, StoreError>) -> Result<R, StoreError> {
        with_trees(&self.parts.directory, &self.parts.trees, act)
    }
}

fn with_trees<R>(
    directory: &Path,
    trees: &RwLock<Option<Trees>>,
    act: impl FnOnce(&Trees) -> Result<R, StoreError>,
) -> Result<R, StoreError> {
    let trees = trees.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    let trees = trees.as_ref().ok_or(StoreError::Closed)?;
    panics::named(directory, || act(trees))
}
