//! Keeps the log small in bytes: asks for a snapshot when much was written since the last one, and lets go of entries
//! that a snapshot covers when those kept for followers are too large.
//!
//! The consensus library counts entries, whatever their size; its own triggers stay in force beside these.

use std::time::Duration;

use openraft::LogIdOptionExt;
use tokio::sync::watch;

use crate::log_store::LogStore;
use crate::types::Raft;

/// A snapshot under way is not asked for again, and one that did not come is.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Works until `stop` turns true or the library has ended.
pub async fn run(raft: Raft, log: LogStore, bytes_max: u64, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = work(&raft, &log, bytes_max) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

async fn work(raft: &Raft, log: &LogStore, bytes_max: u64) {
    loop {
        log.grown().await;
        let snapshot = raft.metrics().borrow().snapshot.index();
        let mut asked = Ok(());
        if log.bytes_after(snapshot) >= bytes_max {
            asked = raft.trigger().snapshot().await;
        }
        if let (Some(excess), Some(snapshot)) = (log.excess(bytes_max), snapshot) {
            asked = asked.and(raft.trigger().purge_log(excess.min(snapshot)).await);
        }
        if asked.is_err() {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
