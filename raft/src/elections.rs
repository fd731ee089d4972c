//! When a replica stands for election. This timer takes the place of the library's, which is drawn once in the life of
//! a process and looked at in steps of one and a half heartbeats: two replicas whose steps coincide stand against each
//! other again and again. This one is drawn anew for each candidacy, and as fine as the clock.
//!
//! Where the disk is slow or nearly full it is longer. A candidacy takes some writes to disk, at the candidate and at
//! those who vote. Where these take longer than the timer, the candidate stands again, in a higher term, before the
//! votes of the last candidacy count; and as the others grant each of them, none of these ever stands itself: nobody
//! leads as long as that disk is slow. So there the timer is as long as several of those writes. Replicas that are well
//! stand long before. So do those that have all entries: whoever has learned that others have more lets them go first.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use openraft::ServerState;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::batcher::Proposals;
use crate::network::Network;
use crate::pace::Pace;
use crate::space::Space;
use crate::types::Raft;

/// How often the disk and the leader are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// The timer is at least so many of the slowest writes, and at most twice as many.
const WRITES: u32 = 4;

/// Watches over the elections of one replica.
pub struct Elections {
    /// The library.
    pub raft: Raft,
    /// Of the disk.
    pub pace: Pace,
    /// On the disk.
    pub space: Space,
    /// Knows whether others have more entries.
    pub network: Network,
    /// Held back while this replica hands over.
    pub proposals: Proposals,
    /// The shortest timer.
    pub election_min: Duration,
    /// How long nobody votes after the last word of a leader.
    pub lease: Duration,
}

/// How things stand, as the library has it.
struct Look {
    /// When a leader or a candidate was last heard; none where this replica does not stand.
    heard: Option<Instant>,
    /// The term, and whether there was a leader in it.
    term: u64,
    led: bool,
    /// Whether nobody else votes.
    alone: bool,
}

impl Elections {
    /// Works until `stop` turns true or the library has ended.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.work() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn work(&self) {
        let (mut term, mut spread) = (0, spread());
        loop {
            let Some(look) = self.look().await else { return };
            if look.term != term {
                (term, spread) = (look.term, self::spread());
            }
            let due = look.heard.map(|heard| heard + self.patience(&look, spread));
            let again = Instant::now() + LOOK_EVERY;
            if due.is_some_and(|due| due <= Instant::now()) {
                self.network.forget_greater_log();
                if self.raft.trigger().elect().await.is_err() {
                    return;
                }
            }
            tokio::time::sleep_until(due.filter(|due| *due > Instant::now()).unwrap_or(again).min(again))
                .await;
        }
    }

    async fn look(&self) -> Option<Look> {
        let looked = self.raft.with_raft_state(|state| {
            let follows = matches!(state.server_state, ServerState::Follower | ServerState::Candidate);
            let voters = state.membership_state.effective().voter_ids().count();
            Look {
                heard: state.vote_last_modified().filter(|_| follows),
                term: state.vote_ref().leader_id.term,
                led: state.vote_ref().is_committed(),
                alone: voters == 1,
            }
        });
        looked.await.ok()
    }

    /// How long after the last word this replica stands; `spread` is from 1 to 2.
    fn patience(&self, look: &Look, spread: f64) -> Duration {
        if look.alone {
            return Duration::ZERO;
        }
        let well = self.election_min + self.lease.saturating_sub(self.election_min).mul_f64(spread - 1.0);
        let slow =
            self.write_time().map_or(Duration::ZERO, |write| write.mul_f64(f64::from(WRITES) * spread));
        let led = if look.led { self.lease } else { Duration::ZERO };
        let behind = if self.network.saw_greater_log() { self.lease * 2 } else { Duration::ZERO };
        // The others may refuse the successor their votes until their lease of the old leader ends; it, whose vote the
        // successor has, would else be the first to stand again, and win.
        let handing = if self.proposals.are_held() { self.lease * 2 } else { Duration::ZERO };
        led + behind + handing + well.max(slow)
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
