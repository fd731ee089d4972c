//! After a restart: what became of the attempts that an earlier process of this executor launched.

use std::collections::HashMap;
use std::io::{self, ErrorKind::NotADirectory, ErrorKind::NotFound};
use std::sync::Arc;

use meson_proto::v1::Launch;
use prost::Message as _;
use tracing::{info, warn};

use super::Executor;
use super::child::{self, Cleanup};
use super::retention::{is_aside, put_aside};
use crate::task::dirs::AttemptDir;
use crate::task::{handle, record, spec};

impl Executor {
    /// Takes over all attempts on disk: follows those that run, reports those that ended meanwhile, gives up the rest.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn adopt_all(self: &Arc<Self>) -> io::Result<()> {
        let mut reports: HashMap<String, u64> = self.outbox.unreleased();
        for entry in std::fs::read_dir(self.attempts_dir())? {
            let dir = AttemptDir::new(entry?.path());
            if is_aside(dir.root()) {
                continue;
            }
            let intent = match std::fs::read(dir.launch()) {
                Err(error) if !matches!(error.kind(), NotFound | NotADirectory) => return Err(error),
                read => read.ok().and_then(|bytes| Launch::decode(&bytes[..]).ok()),
            };
            let Some(launch) = intent.filter(|launch| self.dir(&launch.attempt_id) == dir) else {
                warn!(dir = %dir.root().display(), "no launch in this directory; removed");
                put_aside(dir.root())?;
                continue;
            };
            // Stale among themselves is fine: they run or have run, and are reported as what they are.
            let _ = self.table().renew(&launch);
            let report = reports.remove(&launch.attempt_id);
            self.adopt(launch, &dir, report)?;
        }
        self.table().sort_finished();
        // Reports whose files are gone have no log to wait for.
        for id in reports.into_values() {
            self.outbox.release(id, false);
        }
        Ok(())
    }

    fn adopt(self: &Arc<Self>, launch: Launch, dir: &AttemptDir, report: Option<u64>) -> io::Result<()> {
        let record = record::read(&dir.record());
        // It was acknowledged; only the outbox had no time to forget it.
        let report = report.filter(|_| !record.done || !self.outbox.discard(&launch.attempt_id));
        if record.done || report.is_some() {
            self.table().end(&launch.attempt_id, true);
            if record.done {
                self.table().finish(&launch.attempt_id, record::changed(&dir.record()));
            }
            return self.adopt_log(&launch, dir, report, record.log_stored);
        }
        let watch = handle::find(dir)?;
        info!(attempt_id = launch.attempt_id, watch = ?watch, "adopted");
        // As it was when the attempt began: the settings, or a plugin, may be others now.
        let cleanup = spec::read::<Cleanup>(&dir.cleanup()).unwrap_or_default();
        let (progress, orders) = self.add(&launch);
        self.workers.spawn(child::adopt(self.clone(), launch, watch, cleanup, progress, orders));
        Ok(())
    }

    /// Ships the log of an attempt that is over, if that is still to be done, and lets its report go out after it.
    fn adopt_log(
        self: &Arc<Self>,
        launch: &Launch,
        dir: &AttemptDir,
        report: Option<u64>,
        stored: bool,
    ) -> io::Result<()> {
        if stored {
            report.into_iter().for_each(|id| self.outbox.release(id, true));
            return Ok(());
        }
        let log = self.logs.open(launch, dir)?;
        if let Some(id) = report {
            let executor = self.clone();
            self.workers.spawn(async move { child::release(&executor, &log, id).await });
        }
        Ok(())
    }
}
