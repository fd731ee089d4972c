//! The apply thread: owns the state machine, applies entries in order and hands out views of it.

use std::ops::Bound;
use std::sync::mpsc;

use bytes::Bytes;
use openraft::entry::EntryPayload;
use tokio::sync::oneshot;

use crate::disk::{Disk, Limit, Op, Tree};
use crate::error::{OpenError, StoreError};
use crate::snapshot::{Current, format};
use crate::state_machine::{Position, SnapshotView, StateMachine};
use crate::types::{Entry, LogId, Outcomes, StoredMembership};

/// Set while the archive does not fit the current snapshot.
const STALE: &[u8] = b"archive-stale";
/// Archive records are written in portions of so many bytes when a snapshot is installed.
const PORTION_BYTES: usize = 4 << 20;

/// Archive records that are removed at once when it is replaced.
const CLEARED: Limit = Limit { count: 256, bytes: 1 << 20 };

/// What the thread is asked to do.
pub enum Task {
    /// Apply entries.
    Apply(Vec<Entry>, oneshot::Sender<Result<Vec<Outcomes>, StoreError>>),
    /// Say how far it is.
    State(oneshot::Sender<(Option<LogId>, StoredMembership)>),
    /// Hand out a view.
    View(oneshot::Sender<View>),
    /// Replace the state and the archive.
    Install(Current, oneshot::Sender<Result<(), StoreError>>),
}

/// The state as it was at one entry.
pub struct View {
    /// That entry.
    pub last_applied: Option<LogId>,
    /// The members at that entry.
    pub membership: StoredMembership,
    /// The user's state.
    pub state: Box<dyn SnapshotView>,
}

/// The thread's state.
pub struct Applier<S> {
    state_machine: S,
    disk: Disk,
    last_applied: Option<LogId>,
    membership: StoredMembership,
}

impl<S: StateMachine> Applier<S> {
    /// One that has applied nothing.
    pub fn new(state_machine: S, disk: Disk) -> Self {
        Self { state_machine, disk, last_applied: None, membership: StoredMembership::default() }
    }

    /// Begins from the current snapshot, if there is one; replay of the log does the rest.
    pub fn recover(&mut self, current: Option<&Current>) -> Result<(), OpenError> {
        let stale = self.disk.get(Tree::Meta, STALE)?.is_some();
        match current {
            Some(current) => {
                self.restore(current).map_err(|error| match error {
                    StoreError::Io { source, .. } => {
                        OpenError::Restore { path: current.file.path().to_owned(), source }
                    }
                    error => error.into(),
                })?;
                if stale {
                    self.replace_archive(current)?;
                }
            }
            None if stale => {
                self.clear_archive()?;
                self.disk.write(vec![fresh()], true).wait_blocking()?;
            }
            None => {}
        }
        Ok(())
    }

    /// Works until nobody can ask any more.
    pub fn run(mut self, tasks: &mpsc::Receiver<Task>) {
        while let Ok(task) = tasks.recv() {
            self.handle(task);
        }
    }

    /// Does one thing. Who no longer waits needs no answer.
    pub fn handle(&mut self, task: Task) {
        match task {
            Task::Apply(entries, done) => drop(done.send(self.apply(entries))),
            Task::State(done) => drop(done.send((self.last_applied, self.membership.clone()))),
            Task::View(done) => drop(done.send(self.view())),
            Task::Install(current, done) => drop(done.send(self.install(&current))),
        }
    }

    fn apply(&mut self, entries: Vec<Entry>) -> Result<Vec<Outcomes>, StoreError> {
        let mut answers = Vec::with_capacity(entries.len());
        let mut archive = Vec::new();
        for entry in entries {
            let mut outcomes = Vec::new();
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
                EntryPayload::Normal(batch) => {
                    let at = Position { term: entry.log_id.leader_id.term, index: entry.log_id.index };
                    outcomes = self.apply_batch(at, &batch.commands, &mut archive)?;
                }
            }
            self.last_applied = Some(entry.log_id);
            answers.push(Outcomes(outcomes));
        }
        if !archive.is_empty() {
            // Waited for, so that who reads the outcome finds what it archived; not synced, as the log has it.
            self.disk.write(archive, false).wait_blocking()?;
        }
        Ok(answers)
    }

    fn apply_batch(
        &mut self,
        at: Position,
        commands: &[Bytes],
        archive: &mut Vec<Op>,
    ) -> Result<Vec<Bytes>, StoreError> {
        let applied = self.state_machine.apply(at, commands);
        let applied = applied.map_err(|error| StoreError::io(format!("log entry {}", at.index), error))?;
        assert_eq!(applied.outcomes.len(), commands.len(), "the state machine owes one outcome per command");
        archive.extend(applied.archive.into_iter().map(Op::from));
        Ok(applied.outcomes)
    }

    fn view(&self) -> View {
        View {
            last_applied: self.last_applied,
            membership: self.membership.clone(),
            state: self.state_machine.snapshot(),
        }
    }

    fn install(&mut self, current: &Current) -> Result<(), StoreError> {
        self.restore(current)?;
        self.replace_archive(current)
    }

    fn restore(&mut self, current: &Current) -> Result<(), StoreError> {
        let path = current.file.path();
        let io = |error| StoreError::io(path.display().to_string(), error);
        let mut reader = format::Reader::open(path).map_err(io)?;
        self.state_machine.restore(&mut reader).map_err(io)?;
        self.last_applied = current.meta.last_log_id;
        self.membership = current.meta.last_membership.clone();
        Ok(())
    }

    /// In portions, so that entries which arrive meanwhile are not held up.
    fn clear_archive(&self) -> Result<(), StoreError> {
        let all = (Bound::Unbounded, Bound::Unbounded);
        while let Some((mut last, _)) = self.disk.scan(Tree::Archive, all, false, CLEARED)?.pop() {
            last.push(0);
            self.disk
                .write(vec![Op::RemoveRange(Tree::Archive, Vec::new(), Some(last))], false)
                .wait_blocking()?;
        }
        // Whatever belongs to no record any more.
        self.disk.write(vec![Op::RemovePrefix(Tree::Archive, Vec::new())], false).wait_blocking()
    }

    fn replace_archive(&self, current: &Current) -> Result<(), StoreError> {
        let path = current.file.path();
        let io = |error| StoreError::io(path.display().to_string(), error);
        let mut reader = format::Reader::open(path).map_err(io)?;
        self.clear_archive()?;
        let mut ops = Vec::new();
        let mut bytes = 0;
        while let Some((key, value)) = reader.next_archived().map_err(io)? {
            bytes += key.len() + value.len();
            ops.push(Op::Put(Tree::Archive, key, value));
            if bytes >= PORTION_BYTES {
                self.disk.write(std::mem::take(&mut ops), false).wait_blocking()?;
                bytes = 0;
            }
        }
        self.disk.write(ops, false).wait_blocking()?;
        // All of it first: then the mark may go.
        self.disk.write(Vec::new(), true).wait_blocking()?;
        self.disk.write(vec![fresh()], true).wait_blocking()
    }
}

/// Notes durably that the archive is about to be replaced. Blocks.
pub fn mark_archive_stale(disk: &Disk) -> Result<(), StoreError> {
    let op = Op::Put(Tree::Meta, STALE.to_vec(), Bytes::from_static(b"1"));
    disk.write(vec![op], true).wait_blocking()
}

fn fresh() -> Op {
    Op::Remove(Tree::Meta, STALE.to_vec())
}
