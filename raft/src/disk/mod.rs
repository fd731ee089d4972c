//! The only module that knows the embedded store: three trees, one writer thread, and a commit that is durable.
//!
//! Writes are queued from anywhere and done in order by one thread; those that wait together share one sync. Reads go
//! to the trees directly and block, so callers on a runtime wrap them in `spawn_blocking`. Nothing here knows what an
//! entry or a vote is.

mod changes;
mod committer;
pub mod guard;
#[cfg(feature = "sim")]
pub(crate) mod memory;
mod opening;
mod panics;
mod redo;
mod reserve;
pub mod space;
mod summary;
#[cfg(test)]
mod tests;
mod values;
mod writer;

use std::fs::File;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::error::StoreError;
pub use changes::after_prefix;
use committer::Committer;
pub use opening::{FILE, check_unlocked};
use reserve::Reserve;
use writer::{Message, Writer};

/// Which tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Entries, under their index as eight bytes, highest first.
    Log,
    /// A handful of named values.
    Meta,
    /// Ended things, under their user's keys.
    Archive,
}

/// All of them, in the order of their numbers.
const TREES: [Tree; 3] = [Tree::Log, Tree::Meta, Tree::Archive];

impl Tree {
    /// Its name in the store, and for people.
    fn name(self) -> &'static str {
        match self {
            Tree::Log => "log",
            Tree::Meta => "meta",
            Tree::Archive => "archive",
        }
    }
}

/// One change. Changes of one request are done in order; those between two syncs become durable in that order.
#[derive(Clone, Debug)]
pub enum Op {
    /// Sets a key; the value may be of any size.
    Put(Tree, Vec<u8>, Bytes),
    /// Removes a key.
    Remove(Tree, Vec<u8>),
    /// Removes the keys from the first (inclusive) to the second (exclusive, `None`: no end).
    RemoveRange(Tree, Vec<u8>, Option<Vec<u8>>),
    /// Removes the keys that start with a prefix; the empty one clears the tree.
    RemovePrefix(Tree, Vec<u8>),
}

impl Op {
    fn tree(&self) -> Tree {
        match self {
            Op::Put(tree, ..)
            | Op::Remove(tree, _)
            | Op::RemoveRange(tree, ..)
            | Op::RemovePrefix(tree, _) => *tree,
        }
    }

    /// About how many bytes it writes.
    fn bytes(&self) -> u64 {
        match self {
            Op::Put(_, key, value) => (key.len() + value.len()) as u64,
            // Removals are small, and those of a range come in small batches.
            Op::Remove(..) | Op::RemoveRange(..) | Op::RemovePrefix(..) => 1 << 10,
        }
    }
}

/// How much one scan gives: at least one record, if there is any.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// So many records.
    pub count: usize,
    /// None further once the values have so many bytes.
    pub bytes: usize,
}

/// The trees while the store is open.
pub(super) struct Trees {
    log: sled::Tree,
    meta: sled::Tree,
    archive: sled::Tree,
    /// Last, so that it outlives the trees when this is dropped.
    db: sled::Db,
}

impl Trees {
    fn get(&self, tree: Tree) -> &sled::Tree {
        match tree {
            Tree::Log => &self.log,
            Tree::Meta => &self.meta,
            Tree::Archive => &self.archive,
        }
    }
}

/// The open store; clones share it.
#[derive(Clone)]
pub struct Disk {
    backend: Backend,
}

/// What stands behind the handle.
#[derive(Clone)]
enum Backend {
    Store(Arc<Inner>),
    #[cfg(feature = "sim")]
    Memory(memory::Handle),
}

struct Inner {
    directory: PathBuf,
    trees: Arc<RwLock<Option<Trees>>>,
    queue: mpsc::Sender<Message>,
    writer: std::sync::Mutex<Option<JoinHandle<()>>>,
    /// Set while there is no room to reserve for further writes.
    low: Arc<AtomicBool>,
    /// Set once nobody will wait for space any more.
    closing: Arc<AtomicBool>,
}

impl Disk {
    /// Opens the store in a directory, and creates both when missing.
    pub fn open(directory: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let opening::Opened { trees, file, guard, summaries, lock } = opening::open(directory, cache_bytes)?;
        let trees = Arc::new(RwLock::new(Some(trees)));
        let (queue, requests) = mpsc::channel();
        let closing = Arc::new(AtomicBool::new(false));
        let low = Arc::new(AtomicBool::new(false));
        let reserve = Reserve::new(directory, file.try_clone().map_err(|error| StoreError::io("db", error))?);
        let writer = Writer::new(writer::Parts {
            directory: directory.to_owned(),
            trees: trees.clone(),
            committer: Committer::start(&directory.join(FILE), file, guard)?,
            summaries,
            reserve,
            low: low.clone(),
            closing: closing.clone(),
            lock,
        });
        let thread = std::thread::Builder::new()
            .name("meson-log-writer".into())
            .spawn(move || writer.run(&requests))
            .map_err(|error| StoreError::io("the writer thread", error))?;
        let writer = std::sync::Mutex::new(Some(thread));
        let directory = directory.to_owned();
        let inner = Inner { directory, trees, queue, writer, low, closing };
        Ok(Self { backend: Backend::Store(Arc::new(inner)) })
    }

    /// Opens a simulated disk.
    #[cfg(feature = "sim")]
    pub fn simulated(memory: &memory::Memory) -> Self {
        Self { backend: Backend::Memory(memory.open()) }
    }

    /// Queues changes at once, and answers when they are done: with `sync` when they and all before them are durable.
    /// What is archived counts as durable when the log has its entries; only a sync without changes waits for it.
    pub fn write(&self, ops: Vec<Op>, sync: bool) -> Pending {
        #[allow(clippy::infallible_destructuring_match, reason = "with the simulation there are two kinds")]
        let inner = match &self.backend {
            Backend::Store(inner) => inner,
            #[cfg(feature = "sim")]
            Backend::Memory(memory) => return Pending(Waiting::Memory(memory.write(ops, sync))),
        };
        let (done, receiver) = oneshot::channel();
        // A closed queue drops `done`, which the receiver sees.
        let _ = inner.queue.send(Message::Write { ops, sync, done });
        Pending(Waiting::Queued(receiver))
    }

    /// Removes everything below a key, some time soon, in small steps between other writes.
    pub fn sweep(&self, tree: Tree, below: Vec<u8>) {
        match &self.backend {
            Backend::Store(inner) => drop(inner.queue.send(Message::Sweep(tree, below))),
            #[cfg(feature = "sim")]
            Backend::Memory(memory) => {
                drop(memory.write(vec![Op::RemoveRange(tree, Vec::new(), Some(below))], false));
            }
        }
    }

    /// The value of a key.
    pub fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match &self.backend {
            Backend::Store(inner) => inner.with(|trees| values::get(trees.get(tree), tree, key)),
            #[cfg(feature = "sim")]
            Backend::Memory(memory) => memory.get(tree, key),
        }
    }

    /// Keys with their values, up to a limit, between two bounds, in order, or from the end in reverse.
    pub fn scan(
        &self,
        tree: Tree,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        reverse: bool,
        limit: Limit,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, StoreError> {
        match &self.backend {
            Backend::Store(inner) => {
                inner.with(|trees| values::scan(trees.get(tree), tree, range, reverse, limit))
            }
            #[cfg(feature = "sim")]
            Backend::Memory(memory) => memory.scan(tree, range, reverse, limit),
        }
    }

    /// Bytes the store takes on disk.
    pub fn size_bytes(&self) -> u64 {
        match &self.backend {
            Backend::Store(inner) => {
                std::fs::metadata(inner.directory.join(FILE)).map_or(0, |data| data.len())
            }
            #[cfg(feature = "sim")]
            Backend::Memory(memory) => memory.size_bytes(),
        }
    }

    /// Bytes that may still be written on the disk of a directory, if the operating system tells.
    pub fn free_bytes(&self, directory: &Path) -> Option<u64> {
        match &self.backend {
            Backend::Store(_) => space::free_bytes(directory).ok(),
            #[cfg(feature = "sim")]
            Backend::Memory(memory) => Some(memory.free_bytes()),
        }
    }

    /// Whether the disk has no room for much more than what keeps this replica a member: its vote, and what is under
    /// way already. Larger writes wait for space.
    pub fn is_low(&self) -> bool {
        match &self.backend {
            Backend::Store(inner) => inner.low.load(Ordering::Relaxed),
            #[cfg(feature = "sim")]
            Backend::Memory(memory) => memory.is_low(),
        }
    }

    /// From now on a write that finds no room fails, instead of waiting for it.
    pub fn stop_waiting(&self) {
        match &self.backend {
            Backend::Store(inner) => inner.closing.store(true, Ordering::Relaxed),
            #[cfg(feature = "sim")]
            Backend::Memory(memory) => memory.stop_waiting(),
        }
    }

    /// Whether the store is being closed, so that nobody should wait for room any more.
    pub fn is_closing(&self) -> bool {
        match &self.backend {
            Backend::Store(inner) => inner.closing.load(Ordering::Relaxed),
            #[cfg(feature = "sim")]
            Backend::Memory(memory) => memory.is_closing(),
        }
    }

    /// Makes everything durable and closes the store for all clones. Blocks.
    pub fn close(&self) {
        self.stop_waiting();
        #[allow(clippy::infallible_destructuring_match, reason = "with the simulation there are two kinds")]
        let inner = match &self.backend {
            Backend::Store(inner) => inner,
            #[cfg(feature = "sim")]
            Backend::Memory(memory) => return memory.close(),
        };
        let _ = inner.queue.send(Message::Close);
        let thread = inner.writer.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the log's writer thread had panicked");
        }
    }
}

impl Inner {
    fn with<R>(&self, read: impl FnOnce(&Trees) -> Result<R, StoreError>) -> Result<R, StoreError> {
        let trees = self.trees.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let trees = trees.as_ref().ok_or(StoreError::Closed)?;
        panics::named(&self.directory, || read(trees))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The thread ends by itself once the queue is closed; it is not waited for, as this may be a runtime's thread.
        self.closing.store(true, Ordering::Relaxed);
        let _ = self.queue.send(Message::Close);
    }
}

/// A queued write.
pub struct Pending(Waiting);

enum Waiting {
    Queued(oneshot::Receiver<Result<(), StoreError>>),
    #[cfg(feature = "sim")]
    Memory(memory::Write),
}

impl Pending {
    /// Waits on a thread that may block.
    pub fn wait_blocking(self) -> Result<(), StoreError> {
        match self.0 {
            Waiting::Queued(receiver) => receiver.blocking_recv().unwrap_or(Err(StoreError::Closed)),
            #[cfg(feature = "sim")]
            Waiting::Memory(write) => write.wait_blocking(),
        }
    }

    /// Waits on a runtime.
    pub async fn wait(self) -> Result<(), StoreError> {
        match self.0 {
            Waiting::Queued(receiver) => receiver.await.unwrap_or(Err(StoreError::Closed)),
            #[cfg(feature = "sim")]
            Waiting::Memory(write) => write.wait().await,
        }
    }
}

/// Makes names that were created or changed in a directory durable.
pub fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    // The parent of a bare relative path has no name.
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(|error| StoreError::io(directory.display().to_string(), error))
}
