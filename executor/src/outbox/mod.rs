//! Reports that are not yet acknowledged, in order, until they are.
//!
//! Reports of child processes are durable before they are sent. Reports without an outside effect behind them (in-process
//! steps, RUNNING) stay in memory: when the executor dies the leader finds the attempt unknown and places it again, and
//! doing it again harms nobody. Report ids grow over restarts because they are reserved on disk in blocks.

mod journal;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use meson_proto::v1::{AttemptState, Report};
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::error;

pub use journal::{Journal, Record};

/// Report ids reserved at once.
const RESERVE: u64 = 1 << 20;
/// Writes that may wait for the disk; beyond it the attempts wait.
const QUEUE_MAX: usize = 4096;

/// The outbox. One for the executor; shared by reference.
#[derive(Debug)]
pub struct Outbox {
    inner: Mutex<Inner>,
    writes: mpsc::Sender<Write>,
    changed: Notify,
}

/// What becomes known of an attempt, for whoever listens beside the session.
#[derive(Debug, Clone, PartialEq)]
pub enum Word {
    /// A report that may go out now.
    Report(Report),
    /// Nobody wants to hear of the attempt any more.
    Dropped(String),
}

#[derive(Debug, Default)]
struct Inner {
    listener: Option<mpsc::UnboundedSender<Word>>,
    next_id: u64,
    reserved: u64,
    pending: BTreeMap<u64, Pending>,
    by_attempt: HashMap<String, u64>,
    /// Ready reports that this session has not yet sent.
    unsent: VecDeque<u64>,
}

#[derive(Debug)]
struct Pending {
    report: Report,
    ready: bool,
    durable: bool,
}

struct Write {
    record: Record,
    done: Option<oneshot::Sender<io::Result<()>>>,
}

impl Outbox {
    /// Opens the outbox in `data_dir` and starts its writer thread. Durable reports of before are not ready to be sent
    /// until they are [released](Self::release).
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let (mut journal, found) = Journal::open(&data_dir.join("outbox"))?;
        let reserved = found.reserved + RESERVE;
        journal.append(&[Record::Reserve(reserved)])?;
        journal.sync()?;
        let mut inner = Inner { next_id: found.reserved + 1, reserved, ..Inner::default() };
        for (id, report) in found.reports {
            inner.by_attempt.insert(report.attempt_id.clone(), id);
            inner.pending.insert(id, Pending { report, ready: false, durable: true });
        }
        let (writes, queue) = mpsc::channel(QUEUE_MAX);
        std::thread::Builder::new().name("outbox".into()).spawn(move || write_all(journal, queue))?;
        Ok(Self { inner: Mutex::new(inner), writes, changed: Notify::new() })
    }

    /// Adds a report that needs no disk and may be sent at once.
    pub fn push(&self, report: Report) -> u64 {
        let (id, reserve) = self.lock().insert(report, true, false);
        if let Some(record) = reserve {
            // Reserved half a block ahead, so ids in use never run past what the disk knows; a queue that is full now has
            // room before that half is used up.
            if self.writes.try_send(Write { record, done: None }).is_err() {
                self.lock().reserved -= RESERVE;
            }
        }
        self.changed.notify_one();
        id
    }

    /// Adds a report durably; returns when it is on disk. It is sent after [`release`](Self::release).
    ///
    /// # Errors
    /// When the disk refuses; the report is then kept in memory only.
    pub async fn push_durable(&self, report: Report) -> io::Result<u64> {
        let (id, record, reserve) = {
            let mut inner = self.lock();
            let (id, reserve) = inner.insert(report, false, true);
            let record = Record::Report(inner.pending[&id].report.clone());
            (id, record, reserve)
        };
        if let Some(record) = reserve {
            let _ = self.writes.send(Write { record, done: None }).await;
        }
        let (done, synced) = oneshot::channel();
        let gone = || io::Error::other("the outbox's writer is gone");
        self.writes.send(Write { record, done: Some(done) }).await.map_err(|_| gone())?;
        synced.await.map_err(|_| gone())??;
        Ok(id)
    }

    /// Hears every report as it may go out, beside the session. There are never more of them than attempts.
    pub fn listen(&self) -> mpsc::UnboundedReceiver<Word> {
        let (listener, words) = mpsc::unbounded_channel();
        self.lock().listener = Some(listener);
        words
    }

    /// Nothing will be said of an attempt.
    pub fn dropped(&self, attempt_id: &str) {
        self.lock().tell(Word::Dropped(attempt_id.to_owned()));
    }

    /// Lets a durable report go out.
    pub fn release(&self, id: u64, log_complete: bool) {
        self.lock().release(id, log_complete);
        self.changed.notify_one();
    }

    /// Which attempt a report is about, and what it says.
    pub fn subject(&self, id: u64) -> Option<(String, AttemptState)> {
        let inner = self.lock();
        inner.pending.get(&id).map(|pending| (pending.report.attempt_id.clone(), pending.report.state()))
    }

    /// The leader has decided on a report: forget it. Returns it when it was known.
    pub fn acknowledge(&self, id: u64) -> Option<Report> {
        let pending = self.lock().remove(id)?;
        if pending.durable {
            // Not awaited: an acknowledgement that is lost only sends the report once more.
            let _ = self.writes.try_send(Write { record: Record::Forget(id), done: None });
        }
        Some(pending.report)
    }

    /// Forgets what is to be said of an attempt; says whether there was something.
    pub fn discard(&self, attempt_id: &str) -> bool {
        self.dropped(attempt_id);
        let id = self.lock().by_attempt.get(attempt_id).copied();
        id.is_some_and(|id| self.acknowledge(id).is_some())
    }

    /// A new session: everything ready is to be sent again.
    pub fn start_over(&self) {
        let mut inner = self.lock();
        inner.unsent = inner.pending.iter().filter(|(_, pending)| pending.ready).map(|(id, _)| *id).collect();
        drop(inner);
        self.changed.notify_one();
    }

    /// Takes up to `limit` reports that this session has not yet sent.
    pub fn take_unsent(&self, limit: usize) -> Vec<Report> {
        let mut inner = self.lock();
        let taken = limit.min(inner.unsent.len());
        let ids: Vec<u64> = inner.unsent.drain(..taken).collect();
        ids.iter().filter_map(|id| inner.pending.get(id)).map(|pending| pending.report.clone()).collect()
    }

    /// Sends the report of an attempt again; says whether there is one.
    pub fn send_again(&self, attempt_id: &str) -> bool {
        let mut inner = self.lock();
        let Some(id) = inner.by_attempt.get(attempt_id).copied() else { return false };
        if inner.pending[&id].ready {
            inner.unsent.push_back(id);
        }
        drop(inner);
        self.changed.notify_one();
        true
    }

    /// Durable reports that wait for their release, by attempt.
    pub fn unreleased(&self) -> HashMap<String, u64> {
        let inner = self.lock();
        let waiting = inner.pending.iter().filter(|(_, pending)| !pending.ready);
        waiting.map(|(id, pending)| (pending.report.attempt_id.clone(), *id)).collect()
    }

    /// Attempts that ended and whose report is not yet acknowledged, with their fences.
    pub fn ended(&self) -> Vec<(String, u64)> {
        let running = i32::from(AttemptState::Running);
        let inner = self.lock();
        let terminal = inner.pending.values().filter(|pending| pending.report.state != running);
        terminal.map(|pending| (pending.report.attempt_id.clone(), pending.report.fence)).collect()
    }

    /// Waits until there may be more to send.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Adds a report under the next id. The newest report of an attempt takes the place of an older one.
    fn insert(&mut self, mut report: Report, ready: bool, durable: bool) -> (u64, Option<Record>) {
        let id = self.next_id;
        self.next_id += 1;
        report.report_id = id;
        if let Some(older) = self.by_attempt.insert(report.attempt_id.clone(), id) {
            self.pending.remove(&older);
        }
        if ready {
            self.tell(Word::Report(report.clone()));
        }
        self.pending.insert(id, Pending { report, ready, durable });
        if ready {
            self.unsent.push_back(id);
        }
        let reserve = (self.reserved - id < RESERVE / 2).then(|| {
            self.reserved += RESERVE;
            Record::Reserve(self.reserved)
        });
        (id, reserve)
    }

    fn release(&mut self, id: u64, log_complete: bool) {
        // Once said, it must not be said again otherwise.
        let Some(pending) = self.pending.get_mut(&id).filter(|pending| !pending.ready) else { return };
        pending.report.log_complete = log_complete;
        pending.ready = true;
        let report = pending.report.clone();
        self.unsent.push_back(id);
        self.tell(Word::Report(report));
    }

    fn tell(&self, word: Word) {
        if let Some(listener) = &self.listener {
            // Whoever listened is ending, and the process with it.
            let _ = listener.send(word);
        }
    }

    fn remove(&mut self, id: u64) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        if self.by_attempt.get(&pending.report.attempt_id) == Some(&id) {
            self.by_attempt.remove(&pending.report.attempt_id);
        }
        Some(pending)
    }
}

/// The writer thread: all that waits shares one append and one sync.
fn write_all(mut journal: Journal, mut queue: mpsc::Receiver<Write>) {
    let mut batch = Vec::new();
    while let Some(first) = queue.blocking_recv() {
        batch.push(first);
        while let Ok(next) = queue.try_recv() {
            batch.push(next);
        }
        let (records, waiting): (Vec<Record>, Vec<_>) =
            batch.drain(..).map(|write| (write.record, write.done)).unzip();
        let result = commit(&mut journal, &records);
        if let Err(error) = &result {
            error!(%error, "the outbox cannot be written");
        }
        for done in waiting.into_iter().flatten() {
            let _ = done.send(
                result.as_ref().copied().map_err(|error| io::Error::new(error.kind(), error.to_string())),
            );
        }
    }
}

fn commit(journal: &mut Journal, records: &[Record]) -> io::Result<()> {
    journal.append(records)?;
    // Forgetting needs no sync: what is not forgotten is only said again.
    if records.iter().any(|record| !matches!(record, Record::Forget(_))) {
        journal.sync()?;
    }
    journal.compact_when_worth()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(attempt: &str) -> Report {
        Report { attempt_id: attempt.to_owned(), state: AttemptState::Succeeded.into(), ..Report::default() }
    }

    #[tokio::test]
    async fn durable_reports_survive_and_ids_grow() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(dir.path()).unwrap();
        let kept = outbox.push_durable(report("kept")).await.unwrap();
        outbox.push(report("volatile"));
        assert_eq!(outbox.take_unsent(9).len(), 1, "a durable report waits for its release");
        drop(outbox);

        let outbox = Outbox::open(dir.path()).unwrap();
        assert_eq!(outbox.ended(), vec![("kept".to_owned(), 0)]);
        outbox.release(kept, true);
        assert!(outbox.take_unsent(9)[0].log_complete);
        outbox.start_over();
        assert_eq!(outbox.take_unsent(9).len(), 1, "a new session says it again");
        assert!(outbox.push(report("later")) > kept + 1);
        assert_eq!(outbox.acknowledge(kept).unwrap().attempt_id, "kept");
        // A later durable report is a sign that the forgetting before it was written.
        outbox.push_durable(report("mark")).await.unwrap();
        drop(outbox);
        assert_eq!(Outbox::open(dir.path()).unwrap().ended(), vec![("mark".to_owned(), 0)]);
    }

    #[tokio::test]
    async fn the_end_takes_the_place_of_running() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(dir.path()).unwrap();
        let running = outbox.push(Report { state: AttemptState::Running.into(), ..report("a") });
        assert_eq!(outbox.ended(), vec![]);
        let end = outbox.push(report("a"));
        assert_eq!(outbox.acknowledge(running), None);
        assert_eq!(outbox.take_unsent(9).iter().map(|r| r.report_id).collect::<Vec<_>>(), vec![end]);
        outbox.discard("a");
        outbox.start_over();
        assert_eq!(outbox.take_unsent(9), vec![]);
    }
}
