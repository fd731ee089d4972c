//! What is to be shipped to one replica.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::AttemptLog;

/// A replica as the logs see it.
#[derive(Debug)]
pub struct Replica {
    address: String,
    marked: Mutex<HashMap<String, Arc<AttemptLog>>>,
    changed: Notify,
    keeps_no_logs: AtomicBool,
}

impl Replica {
    /// The replica at `address`.
    pub fn new(address: String) -> Self {
        Self {
            address,
            marked: Mutex::default(),
            changed: Notify::new(),
            keeps_no_logs: AtomicBool::new(false),
        }
    }

    /// Its public gRPC face.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Notes that a log has something new for it.
    pub fn mark(&self, log: Arc<AttemptLog>) {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner).insert(log.attempt_id().to_owned(), log);
        self.changed.notify_one();
    }

    /// Waits for logs with something new, and takes them.
    pub async fn marked(&self) -> Vec<Arc<AttemptLog>> {
        loop {
            let taken = std::mem::take(&mut *self.marked.lock().unwrap_or_else(PoisonError::into_inner));
            if !taken.is_empty() {
                return taken.into_values().collect();
            }
            self.changed.notified().await;
        }
    }

    /// Whether it said that it keeps no logs at all.
    pub fn keeps_no_logs(&self) -> bool {
        self.keeps_no_logs.load(Ordering::Acquire)
    }

    /// It said whether it keeps logs.
    pub fn set_keeps_no_logs(&self, value: bool) {
        self.keeps_no_logs.store(value, Ordering::Release);
    }
}
