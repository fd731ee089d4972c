//! When a replica whose disk is slow or nearly full stands for election: later than the library's timer would have it.
//!
//! A candidacy takes some writes to disk, at the candidate and at those who vote. Where these take longer than the
//! timer, the candidate stands again, in a higher term, before the votes of the last candidacy count; and as the others
//! grant each of them, none of these ever stands itself: nobody leads as long as that disk is slow. So the library's
//! timer is switched off on such a replica, and this one takes its place: it is as long as several of those writes, and
//! drawn anew for each candidacy. Replicas that are well stand long before.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use openraft::ServerState;
use tokio::sync::watch;

use crate::config::Config;
use crate::pace::Pace;
use crate::space::Space;
use crate::types::Raft;

/// How often the disk and the leader are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// The timer is at least so many of the slowest writes, and at most twice as many.
const WRITES: u32 = 4;

/// Watches over the elections of one replica.
pub struct Elections {
    raft: Raft,
    pace: Pace,
    space: Space,
    election_min: Duration,
    lease: Duration,
}

impl Elections {
    /// Over these parts of a replica.
    pub fn new(config: &Config, raft: Raft, pace: Pace, space: Space) -> Self {
        let (election_min, lease) =
            (Duration::from_millis(config.election_min_ms), Duration::from_millis(config.election_max_ms));
        Elections { raft, pace, space, election_min, lease }
    }

    /// Works until `stop` turns true or the library has ended.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.work() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn work(&self) {
        let mut spread = spread();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let write = self.write_time();
            self.raft.runtime_config().elect(write.is_none());
            let Some(write) = write else { continue };
            let looked = self.raft.with_raft_state(|state| {
                let follows = matches!(state.server_state, ServerState::Follower | ServerState::Candidate);
                let heard = state.vote_last_modified().filter(|_| follows);
                (heard, state.vote_ref().is_committed())
            });
            let Ok((heard, led)) = looked.await else { return };
            let Some(heard) = heard else { continue };
            let patience =
                write.mul_f64(f64::from(WRITES) * spread) + if led { self.lease } else { Duration::ZERO };
            if heard.elapsed() >= patience {
                spread = self::spread();
                if self.raft.trigger().elect().await.is_err() {
                    return;
                }
            }
        }
    }

    /// How long a write takes here, if that is too long for the library's timer. A disk without room counts as one that
    /// takes as long as a lease.
    fn write_time(&self) -> Option<Duration> {
        let slowest = self.pace.slowest();
        let full = self.space.shortage(false).map(|_| self.lease.max(slowest));
        full.or(Some(slowest).filter(|slowest| *slowest >= self.election_min / 2))
    }
}

/// A factor from 1 to 2, so that slow replicas do not stand at once.
fn spread() -> f64 {
    1.0 + (RandomState::new().hash_one(0) % 1_000) as f64 / 1_000.0
}
