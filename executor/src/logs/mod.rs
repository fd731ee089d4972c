//! Logs of attempts: an index and a file a stream in the attempt's directory, shipped to every replica.

pub mod attempt;
pub mod index;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use meson_proto::v1::Launch;

pub use attempt::AttemptLog;

use crate::task::dirs::AttemptDir;

/// All logs that are not yet on all replicas.
#[derive(Debug, Default)]
pub struct Logs {
    open: Mutex<HashMap<String, Arc<AttemptLog>>>,
}

impl Logs {
    /// Opens the log of an attempt.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(&self, launch: &Launch, dir: &AttemptDir) -> io::Result<Arc<AttemptLog>> {
        let log = Arc::new(AttemptLog::open(launch, dir)?);
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(launch.attempt_id.clone(), log.clone());
        Ok(log)
    }

    /// Ships all logs to these replicas.
    pub fn ship_to(&self, _replicas: &[String]) {}
}
