//! The state machine as the consensus library drives it: a front that passes work to the apply thread, and snapshots.

mod applier;
mod build;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError, mpsc};

use openraft::storage::RaftStateMachine;
use openraft::{AnyError, OptionalSend, RaftSnapshotBuilder, StorageIOError};
use tokio::sync::oneshot;

use crate::disk::Disk;
use crate::error::{OpenError, StoreError};
use crate::snapshot::{Current, SnapshotFile, Snapshots};
use crate::state_machine::StateMachine;
use crate::types::{
    Entry, LogId, Outcomes, Snapshot, SnapshotMeta, StorageError, StoredMembership, TypeConfig,
};
pub use applier::mark_archive_stale;
use applier::{Applier, Task, View};

/// The front of the state machine.
pub struct Machine {
    worker: Worker,
    snapshots: Snapshots,
    disk: Disk,
}

/// Who owns the state machine.
enum Worker {
    Thread(mpsc::Sender<Task>),
    /// A simulation has no threads.
    #[cfg(feature = "sim")]
    Inline(Mutex<Box<dyn FnMut(Task) + Send>>),
}

impl Machine {
    /// Restores the state from the current snapshot, if there is one, and starts the apply thread. Blocks.
    pub fn open(
        state_machine: impl StateMachine,
        disk: Disk,
        snapshots: Snapshots,
    ) -> Result<Self, OpenError> {
        let mut applier = Applier::new(state_machine, disk.clone());
        applier.recover(snapshots.current().as_ref())?;
        #[cfg(feature = "sim")]
        if crate::sim::is_active() {
            let worker = Worker::Inline(Mutex::new(Box::new(move |task| applier.handle(task))));
            return Ok(Self { worker, snapshots, disk });
        }
        let (tasks, receiver) = mpsc::channel();
        std::thread::Builder::new()
            .name("meson-apply".into())
            .spawn(move || applier.run(&receiver))
            .map_err(|error| StoreError::io("the apply thread", error))?;
        Ok(Self { worker: Worker::Thread(tasks), snapshots, disk })
    }

    async fn ask<R>(&self, task: impl FnOnce(oneshot::Sender<R>) -> Task) -> Result<R, StoreError> {
        let (done, answer) = oneshot::channel();
        let stopped = || StoreError::Failed("the apply thread has ended".into());
        match &self.worker {
            Worker::Thread(tasks) => tasks.send(task(done)).map_err(|_| stopped())?,
            #[cfg(feature = "sim")]
            Worker::Inline(act) => act.lock().unwrap_or_else(PoisonError::into_inner)(task(done)),
        }
        answer.await.map_err(|_| stopped())
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        self.ask(Task::State).await.map_err(writing)
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcomes>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        #[cfg(feature = "sim")]
        crate::sim::pause_before_apply().await;
        let applied = self.ask(|done| Task::Apply(entries, done)).await;
        applied.and_then(|result| result).map_err(writing)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let view = self.ask(Task::View).await;
        Builder { view: Mutex::new(Some(view)), snapshots: self.snapshots.clone(), disk: self.disk.clone() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotFile>, StorageError> {
        let snapshots = self.snapshots.clone();
        let created = blocking(move || {
            let (path, _) = snapshots.create()?;
            snapshots.written(&path, 0, [0; 32])
        });
        created.await.map(Box::new).map_err(snapshot_error)
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<SnapshotFile>,
    ) -> Result<(), StorageError> {
        let (snapshots, disk, meta) = (self.snapshots.clone(), self.disk.clone(), meta.clone());
        let published = blocking(move || {
            // Should a crash come before the archive is replaced, the next start replaces it.
            mark_archive_stale(&disk)?;
            snapshots.publish(&meta, &snapshot)
        });
        let current = published.await.map_err(snapshot_error)?;
        let installed = self.ask(|done| Task::Install(current, done)).await;
        installed.and_then(|result| result).map_err(snapshot_error)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        Ok(self.snapshots.current().map(handle))
    }
}

/// Writes one snapshot, while the apply thread goes on.
pub struct Builder {
    /// Locked by nobody; the library asks for `Sync`, which a view need not be.
    view: Mutex<Option<Result<View, StoreError>>>,
    snapshots: Snapshots,
    disk: Disk,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let view = self.view.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let view = view.unwrap_or(Err(StoreError::Closed)).map_err(snapshot_error)?;
        let (snapshots, disk) = (self.snapshots.clone(), self.disk.clone());
        let built = blocking(move || build::build(view, &snapshots, &disk)).await;
        built.map(handle).map_err(snapshot_error)
    }
}

fn handle(current: Current) -> Snapshot {
    Snapshot { meta: current.meta, snapshot: Box::new(current.file) }
}

async fn blocking<R: Send + 'static>(
    act: impl FnOnce() -> Result<R, StoreError> + Send + 'static,
) -> Result<R, StoreError> {
    crate::blocking(act).await.unwrap_or_else(|error| Err(StoreError::Failed(error.to_string())))
}

fn writing(error: StoreError) -> StorageError {
    StorageIOError::write_state_machine(AnyError::new(&error)).into()
}

fn snapshot_error(error: StoreError) -> StorageError {
    StorageIOError::write_snapshot(None, AnyError::new(&error)).into()
}
