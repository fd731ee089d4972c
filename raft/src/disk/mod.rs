//! The only module that knows the embedded store: three trees, one writer thread, and a commit that is durable.
//!
//! Writes are queued from anywhere and done in order by one thread; those that wait together share one sync. Reads go
//! to the trees directly and block, so callers on a runtime wrap them in `spawn_blocking`. Nothing here knows what an
//! entry or a vote is.

#[cfg(feature = "sim")]
pub(crate) mod memory;
mod values;
mod writer;

use std::fs::File;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::error::StoreError;
pub use writer::after_prefix;
use writer::{Message, Writer};

/// Large enough that no value the store sees becomes one of its blob files, which it never syncs.
const SEGMENT_BYTES: usize = 4 << 20;
/// The store's own background sync and collection of dead segments, which `None` would switch off.
const FLUSH_EVERY_MS: u64 = 500;

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
}

impl Disk {
    /// Opens the store in a directory, and creates both when missing.
    pub fn open(directory: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let place = directory.display().to_string();
        std::fs::create_dir_all(directory).map_err(|error| StoreError::io(&place, error))?;
        let failed = |source| match source {
            sled::Error::Corruption { .. } => StoreError::corrupt(&place, "the store does not open"),
            source => StoreError::Sled { place: place.clone(), source },
        };
        let db = sled::Config::new()
            .path(directory)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(cache_bytes)
            .mode(sled::Mode::HighThroughput)
            .flush_every_ms(Some(FLUSH_EVERY_MS))
            .open()
            .map_err(failed)?;
        let trees = Trees {
            log: db.open_tree("log").map_err(failed)?,
            meta: db.open_tree("meta").map_err(failed)?,
            archive: db.open_tree("archive").map_err(failed)?,
            db,
        };
        let file = directory.join("db");
        let file = File::open(&file).map_err(|error| StoreError::io(file.display().to_string(), error))?;
        sync_directory(directory)?;
        if let Some(parent) = directory.parent() {
            sync_directory(parent)?;
        }

        let trees = Arc::new(RwLock::new(Some(trees)));
        let (queue, requests) = mpsc::channel();
        let writer = Writer::new(trees.clone(), file);
        let thread = std::thread::Builder::new()
            .name("meson-log-writer".into())
            .spawn(move || writer.run(&requests))
            .map_err(|error| StoreError::io("the writer thread", error))?;
        let writer = std::sync::Mutex::new(Some(thread));
        let inner = Inner { directory: directory.to_owned(), trees, queue, writer };
        Ok(Self { backend: Backend::Store(Arc::new(inner)) })
    }

    /// Opens a simulated disk.
    #[cfg(feature = "sim")]
    pub fn simulated(memory: &memory::Memory) -> Self {
        Self { backend: Backend::Memory(memory.open()) }
    }

    /// Queues changes at once, and answers when they are done: with `sync` when they and all before them are durable.
    pub fn write(&self, ops: Vec<Op>, sync: bool) -> Pending {
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
                std::fs::metadata(inner.directory.join("db")).map_or(0, |data| data.len())
            }
            #[cfg(feature = "sim")]
            Backend::Memory(memory) => memory.size_bytes(),
        }
    }

    /// Makes everything durable and closes the store for all clones. Blocks.
    pub fn close(&self) {
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
        read(trees.as_ref().ok_or(StoreError::Closed)?)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The thread ends by itself once the queue is closed; it is not waited for, as this may be a runtime's thread.
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
