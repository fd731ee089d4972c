//! The log and the vote as the consensus library stores them, on [`Disk`].
//!
//! What it answers from memory was read and checked when the replica opened; what it promises to be durable is.

use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use openraft::entry::EntryPayload;
use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{AnyError, OptionalSend, RaftLogReader, StorageIOError};
use prost::Message;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::codec::{LogIdMessage, VoteMessage, decode_entry, encode_entry, entry_size};
use crate::disk::{Disk, Limit, Op, Tree};
use crate::error::StoreError;
use crate::log_size::LogSize;
use crate::pace::Pace;
use crate::tail::Tail;
use crate::types::{Entry, LogId, StorageError, TypeConfig, Vote};

const VOTE: &[u8] = b"vote";
const COMMITTED: &[u8] = b"committed";
const PURGED: &[u8] = b"purged";
/// Memory for the newest entries.
const TAIL_BYTES: usize = 16 << 20;
/// Entries read from disk at once.
const PAGE: Limit = Limit { count: 64, bytes: 2 << 20 };

/// The log; clones share it.
#[derive(Clone)]
pub struct LogStore {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Disk,
    /// One answer for replication carries no more than this, but at least one entry.
    read_bytes_max: usize,
    state: Mutex<State>,
    /// Rung when the log has grown.
    grown: Notify,
    /// How long entries and votes take to be durable.
    pace: Pace,
}

struct State {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
    tail: Tail,
    size: LogSize,
}

impl State {
    fn push(&mut self, entry: Entry) {
        self.last = Some(entry.log_id);
        self.size.push(entry.log_id.index, entry_size(&entry));
        self.tail.push(entry);
    }
}

impl LogStore {
    /// Reads the whole log once, so that damage is found now and not when an entry is needed. Blocks.
    pub fn open(disk: Disk, node_id: u64, read_bytes_max: usize) -> Result<Self, StoreError> {
        let vote: Option<VoteMessage> = read_meta(&disk, VOTE)?;
        let committed: Option<LogIdMessage> = read_meta(&disk, COMMITTED)?;
        let purged: Option<LogIdMessage> = read_meta(&disk, PURGED)?;
        let purged: Option<LogId> = purged.map(Into::into);
        if let Some(purged) = purged {
            // A crash may have come between noting the purge and its end.
            disk.write(vec![purge_op(purged.index)], false).wait_blocking()?;
        }
        let mut state = State {
            vote: vote.map(|vote| as_follower(vote.into(), node_id)),
            committed: committed.map(Into::into),
            purged,
            last: purged,
            tail: Tail::new(TAIL_BYTES),
            size: LogSize::default(),
        };
        let mut next = purged.map_or(0, |purged| purged.index + 1);
        loop {
            let page = read_page(&disk, next, u64::MAX)?;
            if page.is_empty() {
                break;
            }
            for entry in page {
                if entry.log_id.index != next {
                    return Err(StoreError::corrupt(format!("log entry {next}"), "it is missing"));
                }
                next += 1;
                state.push(entry);
            }
        }
        let state = Mutex::new(state);
        Ok(Self {
            inner: Arc::new(Inner {
                disk,
                read_bytes_max,
                state,
                grown: Notify::new(),
                pace: Pace::default(),
            }),
        })
    }

    /// How long this log's disk takes.
    pub fn pace(&self) -> Pace {
        self.inner.pace.clone()
    }

    /// The vote.
    pub fn vote(&self) -> Option<Vote> {
        self.state().vote
    }

    /// Reads all entries in order. Blocks.
    pub fn for_each(&self, mut act: impl FnMut(Entry)) -> Result<(), StoreError> {
        let mut next = self.state().purged.map_or(0, |purged| purged.index + 1);
        loop {
            let page = read_page(&self.inner.disk, next, u64::MAX)?;
            if page.is_empty() {
                return Ok(());
            }
            next += page.len() as u64;
            page.into_iter().for_each(&mut act);
        }
    }

    /// Up to where entries were removed because a snapshot stands for them.
    pub fn purged(&self) -> Option<LogId> {
        self.state().purged
    }

    /// Returns when the log has grown since the last call.
    pub async fn grown(&self) {
        self.inner.grown.notified().await;
    }

    /// About how many bytes the entries after an index have.
    pub fn bytes_after(&self, index: Option<u64>) -> u64 {
        self.state().size.after(index)
    }

    /// The last entry that has to go so that about so many bytes stay.
    pub fn excess(&self, bytes: u64) -> Option<u64> {
        self.state().size.excess(bytes)
    }

    /// Up to where entries are known to be committed.
    pub fn committed(&self) -> Option<LogId> {
        self.state().committed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Entry>, StoreError> {
        let to = to.min(self.state().last.map_or(0, |last| last.index + 1));
        if from >= to {
            return Ok(Vec::new());
        }
        if let Some(found) = self.state().tail.read(from, to, bytes_max) {
            return Ok(found);
        }
        let disk = self.inner.disk.clone();
        let reading = crate::blocking(move || read_range(&disk, from, to, bytes_max));
        reading.await.map_err(|_| StoreError::Closed)?
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        self.read(from, to, usize::MAX).await.map_err(reading)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.read(start, end, self.inner.read_bytes_max).await.map_err(reading)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let state = self.state();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let op = meta_op(VOTE, &VoteMessage::from(*vote));
        let begun = Instant::now();
        let written = self.inner.disk.write(vec![op], true).wait().await;
        written.map_err(|error| StorageIOError::write_vote(AnyError::new(&error)))?;
        self.inner.pace.record(begun);
        self.state().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.state().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        // Only a hint that spares waiting for a leader after a restart; the next sync takes it along.
        let op = match committed {
            Some(committed) => meta_op(COMMITTED, &LogIdMessage::from(committed)),
            None => Op::Remove(Tree::Meta, COMMITTED.to_vec()),
        };
        drop(self.inner.disk.write(vec![op], false));
        self.state().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        let state = self.state();
        // The hint may have become durable before the entries it speaks of were cut off or lost.
        Ok(state.committed.filter(|committed| Some(*committed) <= state.last))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let mut ops = Vec::with_capacity(entries.len());
        for entry in &entries {
            if let EntryPayload::Normal(batch) = &entry.payload {
                batch.written.set();
            }
            let value = Bytes::from(encode_entry(entry.clone()));
            ops.push(Op::Put(Tree::Log, entry.log_id.index.to_be_bytes().to_vec(), value));
        }
        // The callback only comes after the sync, and so does the return: nothing the library does next can
        // overtake the disk.
        let begun = Instant::now();
        match self.inner.disk.write(ops, true).wait().await {
            Ok(()) => {
                self.inner.pace.record(begun);
                let mut state = self.state();
                for entry in entries {
                    state.push(entry);
                }
                drop(state);
                self.inner.grown.notify_one();
                callback.log_io_completed(Ok(()));
                Ok(())
            }
            Err(error) => {
                callback.log_io_completed(Err(std::io::Error::other(error.to_string())));
                Err(StorageIOError::write_logs(AnyError::new(&error)).into())
            }
        }
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let from = log_id.index;
        // No sync: nothing was promised, and whatever is appended next is synced behind it.
        let op = Op::RemoveRange(Tree::Log, from.to_be_bytes().to_vec(), None);
        let written = self.inner.disk.write(vec![op], false).wait().await;
        written.map_err(|error| StorageIOError::write_logs(AnyError::new(&error)))?;
        let before = match from.checked_sub(1) {
            Some(index) => self.read(index, from, usize::MAX).await.map_err(reading)?.pop(),
            None => None,
        };
        let mut state = self.state();
        state.tail.truncate(from);
        state.size.truncate(from);
        state.last = before.map(|entry| entry.log_id).or(state.purged);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        // No sync: the snapshot that stands for these entries is durable, and removing them again does no harm.
        // Nobody waits either, and least of all the next entries for the removal of many old ones.
        drop(self.inner.disk.write(vec![meta_op(PURGED, &LogIdMessage::from(log_id))], false));
        self.inner.disk.sweep(Tree::Log, log_id.index.saturating_add(1).to_be_bytes().to_vec());
        let mut state = self.state();
        state.tail.purge(log_id.index);
        state.size.purge(log_id.index);
        state.purged = state.purged.max(Some(log_id));
        state.last = state.last.max(Some(log_id));
        Ok(())
    }
}

/// The library would take up a leadership again that ended with the process, in the same term. A term is to stand for
/// one leadership of one process: what a leader holds in memory is gone, and others tell leaders apart by their term.
/// Forgetting that the election was won is safe, as if the answers to it had never arrived.
fn as_follower(mut vote: Vote, node_id: u64) -> Vote {
    vote.committed &= vote.leader_id.voted_for() != Some(node_id);
    vote
}

/// Makes a store that was just created one whose log begins after `last`, which a snapshot covers. Blocks.
pub fn begin_at(disk: &Disk, vote: Vote, last: Option<LogId>) -> Result<(), StoreError> {
    let mut ops = vec![meta_op(VOTE, &VoteMessage::from(vote))];
    ops.extend(last.map(|last| meta_op(PURGED, &LogIdMessage::from(last))));
    disk.write(ops, true).wait_blocking()
}

fn purge_op(index: u64) -> Op {
    let end = index.saturating_add(1).to_be_bytes();
    Op::RemoveRange(Tree::Log, 0_u64.to_be_bytes().to_vec(), Some(end.to_vec()))
}

fn meta_op(key: &[u8], message: &impl Message) -> Op {
    Op::Put(Tree::Meta, key.to_vec(), message.encode_to_vec().into())
}

fn read_meta<M: Message + Default>(disk: &Disk, key: &[u8]) -> Result<Option<M>, StoreError> {
    let Some(value) = disk.get(Tree::Meta, key)? else { return Ok(None) };
    let decoded = M::decode(value);
    decoded
        .map(Some)
        .map_err(|error| StoreError::corrupt(format!("meta {}", key.escape_ascii()), error.to_string()))
}

fn read_range(disk: &Disk, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Entry>, StoreError> {
    let mut found: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    loop {
        let next = found.last().map_or(from, |entry| entry.log_id.index + 1);
        let page = if next < to { read_page(disk, next, to)? } else { Vec::new() };
        if page.is_empty() {
            return Ok(found);
        }
        for entry in page {
            bytes += entry_size(&entry);
            if !found.is_empty() && bytes > bytes_max {
                return Ok(found);
            }
            found.push(entry);
        }
    }
}

fn read_page(disk: &Disk, from: u64, to: u64) -> Result<Vec<Entry>, StoreError> {
    let (from, to) = (from.to_be_bytes(), to.to_be_bytes());
    let page = disk.scan(Tree::Log, (Bound::Included(&from), Bound::Excluded(&to)), false, PAGE)?;
    page.into_iter()
        .map(|(key, value)| {
            let index = <[u8; 8]>::try_from(key.as_slice()).ok().map(u64::from_be_bytes);
            let place = || index.map_or_else(|| "log".to_owned(), |index| format!("log entry {index}"));
            let entry =
                decode_entry(value).map_err(|error| StoreError::corrupt(place(), error.to_string()))?;
            if index != Some(entry.log_id.index) {
                return Err(StoreError::corrupt(place(), format!("it says it is {}", entry.log_id)));
            }
            Ok(entry)
        })
        .collect()
}

fn reading(error: StoreError) -> StorageError {
    StorageIOError::read_logs(AnyError::new(&error)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes entries 0 to 4 except `without`, where entry 3 claims to be entry `third`; then opens the log.
    fn open_damaged(without: u64, third: u64) -> Result<LogStore, StoreError> {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), 8 << 20).unwrap();
        let ops = (0..5_u64).filter(|index| *index != without).map(|index| {
            let claimed = if index == 3 { third } else { index };
            let log_id = LogId::new(openraft::CommittedLeaderId::new(1, 1), claimed);
            let value = encode_entry(Entry { log_id, ..Entry::default() });
            Op::Put(Tree::Log, index.to_be_bytes().to_vec(), value.into())
        });
        disk.write(ops.collect(), true).wait_blocking().unwrap();
        let opened = LogStore::open(disk.clone(), 1, 1 << 20);
        disk.close();
        opened
    }

    #[test]
    fn damage_is_found_at_opening_with_its_place() {
        assert_eq!(open_damaged(99, 3).unwrap().state().last.map(|last| last.index), Some(4));
        for (without, third, entry) in [(2, 3, 2), (0, 3, 0), (99, 2, 3)] {
            let error = open_damaged(without, third).map(|_| ()).unwrap_err();
            let place = format!("log entry {entry}");
            assert!(
                matches!(&error, StoreError::Corrupt { place: named, .. } if named.ends_with(&place)),
                "{error}"
            );
        }
    }

    #[test]
    fn a_leadership_ends_with_its_process() {
        let dir = tempfile::tempdir().unwrap();
        for (vote, committed) in [(Vote::new_committed(3, 1), false), (Vote::new_committed(3, 2), true)] {
            let disk = Disk::open(dir.path(), 8 << 20).unwrap();
            disk.write(vec![meta_op(VOTE, &VoteMessage::from(vote))], true).wait_blocking().unwrap();
            let read = LogStore::open(disk.clone(), 1, 1 << 20).unwrap().state().vote.unwrap();
            assert_eq!((read.leader_id, read.committed), (vote.leader_id, committed));
            disk.close();
        }
    }

    #[test]
    fn a_purge_cut_short_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), 8 << 20).unwrap();
        let log_id = |index| LogId::new(openraft::CommittedLeaderId::new(1, 1), index);
        let entry = |index| encode_entry(Entry { log_id: log_id(index), ..Entry::default() });
        let mut ops: Vec<Op> = [1, 2, 4, 5, 6_u64]
            .map(|index| Op::Put(Tree::Log, index.to_be_bytes().to_vec(), entry(index).into()))
            .into();
        ops.push(meta_op(PURGED, &LogIdMessage::from(log_id(4))));
        disk.write(ops, true).wait_blocking().unwrap();
        let log = LogStore::open(disk.clone(), 1, 1 << 20).unwrap();
        assert_eq!(log.state().last, Some(log_id(6)));
        assert_eq!(disk.get(Tree::Log, &2_u64.to_be_bytes()).unwrap(), None);
        disk.close();
    }
}
