//! Who waits for more of an attempt's log.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::attempt::AttemptName;

/// One channel for each attempt that somebody follows.
#[derive(Debug)]
pub(super) struct Followers {
    /// None once the store was closed.
    channels: Mutex<Option<Channels>>,
}

type Channels = HashMap<AttemptName, watch::Sender<u64>>;

impl Default for Followers {
    fn default() -> Self {
        Followers { channels: Mutex::new(Some(Channels::new())) }
    }
}

impl Followers {
    /// Changes whenever the attempt's log has grown; closed when the store is.
    pub fn subscribe(&self, attempt: &AttemptName) -> watch::Receiver<u64> {
        let new = || watch::Sender::new(0);
        match self.lock().as_mut() {
            Some(channels) => channels.entry(attempt.clone()).or_insert_with(new).subscribe(),
            None => new().subscribe(),
        }
    }

    /// Wakes those who follow the attempt.
    pub fn publish(&self, attempt: &AttemptName, next_sequence: u64) {
        if let Some(channel) = self.lock().as_ref().and_then(|channels| channels.get(attempt)) {
            channel.send_replace(next_sequence);
        }
    }

    /// Drops the channels that nobody listens to.
    pub fn prune(&self) {
        if let Some(channels) = self.lock().as_mut() {
            channels.retain(|_, channel| channel.receiver_count() > 0);
        }
    }

    /// Tells all that nothing will come any more.
    pub fn close(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Channels>> {
        // Every change of the map is a single call, so it is whole even after a panic.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
