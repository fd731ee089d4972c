//! The writer: the one thread that changes the store. It takes all appends that wait, syncs them once in the journal,
//! writes them to the attempts' files and answers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;

use meson_proto::v1::{AppendLogsRequest, LogRecord};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tracing::{error, warn};

use super::Error;
use super::attempt::AttemptName;
use super::followers::Followers;
use super::journal::{Journal, Sealed};
use super::settings::Settings;
use super::states::States;
use super::{file, frame};

/// Most appends that share a sync.
const BATCH_MAX: usize = 1_024;

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    /// Store records.
    Append(Append),
    /// Remove logs.
    Remove(BTreeSet<AttemptName>),
    /// Stop, and say when it is done.
    Close(oneshot::Sender<()>),
}

/// Records of one attempt, and who waits for them to be synced.
#[derive(Debug)]
pub(super) struct Append {
    pub attempt: AttemptName,
    pub records: Vec<LogRecord>,
    pub answer: oneshot::Sender<Result<u64, Error>>,
    /// Its part of the bytes that may wait.
    pub permit: OwnedSemaphorePermit,
}

/// The thread's state.
pub(super) struct Writer {
    pub settings: Settings,
    pub journal: Journal,
    pub states: States,
    pub followers: Arc<Followers>,
    /// Takes journals to the keeper; few may wait, so that they cannot pile up.
    pub sealed: SyncSender<Sealed>,
    pub keeper: JoinHandle<()>,
}

/// An append that was looked at.
struct Planned {
    attempt: AttemptName,
    answer: oneshot::Sender<Result<u64, Error>>,
    next_sequence: Result<u64, Error>,
    _permit: OwnedSemaphorePermit,
}

impl Writer {
    /// Works until it is closed or nobody can ask any more.
    pub fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut closing = None;
        while closing.is_none() {
            let Some(first) = requests.blocking_recv() else { break };
            let mut appends = Vec::new();
            let mut next = Some(first);
            while let Some(request) = next {
                match request {
                    Request::Append(append) => appends.push(append),
                    Request::Remove(attempts) => self.remove(&attempts),
                    Request::Close(done) => closing = Some(done),
                }
                let has_room = appends.len() < BATCH_MAX && closing.is_none();
                next = has_room.then(|| requests.try_recv().ok()).flatten();
            }
            self.append(appends);
        }
        // The keeper ends when nobody can send to it; what is left in the journal is replayed by the next opening.
        drop((self.sealed, requests));
        if self.keeper.join().is_err() {
            error!("the keeper of logs has panicked");
        }
        self.followers.close();
        if let Some(done) = closing {
            let _ = done.send(());
        }
    }

    fn append(&mut self, appends: Vec<Append>) {
        let mut journal = Vec::new();
        let mut files: BTreeMap<AttemptName, Vec<u8>> = BTreeMap::new();
        let plan = |append| self.plan(append, &mut journal, &mut files);
        let mut planned: Vec<Planned> = appends.into_iter().map(plan).collect();
        if !files.is_empty() {
            let failed = match self.write_journal(&journal, &files) {
                Ok(()) => self.write_files(&files),
                Err(error) => self.give_up(error.into(), &files),
            };
            for planned in &mut planned {
                if let Some(error) = failed.get(&planned.attempt) {
                    planned.next_sequence = Err(error.clone());
                }
            }
        }
        for Planned { attempt, answer, next_sequence, .. } in planned {
            if let (Ok(next), true) = (&next_sequence, files.contains_key(&attempt)) {
                self.followers.publish(&attempt, *next);
            }
            // Nobody may wait any more; the records are stored all the same.
            let _ = answer.send(next_sequence);
        }
        if self.journal.bytes() >= self.settings.journal_bytes
            && let Err(error) = self.replace_journal()
        {
            warn!(%error, "cannot begin a journal of logs; the present one goes on");
        }
    }

    /// Decides which records to store, and encodes them.
    fn plan(
        &mut self,
        append: Append,
        journal: &mut Vec<u8>,
        files: &mut BTreeMap<AttemptName, Vec<u8>>,
    ) -> Planned {
        let Append { attempt, records, answer, permit } = append;
        let next_sequence = self.admit(&attempt, records).map(|(next, stored)| {
            if !stored.is_empty() {
                let frames = files.entry(attempt.clone()).or_default();
                stored.iter().for_each(|record| frame::encode(record, frames));
                let attempt_id = attempt.to_string();
                let entry = AppendLogsRequest { run_id: String::new(), attempt_id, records: stored };
                frame::encode(&entry, journal);
            }
            next
        });
        Planned { attempt, answer, next_sequence, _permit: permit }
    }

    fn admit(
        &mut self,
        attempt: &AttemptName,
        records: Vec<LogRecord>,
    ) -> Result<(u64, Vec<LogRecord>), Error> {
        let known = self.states.get(attempt);
        let mut state = match known {
            Some(state) => state,
            None => file::recover(&attempt.path(&self.settings.root))?,
        };
        let stored = state.admit(records, self.settings.attempt_bytes_max);
        self.states.put(attempt, state);
        Ok((state.next_sequence, stored))
    }

    fn write_files(&mut self, files: &BTreeMap<AttemptName, Vec<u8>>) -> BTreeMap<AttemptName, Error> {
        let mut failed = BTreeMap::new();
        for (attempt, frames) in files {
            if let Err(error) = file::append(&attempt.path(&self.settings.root), frames) {
                error!(%attempt, %error, "cannot write a log");
                // What reached the file is found out when it is read again.
                self.states.forget(attempt);
                failed.insert(attempt.clone(), error.into());
            }
        }
        failed
    }

    /// Nobody knows what a journal holds after a failed write, so such a one is replaced before the next.
    fn write_journal(&mut self, journal: &[u8], files: &BTreeMap<AttemptName, Vec<u8>>) -> io::Result<()> {
        if self.journal.is_broken() {
            self.replace_journal()?;
        }
        self.journal.append(journal, files.keys().cloned())
    }

    /// Acknowledges nothing of a batch, and finds out anew what the disk holds.
    fn give_up(
        &mut self,
        error: Error,
        files: &BTreeMap<AttemptName, Vec<u8>>,
    ) -> BTreeMap<AttemptName, Error> {
        error!(%error, "cannot write the journal of logs");
        files.keys().for_each(|attempt| self.states.forget(attempt));
        files.keys().map(|attempt| (attempt.clone(), error.clone())).collect()
    }

    fn replace_journal(&mut self) -> io::Result<()> {
        let sealed = self.journal.replace(&self.settings.root)?;
        // A keeper that is gone leaves the journal to the next opening.
        drop(self.sealed.send(sealed));
        Ok(())
    }

    fn remove(&mut self, attempts: &BTreeSet<AttemptName>) {
        for attempt in attempts {
            self.states.forget(attempt);
            if let Err(error) = file::remove(&attempt.path(&self.settings.root)) {
                warn!(%attempt, %error, "cannot remove a log");
            }
        }
    }
}
