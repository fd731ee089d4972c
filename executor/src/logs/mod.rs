//! Logs of attempts: an index and a file a stream in the attempt's directory, shipped to every replica.
//!
//! One task a replica ships all logs over one stream, from the record that the replica says it lacks. A log is *stored*
//! once a majority of the replicas has its last record; it is dropped here once all of them have.

pub mod attempt;
pub mod index;
mod replica;
mod ship;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meson_proto::v1::Launch;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub use attempt::AttemptLog;
use replica::Replica;

use crate::session::normal;
use crate::task::dirs::AttemptDir;

/// All logs that are not yet on all replicas. A cheap handle.
#[derive(Debug, Clone)]
pub struct Logs {
    workers: Handle,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    open: HashMap<String, Arc<AttemptLog>>,
    replicas: HashMap<String, (Arc<Replica>, JoinHandle<()>)>,
}

impl Logs {
    /// Logs that are shipped by tasks of `workers`.
    pub fn new(workers: Handle) -> Self {
        Self { workers, shared: Arc::default() }
    }

    /// Opens the log of an attempt and ships what it holds.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(&self, launch: &Launch, dir: &AttemptDir) -> io::Result<Arc<AttemptLog>> {
        let log = Arc::new(AttemptLog::open(launch, dir)?);
        self.lock().open.insert(launch.attempt_id.clone(), log.clone());
        self.wake(&log);
        Ok(log)
    }

    /// Ships all logs to these replicas, and to no others any more.
    pub fn ship_to(&self, addresses: &[String]) {
        let addresses: Vec<String> = addresses.iter().map(|address| normal(address)).collect();
        let mut shared = self.lock();
        shared.replicas.retain(|address, (_, task)| {
            let stays = addresses.contains(address);
            if !stays {
                task.abort();
            }
            stays
        });
        for address in addresses {
            shared.replicas.entry(address).or_insert_with_key(|address| {
                let replica = Arc::new(Replica::new(address.clone()));
                let task = self.workers.spawn(ship::run(self.clone(), replica.clone()));
                (replica, task)
            });
        }
        let logs: Vec<Arc<AttemptLog>> = shared.open.values().cloned().collect();
        drop(shared);
        for log in logs {
            log.notify();
        }
    }

    /// A log has something new for all replicas.
    pub fn wake(&self, log: &Arc<AttemptLog>) {
        for (replica, _) in self.lock().replicas.values() {
            replica.mark(log.clone());
        }
    }

    /// Waits until a majority of the replicas has the whole log; says no when that cannot be, because too many of them
    /// keep no logs.
    pub async fn stored(&self, log: &AttemptLog) -> bool {
        let mut changes = log.subscribe();
        loop {
            let (all, have, refuse) = self.tally(log);
            let majority = all / 2 + 1;
            if all > 0 && have >= majority {
                return true;
            }
            if all > 0 && all - refuse < majority {
                return false;
            }
            if changes.changed().await.is_err() {
                return false;
            }
        }
    }

    /// How many replicas there are, have the whole log, and keep no logs.
    fn tally(&self, log: &AttemptLog) -> (usize, usize, usize) {
        let shared = self.lock();
        let replicas = || shared.replicas.values().map(|(replica, _)| replica);
        let have = replicas().filter(|replica| log.is_whole_at(replica.address())).count();
        (shared.replicas.len(), have, replicas().filter(|replica| replica.keeps_no_logs()).count())
    }

    /// A replica has everything below `next` of a log.
    fn acknowledged(&self, replica: &Arc<Replica>, attempt_id: &str, next: u64) {
        let Some(log) = self.lock().open.get(attempt_id).cloned() else { return };
        if log.acknowledged(replica.address(), next) {
            // The replica lost what it had said to have.
            replica.mark(log.clone());
        }
        let (all, have, _) = self.tally(&log);
        if all > 0 && have == all {
            self.close(attempt_id);
            log.remove();
        }
    }

    /// Ships a log no more.
    pub fn close(&self, attempt_id: &str) {
        self.lock().open.remove(attempt_id);
    }

    fn all_open(&self) -> Vec<Arc<AttemptLog>> {
        self.lock().open.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
