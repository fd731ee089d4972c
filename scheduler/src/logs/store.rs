//! The handle of the log store: cheap to clone, never blocks the thread of a caller.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use futures::Stream;
use meson_proto::v1::LogRecord;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::Error;
use super::attempt::AttemptName;
use super::cursor::Cursor;
use super::followers::Followers;
use super::journal::{self, Journal};
use super::keeper::Keeper;
use super::reader::{LogReader, Start};
use super::settings::{RECORD_BYTES_MAX, RECORDS_MAX, Settings};
use super::states::States;
use super::writer::{Append, Request, Writer};

/// Requests that wait for the writer.
const QUEUE_MAX: usize = 1_024;
/// Journals that wait for the keeper; then the writer waits too.
const SEALED_MAX: usize = 4;

/// This replica's store of attempts' output.
#[derive(Debug, Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    writer: mpsc::Sender<Request>,
    followers: Arc<Followers>,
    /// Bytes of records that may still come to wait.
    waiting: Arc<Semaphore>,
    waiting_bytes_max: usize,
    reads: Arc<Semaphore>,
}

/// Records that are on their way to the disk.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Result<u64, Error>>);

impl Ticket {
    /// Waits until the records are synced. Gives the next sequence number that is lacking.
    ///
    /// # Errors
    /// When the disk refuses or the store was closed.
    pub async fn synced(self) -> Result<u64, Error> {
        self.0.await.unwrap_or(Err(Error::Closed))
    }
}

impl LogStore {
    /// Opens the store and starts its two threads. Blocks while it brings the files up to date. They end after
    /// [`LogStore::close`], or when the last handle is gone.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        fs::create_dir_all(&settings.root)?;
        let number = journal::replay(&settings.root)?;
        let journal = Journal::create(&settings.root, number)?;
        let (requests, queue) = mpsc::channel(QUEUE_MAX);
        let (sealed, to_settle) = sync_channel(SEALED_MAX);
        let followers = Arc::new(Followers::default());
        let keeper = Keeper {
            settings: settings.clone(),
            sealed: to_settle,
            writer: requests.downgrade(),
            followers: followers.clone(),
        };
        let keeper = thread::Builder::new().name("log-keeper".into()).spawn(move || keeper.run())?;
        let shared = Shared {
            root: settings.root.clone(),
            writer: requests,
            followers: followers.clone(),
            waiting: Arc::new(Semaphore::new(settings.waiting_bytes_max)),
            waiting_bytes_max: settings.waiting_bytes_max,
            reads: Arc::new(Semaphore::new(settings.reads_max)),
        };
        let states = States::new(settings.attempts_cached);
        let writer = Writer { settings, journal, states, followers, sealed, keeper };
        thread::Builder::new().name("log-writer".into()).spawn(move || writer.run(queue))?;
        Ok(LogStore { shared: Arc::new(shared) })
    }

    /// Stops the store and waits until its threads have ended. Later calls fail.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.shared.writer.send(Request::Close(done)).await.is_ok() {
            // An error means that somebody else closes it.
            let _ = closed.await;
        }
    }

    /// Hands records over to be stored, in the order of the calls; waits while too much is waiting. Records that are
    /// there already, or come out of order, are passed over; no records ask what is lacking.
    ///
    /// # Errors
    /// When a record is too large, there are too many, or the store was closed.
    pub async fn submit(&self, attempt: &AttemptName, records: Vec<LogRecord>) -> Result<Ticket, Error> {
        if records.len() > RECORDS_MAX {
            return Err(Error::TooManyRecords(records.len()));
        }
        if let Some(record) = records.iter().find(|record| record.data.len() > RECORD_BYTES_MAX) {
            return Err(Error::RecordTooLarge(record.data.len()));
        }
        let bytes: usize = records.iter().map(|record| record.data.len() + size_of::<LogRecord>()).sum();
        let permits = u32::try_from(bytes.min(self.shared.waiting_bytes_max)).unwrap_or(u32::MAX);
        let waiting = self.shared.waiting.clone();
        let permit = waiting.acquire_many_owned(permits).await.map_err(|_| Error::Closed)?;
        let (answer, ticket) = oneshot::channel();
        let append = Append { attempt: attempt.clone(), records, answer, permit };
        self.shared.writer.send(Request::Append(append)).await.map_err(|_| Error::Closed)?;
        Ok(Ticket(ticket))
    }

    /// Stores records and waits until they are synced. Gives the next sequence number that is lacking.
    ///
    /// # Errors
    /// As [`LogStore::submit`], and when the disk refuses.
    pub async fn append(&self, attempt: &AttemptName, records: Vec<LogRecord>) -> Result<u64, Error> {
        self.submit(attempt, records).await?.synced().await
    }

    /// The records from a sequence number on, as many as have `bytes_max` of data together, at least one.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn read(
        &self,
        attempt: &AttemptName,
        from_sequence: u64,
        bytes_max: usize,
    ) -> Result<Vec<LogRecord>, Error> {
        self.read_at(attempt, Cursor::at(from_sequence), bytes_max).await.map(|(records, _)| records)
    }

    /// The last `count` records, or as many of them as have `bytes_max` of data.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn tail(
        &self,
        attempt: &AttemptName,
        count: u32,
        bytes_max: usize,
    ) -> Result<Vec<LogRecord>, Error> {
        self.reader(attempt, Start::Tail(count)).await?.next_chunk(bytes_max).await
    }

    /// Reads chunk by chunk, and can wait for more.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn reader(&self, attempt: &AttemptName, start: Start) -> Result<LogReader, Error> {
        let changes = self.shared.followers.subscribe(attempt);
        let cursor = match start {
            Start::Sequence(sequence) => Cursor::at(sequence),
            Start::Tail(count) => {
                let path = attempt.path(&self.shared.root);
                self.blocking(move || Cursor::at_tail(&path, count)).await?
            }
        };
        Ok(LogReader::new(self.clone(), attempt.clone(), cursor, changes))
    }

    /// Chunks of at most `bytes_max` of data as they come, until the attempt's last record.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn follow(
        &self,
        attempt: &AttemptName,
        start: Start,
        bytes_max: usize,
    ) -> Result<impl Stream<Item = Result<Vec<LogRecord>, Error>> + Send + use<>, Error> {
        Ok(self.reader(attempt, start).await?.chunks(bytes_max, true))
    }

    pub(super) async fn read_at(
        &self,
        attempt: &AttemptName,
        mut cursor: Cursor,
        bytes_max: usize,
    ) -> Result<(Vec<LogRecord>, Cursor), Error> {
        let path = attempt.path(&self.shared.root);
        self.blocking(move || cursor.read(&path, bytes_max).map(|records| (records, cursor))).await
    }

    /// Runs work that waits for the disk, a few at a time, on threads that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.shared.reads.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        let work = move || {
            // The thread goes on when the caller gives up, and so does its permit.
            let _permit = permit;
            work()
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => Ok(done?),
            // The runtime shuts down.
            Err(_) => Err(Error::Closed),
        }
    }
}
