//! The log of one attempt: what is on disk, and what each replica has of it.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use meson_proto::v1::{Failure, Launch, LogRecord, LogStream};
use prost::bytes::Bytes;
use tokio::sync::watch;
use tracing::warn;

use super::index::{self, Entry};
use crate::clock;
use crate::task::dirs::AttemptDir;
use crate::task::record::{self, Fact};

/// Records and bytes of one request; replicas take messages of 4 MiB.
const BATCH_RECORDS_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Records searched for the tail of a stream.
const TAIL_RECORDS_MAX: u64 = 4096;
/// A log that every replica has is removed at once when it is larger; smaller ones go with the attempt's files, because
/// removing them one by one costs more than they do.
const SMALL_LOG_BYTES: u64 = 64 * 1024;

/// One attempt's log. It holds no open files, because there may be many of them.
#[derive(Debug)]
pub struct AttemptLog {
    run_id: String,
    attempt_id: String,
    dir: AttemptDir,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    count: u64,
    ended: bool,
    /// The next sequence number each replica lacks.
    lacks: HashMap<String, u64>,
    /// Replicas that lost what they had.
    regressed: HashSet<String>,
}

impl AttemptLog {
    /// Opens it, creating what is missing.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(launch: &Launch, dir: &AttemptDir) -> io::Result<Self> {
        let index = index::open(&dir.log_index())?;
        let count = index::count(&index)?;
        let ended = count > 0 && index::read(&index, count, 1)?.iter().any(|entry| entry.end);
        Ok(Self {
            run_id: launch.run_id.clone(),
            attempt_id: launch.attempt_id.clone(),
            dir: dir.clone(),
            state: Mutex::new(State { count, ended, ..State::default() }),
            changed: watch::channel(()).0,
        })
    }

    /// The attempt.
    pub fn attempt_id(&self) -> &str {
        &self.attempt_id
    }

    /// Its run.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Whether its last record is written.
    pub fn is_ended(&self) -> bool {
        self.state().ended
    }

    /// Looks whether there are new records; says whether there are.
    pub fn grew(&self) -> bool {
        let Ok(count) = index::open(&self.dir.log_index()).and_then(|index| index::count(&index)) else {
            return false;
        };
        let mut state = self.state();
        let grew = count > state.count;
        state.count = count;
        grew
    }

    /// Adds a line of the executor's own.
    pub fn say(&self, text: &str) {
        self.add(&format!("{text}\n"), false);
    }

    /// Adds the last record, once.
    pub fn end(&self, failure: Option<&Failure>) {
        if self.is_ended() {
            return;
        }
        let text =
            failure.map_or_else(String::new, |failure| format!("the attempt failed: {}\n", failure.reason));
        self.add(&text, true);
        self.state().ended = true;
    }

    /// The last bytes of a stream, for messages; whole characters, without the blanks around them.
    pub fn tail(&self, stream: LogStream, bytes_max: usize) -> String {
        let bytes = self.try_tail(stream, bytes_max).unwrap_or_default();
        String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(bytes_max)..]).trim().to_owned()
    }

    fn try_tail(&self, stream: LogStream, bytes_max: usize) -> io::Result<Vec<u8>> {
        let index = index::open(&self.dir.log_index())?;
        let from = index::count(&index)?.saturating_sub(TAIL_RECORDS_MAX) + 1;
        let mut entries = index::read(&index, from, usize::MAX)?;
        entries.retain(|entry| entry.stream == stream);
        let mut files = HashMap::new();
        let mut pieces = Vec::new();
        let mut bytes = 0;
        for entry in entries.iter().rev() {
            bytes += entry.length as usize;
            pieces.push(self.data(entry, &mut files)?);
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(pieces.into_iter().rev().flatten().collect())
    }

    /// The records from `from` on that fit into one request.
    pub fn read(&self, from: u64) -> Vec<LogRecord> {
        self.try_read(from).unwrap_or_else(|error| {
            warn!(attempt_id = self.attempt_id, %error, "the log cannot be read");
            Vec::new()
        })
    }

    fn try_read(&self, from: u64) -> io::Result<Vec<LogRecord>> {
        let entries = index::read(&index::open(&self.dir.log_index())?, from, BATCH_RECORDS_MAX)?;
        let mut files: HashMap<i32, File> = HashMap::new();
        let mut records = Vec::with_capacity(entries.len());
        let mut bytes = 0;
        for (entry, sequence) in entries.into_iter().zip(from..) {
            bytes += entry.length as usize;
            if bytes > BATCH_BYTES_MAX && !records.is_empty() {
                break;
            }
            let data = self.data(&entry, &mut files)?;
            let Entry { stream, time_ms, end, .. } = entry;
            records.push(LogRecord { sequence, stream: stream.into(), time_ms, data, end });
        }
        Ok(records)
    }

    fn data(&self, entry: &Entry, files: &mut HashMap<i32, File>) -> io::Result<Bytes> {
        if entry.length == 0 {
            return Ok(Bytes::new());
        }
        let file = match files.entry(entry.stream.into()) {
            std::collections::hash_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(File::open(self.path(entry.stream))?)
            }
        };
        let mut data = vec![0; entry.length as usize];
        file.read_exact_at(&mut data, entry.offset)?;
        Ok(data.into())
    }

    fn path(&self, stream: LogStream) -> PathBuf {
        match stream {
            LogStream::Stdout | LogStream::Stderr => self.dir.output(),
            LogStream::System | LogStream::Unspecified => self.dir.system(),
        }
    }

    /// The next sequence number a replica lacks, as far as is known.
    pub fn lacks(&self, address: &str) -> u64 {
        self.state().lacks.get(address).copied().unwrap_or(1)
    }

    /// Whether a replica went back since this was last asked.
    pub fn take_regress(&self, address: &str) -> bool {
        self.state().regressed.remove(address)
    }

    /// A replica has everything below `next`; says whether it had said more before.
    pub fn acknowledged(&self, address: &str, next: u64) -> bool {
        let mut state = self.state();
        let before = state.lacks.insert(address.to_owned(), next.max(1)).unwrap_or(1);
        let regressed = next < before;
        if regressed {
            state.regressed.insert(address.to_owned());
        }
        drop(state);
        self.notify();
        regressed
    }

    /// Whether a replica has the last record.
    pub fn is_whole_at(&self, address: &str) -> bool {
        let state = self.state();
        state.ended && state.lacks.get(address).is_some_and(|next| *next > state.count)
    }

    /// Tells those who wait that something changed.
    pub fn notify(&self) {
        self.changed.send_replace(());
    }

    /// Notices of change.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Every replica has the whole log: it is not needed here.
    pub fn remove(&self) {
        if let Err(error) = record::append(&self.dir.record(), &Fact::LogStored) {
            warn!(attempt_id = self.attempt_id, %error, "the log will be shipped again after a restart");
            return;
        }
        if std::fs::metadata(self.dir.output()).is_ok_and(|data| data.len() > SMALL_LOG_BYTES) {
            // What stays goes with the attempt's files.
            let _ = std::fs::remove_file(self.dir.output());
        }
    }

    fn add(&self, text: &str, end: bool) {
        match self.try_add(text, end) {
            Ok(count) => self.state().count = count,
            Err(error) => warn!(attempt_id = self.attempt_id, %error, "a log record is lost"),
        }
    }

    fn try_add(&self, text: &str, end: bool) -> io::Result<u64> {
        let index = index::open(&self.dir.log_index())?;
        if end {
            // Nobody else writes any more, and the disk may have been full.
            index::mend(&index)?;
        }
        let mut offset = 0;
        if !text.is_empty() {
            let mut system = File::options().create(true).append(true).open(self.dir.system())?;
            offset = system.metadata()?.len();
            system.write_all(text.as_bytes())?;
        }
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        index::append(
            &index,
            &Entry { stream: LogStream::System, end, length, time_ms: clock::unix_ms(), offset },
        )?;
        index::count(&index)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(dir: &AttemptDir) -> AttemptLog {
        AttemptLog::open(&Launch { attempt_id: "a".into(), ..Launch::default() }, dir).unwrap()
    }

    #[test]
    fn records_are_read_in_order_and_the_end_is_written_once() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = AttemptDir::new(temporary.path().to_owned());
        let first = log(&dir);
        first.say("one");
        first.end(None);
        first.end(None);
        let again = log(&dir);
        assert!(again.is_ended());
        again.end(None);
        let records = again.read(1);
        let short: Vec<_> = records.iter().map(|r| (r.sequence, r.data.as_ref(), r.end)).collect();
        assert_eq!(short, [(1, &b"one\n"[..], false), (2, b"", true)]);
        assert!(again.read(3).is_empty());
    }

    #[test]
    fn a_replica_that_went_back_is_noticed() {
        let temporary = tempfile::tempdir().unwrap();
        let log = log(&AttemptDir::new(temporary.path().to_owned()));
        log.end(None);
        assert!(!log.acknowledged("r", 2));
        assert!(log.is_whole_at("r") && !log.is_whole_at("other"));
        assert!(log.acknowledged("r", 1));
        assert!(log.take_regress("r") && !log.take_regress("r"));
        assert!(!log.is_whole_at("r"));
    }

    #[test]
    fn the_tail_is_of_one_stream() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = AttemptDir::new(temporary.path().to_owned());
        let log = log(&dir);
        assert_eq!(log.tail(LogStream::Stderr, 9), "");
        std::fs::write(dir.output(), "first\nsecond\nthird\n").unwrap();
        let index = index::open(&dir.log_index()).unwrap();
        for (stream, offset, length) in
            [(LogStream::Stderr, 0, 6), (LogStream::Stdout, 6, 7), (LogStream::Stderr, 13, 6)]
        {
            index::append(&index, &Entry { stream, end: false, length, time_ms: 0, offset }).unwrap();
        }
        assert_eq!(log.tail(LogStream::Stderr, 100), "first\nthird");
        assert_eq!(log.tail(LogStream::Stderr, 8), "t\nthird");
    }
}
