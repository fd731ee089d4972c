//! The keeper: a thread for what may take long. It syncs the files behind sealed journals, and looks from time to time
//! for logs that are too old or too many. The writer removes those, since it knows what it has in memory of them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::WeakSender;
use tracing::warn;

use super::attempt::AttemptName;
use super::followers::Followers;
use super::journal::Sealed;
use super::settings::Settings;
use super::writer::Request;

/// Even an empty file costs the disk a block.
const BLOCK_BYTES: u64 = 4_096;

/// The thread's state.
pub(super) struct Keeper {
    pub settings: Settings,
    pub sealed: Receiver<Sealed>,
    pub writer: WeakSender<Request>,
    pub followers: Arc<Followers>,
}

impl Keeper {
    /// Works until the writer is gone.
    pub fn run(self) {
        let mut sweep_at = Instant::now() + self.settings.sweep_interval;
        loop {
            match self.sealed.recv_timeout(sweep_at.saturating_duration_since(Instant::now())) {
                Ok(sealed) => {
                    if let Err(error) = sealed.settle(&self.settings.root) {
                        warn!(%error, "cannot sync logs; their journal stays");
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.sweep();
                    sweep_at = Instant::now() + self.settings.sweep_interval;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn sweep(&self) {
        self.followers.prune();
        let superfluous = match list(&self.settings).map(|logs| choose(logs, &self.settings)) {
            Ok(superfluous) => superfluous,
            Err(error) => return warn!(%error, "cannot look for old logs"),
        };
        // A full queue means that the writer is busy; the next sweep tries again. Waiting here could wait for ever,
        // as the writer waits for the keeper when journals pile up.
        if let Some(writer) = self.writer.upgrade().filter(|_| !superfluous.is_empty()) {
            let _ = writer.try_send(Request::Remove(superfluous));
        }
    }
}

/// A log on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub age: Duration,
    pub attempt: AttemptName,
    pub bytes: u64,
}

fn list(settings: &Settings) -> io::Result<Vec<Stored>> {
    let now = SystemTime::now();
    let mut logs = Vec::new();
    for folder in fs::read_dir(&settings.root)? {
        let folder: PathBuf = folder?.path();
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Some(attempt) = entry.file_name().to_str().and_then(AttemptName::of_file) else { continue };
            let metadata = entry.metadata()?;
            let age = now.duration_since(metadata.modified()?).unwrap_or_default();
            logs.push(Stored { age, attempt, bytes: metadata.len().max(BLOCK_BYTES) });
        }
    }
    Ok(logs)
}

/// Which logs to remove: those beyond the age, then the oldest until the rest is below the total.
pub(super) fn choose(mut logs: Vec<Stored>, settings: &Settings) -> BTreeSet<AttemptName> {
    logs.sort_by(|a, b| b.age.cmp(&a.age).then_with(|| a.attempt.cmp(&b.attempt)));
    let mut total: u64 = logs.iter().map(|log| log.bytes).sum();
    let mut superfluous = BTreeSet::new();
    for log in logs.into_iter().filter(|log| log.age >= settings.spared_age) {
        if log.age < settings.age_max && total <= settings.total_bytes_max {
            break;
        }
        total -= log.bytes;
        superfluous.insert(log.attempt);
    }
    superfluous
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_go_first_then_the_oldest_and_the_young_never() {
        let settings = Settings {
            total_bytes_max: 250,
            age_max: Duration::from_secs(100),
            spared_age: Duration::from_secs(10),
            ..Settings::new("/logs")
        };
        let stored = |name: &str, age, bytes| {
            let attempt = AttemptName::parse(name).unwrap();
            Stored { age: Duration::from_secs(age), attempt, bytes }
        };
        let chosen = |logs| choose(logs, &settings).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(chosen(vec![stored("b", 50, 100), stored("a", 200, 1), stored("c", 20, 100)]), ["a"]);
        assert_eq!(chosen(vec![stored("b", 50, 100), stored("a", 60, 100), stored("c", 20, 100)]), ["a"]);
        assert_eq!(chosen(vec![stored("b", 9, 900), stored("a", 60, 100), stored("c", 9, 900)]), ["a"]);
    }
}
