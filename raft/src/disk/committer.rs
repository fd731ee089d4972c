//! Commits: the store's file and the guard, synced at the same time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use super::guard::{Guard, Promise, REDO_BYTES_MAX, Redo};
use super::summary::Summary;
use super::{Op, TREES, redo};
use crate::error::StoreError;
use crate::sabotage;

/// Makes durable what was applied to the store.
pub struct Committer {
    /// The store's file.
    path: PathBuf,
    file: File,
    /// What is durable for certain.
    durable: Promise,
    /// The changes since then, unless they are too many to be carried.
    changes: Option<Vec<u8>>,
    slots: mpsc::Sender<(Promise, Redo)>,
    written: mpsc::Receiver<Result<(), StoreError>>,
    _thread: JoinHandle<()>,
}

impl Committer {
    /// For a store whose file was just synced, and promised to be as it is.
    pub fn start(path: &Path, file: File, mut guard: Guard) -> Result<Self, StoreError> {
        let durable = *guard.promise();
        let (slots, work) = mpsc::channel::<(Promise, Redo)>();
        let (done, written) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("meson-log-guard".into())
            .spawn(move || {
                // Ends with the committer.
                while let Ok((promise, redo)) = work.recv() {
                    if done.send(guard.write(promise, &redo)).is_err() {
                        return;
                    }
                }
            })
            .map_err(|error| StoreError::io("the guard's thread", error))?;
        let changes = Some(Vec::new());
        Ok(Self { path: path.to_owned(), file, durable, changes, slots, written, _thread: thread })
    }

    /// Takes note of a change that is about to be applied.
    pub fn note(&mut self, op: &Op) {
        if let Some(changes) = &mut self.changes {
            redo::encode(op, changes);
            if changes.len() > REDO_BYTES_MAX {
                self.changes = None;
            }
        }
    }

    /// Makes the store's state durable, as its summaries have it. With `whole`, the guard promises all of it once it is;
    /// without, the guard carries the changes meanwhile, and the promise follows with the next commit.
    pub fn commit(
        &mut self,
        summaries: [Summary; TREES.len()],
        log_end: Option<u64>,
        whole: bool,
        flush: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let after = Promise { summaries, log_end };
        let changes = self.changes.replace(Vec::new());
        let carried = changes.filter(|changes| !whole && !changes.is_empty() && !sabotage::without("guard"));
        if let Some(changes) = carried {
            self.send(self.durable, Redo { after: summaries, changes })?;
            let synced = flush().and_then(|()| self.sync());
            self.receive()?;
            synced?;
        } else {
            flush()?;
            self.sync()?;
            if !sabotage::without("guard") {
                self.send(after, Redo { after: summaries, changes: Vec::new() })?;
                self.receive()?;
            }
        }
        self.durable = after;
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        if sabotage::without("sync-before-ack") {
            return Ok(());
        }
        self.file.sync_data().map_err(|error| StoreError::io(self.path.display().to_string(), error))
    }

    fn send(&self, promise: Promise, redo: Redo) -> Result<(), StoreError> {
        self.slots.send((promise, redo)).map_err(|_| StoreError::Closed)
    }

    fn receive(&self) -> Result<(), StoreError> {
        self.written.recv().unwrap_or(Err(StoreError::Closed))
    }
}
