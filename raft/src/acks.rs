//! When a quorum last confirmed this replica as leader.
//!
//! Each answered AppendEntries call counts from the moment before it was sent: whoever answered it did not follow a
//! newer leader at that moment. The consensus library has a figure of its own, but tells it as an age at some earlier
//! moment that it does not tell, so an instant made of it may be too late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::types::Vote;

/// The confirmations of one leadership; clones share them.
#[derive(Clone, Default)]
pub struct Acks {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    vote: Vote,
    sent_at: BTreeMap<u64, Instant>,
}

impl Acks {
    /// A follower accepted, as of `sent_at`, the leader that `vote` made.
    pub fn record(&self, vote: Vote, follower: u64, sent_at: Instant) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if vote.leader_id > inner.vote.leader_id {
            *inner = Inner { vote, sent_at: BTreeMap::new() };
        }
        if vote.leader_id == inner.vote.leader_id {
            let latest = inner.sent_at.entry(follower).or_insert(sent_at);
            *latest = sent_at.max(*latest);
        }
    }

    /// When a quorum of every given set of voters had last accepted the leader `leader` that `vote` made.
    pub fn quorum_at(
        &self,
        vote: Vote,
        leader: u64,
        voters: &[BTreeSet<u64>],
        now: Instant,
    ) -> Option<Instant> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let same = vote.leader_id == inner.vote.leader_id;
        let of = |id: &u64| {
            if *id == leader { Some(now) } else { inner.sent_at.get(id).copied().filter(|_| same) }
        };
        voters.iter().map(|set| quorum_of(set, of)).min().flatten()
    }
}

/// The latest instant that a majority of a set reaches; `None` is earlier than any instant, also to `min` above.
fn quorum_of(set: &BTreeSet<u64>, of: impl Fn(&u64) -> Option<Instant>) -> Option<Instant> {
    let mut instants: Vec<Option<Instant>> = set.iter().map(of).collect();
    instants.sort_unstable_by(|left, right| right.cmp(left));
    instants.get(set.len() / 2).copied().flatten()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_quorum_counts_from_its_slowest_member() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (acks, vote) = (Acks::default(), Vote::new_committed(3, 1));
        let trio = [BTreeSet::from([1, 2, 3])];
        let quorum = |voters: &[BTreeSet<u64>]| acks.quorum_at(vote, 1, voters, at(100));

        assert_eq!(quorum(&trio), None);
        assert_eq!(quorum(&[BTreeSet::from([1])]), Some(at(100)), "alone it needs nobody");
        acks.record(vote, 2, at(10));
        assert_eq!(quorum(&trio), Some(at(10)));
        acks.record(vote, 3, at(20));
        acks.record(vote, 3, at(15));
        assert_eq!(quorum(&trio), Some(at(20)));
        let joint = [BTreeSet::from([1, 2, 3]), BTreeSet::from([1, 2, 4])];
        assert_eq!(quorum(&joint), Some(at(10)), "both sets of a change have to agree");
        assert_eq!(quorum(&[BTreeSet::from([1, 2, 3]), BTreeSet::from([1, 4])]), None);

        acks.record(Vote::new_committed(2, 1), 2, at(90));
        assert_eq!(quorum(&trio), Some(at(20)), "an older leadership does not count");
        acks.record(Vote::new_committed(4, 1), 2, at(95));
        assert_eq!(quorum(&trio), None, "nor does a newer one for this");
    }
}
