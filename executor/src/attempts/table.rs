//! The table of attempts: which run, which have ended, and the newest fence of each step.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use meson_proto::v1::{AttemptProgress, KnownAttempt, Launch};
use tokio::sync::mpsc;

use super::Order;
use crate::events::Said;

/// Steps whose newest fence is remembered.
const FENCES_MAX: usize = 100_000;

/// Attempts that are remembered as never to be started.
const RENOUNCED_MAX: usize = 100_000;

/// A step of a run.
type StepKey = (String, String);

/// What a running attempt last said, for heartbeats.
#[derive(Debug, Default)]
pub struct Progress {
    said: Mutex<Said>,
    changed: AtomicBool,
}

impl Progress {
    /// Works on what was said, and marks it as changed.
    pub fn update<T>(&self, change: impl FnOnce(&mut Said) -> T) -> T {
        let result = change(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.store(true, Ordering::Release);
        result
    }

    /// What was said so far.
    pub fn said(&self) -> Said {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take(&self, attempt_id: &str, all: bool) -> Option<AttemptProgress> {
        let changed = self.changed.swap(false, Ordering::AcqRel);
        (changed || all)
            .then(|| self.said.lock().unwrap_or_else(PoisonError::into_inner).progress(attempt_id))
    }
}

/// A running attempt.
#[derive(Debug)]
pub struct Active {
    fence: u64,
    run_id: String,
    orders: mpsc::Sender<Order>,
    progress: Arc<Progress>,
}

impl Active {
    /// An attempt of this launch.
    pub fn new(launch: &Launch, orders: mpsc::Sender<Order>, progress: Arc<Progress>) -> Self {
        Self { fence: launch.fence, run_id: launch.run_id.clone(), orders, progress }
    }
}

/// The newest launch of a step.
#[derive(Debug)]
struct Newest {
    fence: u64,
    attempt_id: String,
}

/// A launch that is older than one seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale;

/// All attempts.
#[derive(Debug, Default)]
pub struct Table {
    active: HashMap<String, Active>,
    /// Ended ones whose files are still here.
    ended: HashSet<String>,
    /// Those of them with nothing left to be said, oldest first.
    finished: VecDeque<(SystemTime, String)>,
    /// Those that were to end before they were launched here.
    renounced: HashSet<String>,
    renounced_order: VecDeque<String>,
    newest: HashMap<StepKey, Newest>,
    fence_order: VecDeque<StepKey>,
}

impl Table {
    /// Whether the attempt runs here, or ran here and its files are kept.
    pub fn knows(&self, attempt_id: &str) -> bool {
        self.active.contains_key(attempt_id) || self.ended.contains(attempt_id)
    }

    /// Whether the attempt is never to start here.
    pub fn has_renounced(&self, attempt_id: &str) -> bool {
        self.renounced.contains(attempt_id)
    }

    /// An attempt that is not here was to end, and its sender is told that it is gone: from then on it must not start,
    /// though its launch may still be on its way.
    pub fn renounce(&mut self, attempt_id: &str) {
        if !self.renounced.insert(attempt_id.to_owned()) {
            return;
        }
        self.renounced_order.push_back(attempt_id.to_owned());
        if self.renounced_order.len() > RENOUNCED_MAX
            && let Some(oldest) = self.renounced_order.pop_front()
        {
            self.renounced.remove(&oldest);
        }
    }

    /// Whether it ran here as a child process and is over.
    pub fn has_ended(&self, attempt_id: &str) -> bool {
        self.ended.contains(attempt_id)
    }

    /// Adds a running attempt.
    pub fn add(&mut self, launch: &Launch, active: Active) {
        self.active.insert(launch.attempt_id.clone(), active);
    }

    /// It is over; `files` says whether it has files to keep.
    pub fn end(&mut self, attempt_id: &str, files: bool) {
        self.active.remove(attempt_id);
        if files {
            self.ended.insert(attempt_id.to_owned());
        }
    }

    /// Nothing is left to be said of an ended attempt.
    pub fn finish(&mut self, attempt_id: &str, at: SystemTime) {
        self.finished.push_back((at, attempt_id.to_owned()));
    }

    /// Puts finished attempts that were found in any order into theirs.
    pub fn sort_finished(&mut self) {
        self.finished.make_contiguous().sort();
    }

    /// Forgets the oldest finished attempt when it finished before `before`, or when there are more than `most`.
    pub fn forget_oldest(&mut self, before: SystemTime, most: usize) -> Option<String> {
        let (at, _) = self.finished.front()?;
        if *at >= before && self.finished.len() <= most {
            return None;
        }
        let (_, attempt_id) = self.finished.pop_front()?;
        self.ended.remove(&attempt_id);
        Some(attempt_id)
    }

    /// Whether no running attempt belongs to the run.
    pub fn is_idle(&self, run_id: &str) -> bool {
        self.active.values().all(|active| active.run_id != run_id)
    }

    /// The runs of all running attempts.
    pub fn active_runs(&self) -> BTreeSet<String> {
        self.active.values().map(|active| active.run_id.clone()).collect()
    }

    /// Hands an order to a running attempt; says whether there is one.
    pub fn order(&self, attempt_id: &str, order: Order) -> bool {
        self.active.get(attempt_id).is_some_and(|active| {
            // Full: it has orders enough to die of.
            let _ = active.orders.try_send(order);
            true
        })
    }

    /// Takes the launch as the newest of its step; returns the way to the attempt it replaces, if that runs here.
    ///
    /// # Errors
    /// When there was a newer one.
    pub fn renew(&mut self, launch: &Launch) -> Result<Option<mpsc::Sender<Order>>, Stale> {
        let key = (launch.run_id.clone(), launch.step.clone());
        let newest = Newest { fence: launch.fence, attempt_id: launch.attempt_id.clone() };
        let Some(known) = self.newest.get_mut(&key) else {
            self.newest.insert(key.clone(), newest);
            self.fence_order.push_back(key);
            self.forget_oldest_fence();
            return Ok(None);
        };
        if known.fence > newest.fence {
            return Err(Stale);
        }
        let replaced = std::mem::replace(known, newest);
        Ok(self.active.get(&replaced.attempt_id).map(|active| active.orders.clone()))
    }

    fn forget_oldest_fence(&mut self) {
        if self.fence_order.len() > FENCES_MAX
            && let Some(oldest) = self.fence_order.pop_front()
        {
            self.newest.remove(&oldest);
        }
    }

    /// The running attempts, for Hello.
    pub fn running(&self) -> Vec<KnownAttempt> {
        let known = |(id, active): (&String, &Active)| KnownAttempt {
            attempt_id: id.clone(),
            fence: active.fence,
            running: true,
        };
        self.active.iter().map(known).collect()
    }

    /// Progress that changed since it was last taken, or of all.
    pub fn progress(&self, all: bool) -> Vec<AttemptProgress> {
        self.active.iter().filter_map(|(id, active)| active.progress.take(id, all)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_only_grow() {
        let mut table = Table::default();
        let launch = |fence| Launch { run_id: "r".into(), step: "s".into(), fence, ..Launch::default() };
        assert!(table.renew(&launch(2)).is_ok());
        assert!(table.renew(&launch(2)).is_ok());
        assert!(matches!(table.renew(&launch(1)), Err(Stale)));
        assert!(table.renew(&launch(3)).is_ok());
        assert!(table.renew(&Launch { step: "other".into(), ..launch(1) }).is_ok());
    }

    #[test]
    fn a_newer_attempt_finds_the_older_one() {
        let mut table = Table::default();
        let old = Launch { attempt_id: "old".into(), fence: 1, ..Launch::default() };
        assert!(table.renew(&old).unwrap().is_none());
        table.add(&old, Active::new(&old, mpsc::channel(1).0, Arc::default()));
        let new = Launch { attempt_id: "new".into(), fence: 2, ..Launch::default() };
        assert!(table.renew(&new).unwrap().is_some());
        assert!(table.renew(&Launch { fence: 3, ..new }).unwrap().is_none());
    }

    #[test]
    fn the_oldest_go_first_by_age_and_number() {
        let mut table = Table::default();
        let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        for (id, seconds) in [("c", 3), ("a", 1), ("b", 2)] {
            table.end(id, true);
            table.finish(id, at(seconds));
        }
        table.sort_finished();
        assert_eq!(table.forget_oldest(at(2), 9).as_deref(), Some("a"));
        assert_eq!(table.forget_oldest(at(2), 9), None);
        assert_eq!(table.forget_oldest(at(0), 1).as_deref(), Some("b"));
        assert!(!table.knows("b") && table.knows("c"));
    }

    #[test]
    fn progress_is_taken_once_unless_all_is_wanted() {
        let mut table = Table::default();
        let launch = Launch { attempt_id: "a".into(), ..Launch::default() };
        let progress = Arc::new(Progress::default());
        table.add(&launch, Active::new(&launch, mpsc::channel(1).0, progress.clone()));
        assert!(table.progress(false).is_empty());
        progress.update(|said| said.percent = Some(4.0));
        assert_eq!(table.progress(false)[0].percent, Some(4.0));
        assert!(table.progress(false).is_empty());
        assert_eq!(table.progress(true).len(), 1);
    }
}
