//! Numbers and names by which the state is keyed. Inside the state a run is a number that only grows; outside it is its
//! run id, which carries the Raft group.

use std::fmt;
use std::str::FromStr;

/// A run's number in the state: counts up from 1 in the order of starting.
pub type RunNo = u64;

/// A node's number in its run: counts up from 1 in the order of coming to be. 0 stands for the run itself.
pub type NodeNo = u32;

/// Key of a scope within its run: the composite node that holds it (0 for the root) and its index under that node.
pub type ScopeKey = (NodeNo, u32);

/// The root scope of every run.
pub const ROOT: ScopeKey = (0, 0);

/// Names one attempt everywhere outside the state; Mesos's TaskID. Text form: `<run id>.<node number>.<attempt>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId {
    /// The run's id.
    pub run_id: String,
    /// The node's number.
    pub node: NodeNo,
    /// The attempt's number, from 1.
    pub attempt: u32,
}

/// A text that is no attempt id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an attempt id: expected `<run id>.<node>.<attempt>`")]
pub struct AttemptIdError(String);

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.run_id, self.node, self.attempt)
    }
}

impl FromStr for AttemptId {
    type Err = AttemptIdError;
    fn from_str(text: &str) -> Result<Self, AttemptIdError> {
        let mut parts = text.rsplitn(3, '.');
        let attempt = parts.next().and_then(|part| part.parse().ok());
        let node = parts.next().and_then(|part| part.parse().ok());
        let run_id = parts.next().filter(|part| !part.is_empty());
        match (run_id, node, attempt) {
            (Some(run_id), Some(node), Some(attempt)) => {
                Ok(AttemptId { run_id: run_id.to_owned(), node, attempt })
            }
            _ => Err(AttemptIdError(text.to_owned())),
        }
    }
}

/// A step's place in the queue of those that wait for an agent: higher priority first, then first come, first served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadyKey {
    /// Negated priority, so that the highest sorts first.
    pub rank: i32,
    /// Counts up with every step that becomes ready.
    pub position: u64,
    /// The run.
    pub run: RunNo,
    /// The node.
    pub node: NodeNo,
}

/// An expression evaluation that the leader owes the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Evaluation {
    /// Of a composite that is about to open: its items, branch, first state or parameters.
    Open {
        /// The composite.
        node: NodeNo,
    },
    /// Of a scope whose nodes have all ended: its outputs, and for a loop whether to go on.
    Close {
        /// The scope.
        scope: ScopeKey,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempt_ids_round_trip_and_bad_ones_are_refused() {
        let id = AttemptId { run_id: "g1-01j".into(), node: 7, attempt: 2 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "a", "a.1", ".1.2", "a.x.1", "a.1.x"] {
            assert!(bad.parse::<AttemptId>().is_err(), "{bad}");
        }
    }
}
