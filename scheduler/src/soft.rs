//! Soft facts: what running attempts say of themselves. They live in the leader's memory, never in the log; executors
//! send them again after a failover.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use meson_engine::ids::AttemptId;
use meson_proto::v1::AttemptProgress;
use tokio::sync::broadcast;

/// Progress messages a slow watcher may be behind before it misses some.
const BACKLOG_MAX: usize = 4_096;

/// The newest progress of each running attempt. Cheap to clone.
#[derive(Clone)]
pub struct Soft {
    newest: Arc<Mutex<HashMap<String, AttemptProgress>>>,
    stream: broadcast::Sender<Arc<AttemptProgress>>,
}

impl Default for Soft {
    fn default() -> Self {
        Soft { newest: Arc::default(), stream: broadcast::Sender::new(BACKLOG_MAX) }
    }
}

impl Soft {
    /// Takes in what an executor said.
    pub fn update(&self, progress: AttemptProgress) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.insert(progress.attempt_id.clone(), progress.clone());
        drop(newest);
        // Nobody may be watching.
        let _ = self.stream.send(Arc::new(progress));
    }

    /// What is known of an attempt.
    pub fn get(&self, attempt: &AttemptId) -> Option<AttemptProgress> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.get(&attempt.to_string()).cloned()
    }

    /// Forgets an attempt that ended.
    pub fn forget(&self, attempt: &str) {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).remove(attempt);
    }

    /// Forgets everything: another replica leads.
    pub fn clear(&self) {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Progress as it comes in.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<AttemptProgress>> {
        self.stream.subscribe()
    }
}
