//! The log of one attempt.

use std::fs::File;
use std::io::{self, Write};

use meson_proto::v1::{Failure, Launch, LogStream};
use tracing::warn;

use super::index::{self, Entry};
use crate::clock;
use crate::task::dirs::AttemptDir;

/// One attempt's log, on disk.
#[derive(Debug)]
pub struct AttemptLog {
    attempt_id: String,
    index: File,
    system: File,
}

impl AttemptLog {
    /// Opens it, creating what is missing.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(launch: &Launch, dir: &AttemptDir) -> io::Result<Self> {
        let system = File::options().create(true).append(true).open(dir.system())?;
        Ok(Self { attempt_id: launch.attempt_id.clone(), index: index::open(&dir.log_index())?, system })
    }

    /// Looks whether the step wrote something.
    pub fn grew(&self) {}

    /// Adds a line of the executor's own.
    pub fn say(&self, text: &str) {
        self.add(&format!("{text}\n"), false);
    }

    /// Adds the last record.
    pub fn end(&self, failure: Option<&Failure>) {
        let text =
            failure.map_or_else(String::new, |failure| format!("{}: {}\n", failure.reason, failure.message));
        self.add(&text, true);
    }

    /// Waits until a majority of the replicas has the whole log; says whether one has.
    pub async fn stored(&self) -> bool {
        false
    }

    fn add(&self, text: &str, end: bool) {
        if let Err(error) = self.try_add(text, end) {
            warn!(attempt_id = self.attempt_id, %error, "a log record is lost");
        }
    }

    fn try_add(&self, text: &str, end: bool) -> io::Result<()> {
        let offset = self.system.metadata()?.len();
        (&self.system).write_all(text.as_bytes())?;
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let entry = Entry { stream: LogStream::System, end, length, time_ms: clock::unix_ms(), offset };
        index::append(&self.index, &entry)
    }
}
