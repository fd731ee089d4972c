//! The table of attempts: which run, which have ended, and the newest fence of each step.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use meson_proto::v1::{AttemptProgress, KnownAttempt, Launch};
use tokio::sync::mpsc;

use super::Order;
use crate::events::Said;

/// Steps whose newest fence is remembered.
const FENCES_MAX: usize = 100_000;

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

/// All attempts.
#[derive(Debug, Default)]
pub struct Table {
    active: HashMap<String, Active>,
    /// Ended ones whose files are still here.
    ended: HashSet<String>,
    fences: HashMap<StepKey, u64>,
    fence_order: VecDeque<StepKey>,
}

impl Table {
    /// Whether the attempt runs here, or ran here and its files are kept.
    pub fn knows(&self, attempt_id: &str) -> bool {
        self.active.contains_key(attempt_id) || self.ended.contains(attempt_id)
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

    /// Its files are gone.
    pub fn forget(&mut self, attempt_id: &str) {
        self.ended.remove(attempt_id);
    }

    /// Whether no running attempt belongs to the run.
    pub fn is_idle(&self, run_id: &str) -> bool {
        self.active.values().all(|active| active.run_id != run_id)
    }

    /// Hands an order to a running attempt; says whether there is one.
    pub fn order(&self, attempt_id: &str, order: Order) -> bool {
        self.active.get(attempt_id).is_some_and(|active| {
            // Full: it has orders enough to die of.
            let _ = active.orders.try_send(order);
            true
        })
    }

    /// Takes the launch's fence as the newest of its step; says no when there was a newer one.
    pub fn raise_fence(&mut self, launch: &Launch) -> bool {
        let key = (launch.run_id.clone(), launch.step.clone());
        match self.fences.get_mut(&key) {
            Some(newest) if *newest > launch.fence => return false,
            Some(newest) => *newest = launch.fence,
            None => {
                self.fences.insert(key.clone(), launch.fence);
                self.fence_order.push_back(key);
            }
        }
        if self.fence_order.len() > FENCES_MAX
            && let Some(oldest) = self.fence_order.pop_front()
        {
            self.fences.remove(&oldest);
        }
        true
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
        assert!(table.raise_fence(&launch(2)));
        assert!(table.raise_fence(&launch(2)));
        assert!(!table.raise_fence(&launch(1)));
        assert!(table.raise_fence(&launch(3)));
        assert!(table.raise_fence(&Launch { step: "other".into(), ..launch(1) }));
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
