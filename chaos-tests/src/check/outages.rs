//! What the faults took from the cluster, and when: times without a majority of replicas, times of trouble of each
//! executor. Rules about timing ask here what may excuse the cluster.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Fault, History, Micros};

/// How long a healed executor may take until it has found the leader and said what it has.
pub(super) const RECOVERY: Micros = 5_000_000;

/// How long a healed replica may take until it votes and follows. Short, so that leaders killed one after the other do
/// not excuse everything: executors bear a longer time without a leader by their lease.
const REPLICA_RECOVERY: Micros = 1_000_000;

/// Times, merged and in order: from, until.
#[derive(Debug, Default)]
pub(super) struct Spans(Vec<(Micros, Micros)>);

impl Spans {
    fn merged(mut spans: Vec<(Micros, Micros)>) -> Self {
        spans.sort_unstable();
        let mut merged: Vec<(Micros, Micros)> = Vec::new();
        for (from, until) in spans {
            match merged.last_mut() {
                Some((_, end)) if from <= *end => *end = until.max(*end),
                _ => merged.push((from, until)),
            }
        }
        Spans(merged)
    }

    /// Whether any of them has an instant in common with this time.
    pub fn touch(&self, from: Micros, until: Micros) -> bool {
        let next = self.0.partition_point(|(_, end)| *end < from);
        self.0.get(next).is_some_and(|(begin, _)| *begin <= until)
    }
}

/// The faults, by what they touch.
pub(super) struct Outages<'h> {
    /// Times without a majority of replicas, or with faults that touch something unknown.
    pub no_majority: Spans,
    /// Times of trouble of each executor.
    executors: BTreeMap<&'h str, Spans>,
    /// Faults of replicas only, by time.
    pub of_replicas: Vec<&'h Fault>,
    /// Touched processes that are neither a replica nor an agent of the history.
    pub unknown: BTreeSet<&'h str>,
}

impl<'h> Outages<'h> {
    pub fn new(history: &'h History) -> Self {
        let replicas = &history.end.fingerprints;
        let mut down: BTreeMap<&str, Vec<(Micros, Micros)>> = BTreeMap::new();
        let mut executors: BTreeMap<&str, Vec<(Micros, Micros)>> = BTreeMap::new();
        let mut blackouts = Vec::new();
        let mut unknown = BTreeSet::new();
        for fault in &history.faults {
            let healed = fault.until.max(fault.from);
            let span = (fault.from, healed.saturating_add(RECOVERY));
            for name in fault.touches.iter().map(String::as_str) {
                if replicas.contains_key(name) {
                    let span = (fault.from, healed.saturating_add(REPLICA_RECOVERY));
                    down.entry(name).or_default().push(span);
                } else if history.agents.contains_key(name) {
                    executors.entry(name).or_default().push(span);
                } else {
                    unknown.insert(name);
                    blackouts.push(span);
                }
            }
        }
        blackouts.extend(without_majority(down, replicas.len()));
        let of_replicas = |fault: &&Fault| {
            !fault.touches.is_empty() && fault.touches.iter().all(|name| replicas.contains_key(name))
        };
        let mut of_replicas: Vec<&Fault> = history.faults.iter().filter(of_replicas).collect();
        of_replicas.sort_by_key(|fault| fault.from);
        Outages {
            no_majority: Spans::merged(blackouts),
            executors: executors.into_iter().map(|(name, spans)| (name, Spans::merged(spans))).collect(),
            of_replicas,
            unknown,
        }
    }

    /// Whether an executor had trouble at any instant of this time.
    pub fn executor(&self, agent: &str, from: Micros, until: Micros) -> bool {
        self.executors.get(agent).is_some_and(|spans| spans.touch(from, until))
    }

    /// Whether any executor had trouble at any instant of this time.
    pub fn any_executor(&self, from: Micros, until: Micros) -> bool {
        self.executors.values().any(|spans| spans.touch(from, until))
    }

    /// Faults of replicas only that struck within this time, the ends included.
    pub fn strikes(&self, from: Micros, until: Micros) -> &[&'h Fault] {
        let begin = self.of_replicas.partition_point(|fault| fault.from < from);
        let end = self.of_replicas.partition_point(|fault| fault.from <= until);
        &self.of_replicas[begin..end.max(begin)]
    }
}

/// Times at which fewer than a majority of the replicas were untouched.
fn without_majority(down: BTreeMap<&str, Vec<(Micros, Micros)>>, replicas: usize) -> Vec<(Micros, Micros)> {
    let bearable = replicas.saturating_sub(1) / 2;
    let mut edges = Vec::new();
    for spans in down.into_values() {
        for (from, until) in Spans::merged(spans).0 {
            edges.push((from, 1));
            edges.push((until, -1));
        }
    }
    // At one instant, what begins is counted before what ends.
    edges.sort_unstable_by_key(|(at, change)| (*at, -change));
    let mut out = Vec::new();
    let (mut touched, mut since) = (0_usize, None);
    for (at, change) in edges {
        touched = touched.saturating_add_signed(change);
        match since {
            None if touched > bearable => since = Some(at),
            Some(from) if touched <= bearable => {
                out.push((from, at));
                since = None;
            }
            None | Some(_) => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(from: Micros, until: Micros, touches: &[&str]) -> Fault {
        let touches = touches.iter().map(ToString::to_string).collect();
        Fault { from, until, what: "kill".into(), touches, leader: false }
    }

    fn history(faults: Vec<Fault>) -> History {
        let mut history = History { faults, ..History::default() };
        for replica in ["replica-1", "replica-2", "replica-3"] {
            history.end.fingerprints.insert(replica.into(), "same".into());
        }
        history.agents.insert("executor-1".into(), crate::history::Amounts::default());
        history
    }

    #[test]
    fn one_replica_is_bearable_and_two_are_not() {
        let one = 100_000_000;
        let history = history(vec![
            fault(one, one + 10, &["replica-1"]),
            fault(2 * one, 3 * one, &["replica-1"]),
            fault(3 * one + REPLICA_RECOVERY - 1, 4 * one, &["replica-2"]),
            fault(5 * one, 5 * one, &["replica-1", "replica-2", "replica-3"]),
            fault(6 * one, 6 * one, &["replica-1", "executor-1"]),
        ]);
        let outages = Outages::new(&history);
        let first = (3 * one + REPLICA_RECOVERY - 1, 3 * one + REPLICA_RECOVERY);
        assert_eq!(outages.no_majority.0, [first, (5 * one, 5 * one + REPLICA_RECOVERY)]);
        assert!(outages.executor("executor-1", 0, 6 * one));
        assert!(!outages.executor("executor-1", 0, 6 * one - 1));
        assert!(!outages.executor("executor-2", 0, 9 * one));
        assert_eq!(outages.strikes(0, 9 * one).len(), 4, "the last one touches an executor too");
        assert_eq!(outages.strikes(one, one).len(), 1);
    }

    #[test]
    fn what_is_unknown_excuses_all() {
        let history = history(vec![fault(5, 9, &["the moon"])]);
        let outages = Outages::new(&history);
        assert!(outages.no_majority.touch(9, 9));
        assert_eq!(outages.unknown.len(), 1);
    }
}
