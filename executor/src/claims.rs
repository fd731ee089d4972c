//! Attempts that Mesos brought and the leader has not permitted yet. A task may reach its executor long after the leader
//! gave its attempt up and started another one, so nothing is begun on Mesos's word alone (P3).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use meson_proto::v1::{Claim, KnownAttempt, Launch};
use tokio::sync::Notify;

/// Attempts named in one claim.
const CLAIM_MAX: usize = 1_000;

/// The attempts that wait. One for the executor.
#[derive(Debug, Default)]
pub struct Claims {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: BTreeMap<String, Launch>,
    /// Those that this session has not asked for yet.
    unsent: Vec<String>,
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt came. Says whether it is new.
    pub fn add(&self, launch: Launch) -> bool {
        let id = launch.attempt_id.clone();
        let mut inner = self.lock();
        if inner.waiting.insert(id.clone(), launch).is_some() {
            return false;
        }
        inner.unsent.push(id);
        drop(inner);
        self.changed.notify_one();
        true
    }

    /// An attempt waits no more: it is permitted, or not wanted.
    pub fn take(&self, attempt_id: &str) -> Option<Launch> {
        self.lock().waiting.remove(attempt_id)
    }

    /// All that wait.
    pub fn take_all(&self) -> Vec<Launch> {
        std::mem::take(&mut self.lock().waiting).into_values().collect()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// A new session: all are to be asked for again.
    pub fn start_over(&self) {
        let mut inner = self.lock();
        inner.unsent = inner.waiting.keys().cloned().collect();
        drop(inner);
        self.changed.notify_one();
    }

    /// What this session is to ask for next; waits until there is something.
    pub async fn next(&self) -> Claim {
        loop {
            let claim = self.take_unsent();
            if !claim.attempts.is_empty() {
                return claim;
            }
            self.changed.notified().await;
        }
    }

    fn take_unsent(&self) -> Claim {
        let mut inner = self.lock();
        let count = inner.unsent.len().min(CLAIM_MAX);
        let ids: Vec<String> = inner.unsent.drain(..count).collect();
        let known = |id: String| {
            let fence = inner.waiting.get(&id)?.fence;
            Some(KnownAttempt { attempt_id: id, fence, running: false })
        };
        Claim { attempts: ids.into_iter().filter_map(known).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(id: &str) -> Launch {
        Launch { attempt_id: id.to_owned(), fence: 7, ..Launch::default() }
    }

    fn ids(claim: &Claim) -> Vec<&str> {
        claim.attempts.iter().map(|known| known.attempt_id.as_str()).collect()
    }

    #[tokio::test]
    async fn each_session_asks_for_all_that_wait_once() {
        let claims = Claims::default();
        assert!(claims.add(launch("a")) && claims.add(launch("b")));
        assert!(!claims.add(launch("a")), "Mesos may tell it twice");
        assert_eq!(ids(&claims.next().await), ["a", "b"]);
        assert!(claims.take("a").is_some() && claims.take("a").is_none());
        assert!(claims.take_unsent().attempts.is_empty());
        claims.start_over();
        let again = claims.next().await;
        assert_eq!((ids(&again), again.attempts[0].fence), (vec!["b"], 7));
        assert_eq!(claims.take_all().len(), 1);
        assert!(claims.is_empty());
    }
}
