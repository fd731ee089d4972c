//! The checker: what a history says of each promise. A function of values: no clock, no files, no cluster.
//!
//! Each rule is one file and says in its first lines what it takes for a violation and what excuses it. All of them are
//! sweeps over sorted facts, so a check costs n·log n; [`Report::looks`] counts the elements that were looked at.
//!
//! Who writes histories keeps to this: names in [`Fault::touches`](crate::history::Fault::touches) are those of the
//! fingerprints (replicas) and of the agents (executors); anything else there excuses everything while it lasts.
//! `cancelling` of a view is the service's `STOPPING`. A [`Fault`](crate::history::Fault) begins once it has struck, since
//! failover times count from there; and `kill …` against the leader is told from other blows by its first word. Marks of
//! a life should be so close that its last one is near its end.

mod accepted;
mod agreement;
mod capacity;
mod in_flight;
mod index;
mod is_final;
pub mod linear;
mod markdown;
mod needs;
mod once;
mod order;
mod outages;
mod overlap;
mod path;
mod progress;
mod report;

use std::collections::BTreeSet;

pub use markdown::Latency;
pub use progress::NEXT_START_MAX;
pub use report::{Count, Failover, Promise, Report, Verdict, Violation};

use crate::history::{Answer, History, MarkKind};
use index::Index;
use needs::Needs;
use outages::Outages;

/// Checks a history.
pub fn check(history: &History) -> Report {
    let index = Index::new(history);
    let outages = Outages::new(history);
    let mut needs = Needs::new(&index);
    let mut notes = BTreeSet::new();
    let (progress, failovers) = progress::check(&index, &outages, &mut needs);
    let mut verdicts = vec![
        accepted::check(&index, &mut notes),
        once::check(&index),
        overlap::check(&index),
        in_flight::check(&index, &outages),
        is_final::check(&index, &outages, &mut needs),
        order::check(&index, &mut needs),
        progress,
        capacity::check(&index, &mut notes),
        linear::check(&index, &mut notes),
        agreement::check(&index),
    ];
    verdicts.iter_mut().for_each(|verdict| verdict.violations.sort());
    notes.extend(needs.unknown.into_keys().map(|note| format!("P6: {note}")));
    for name in &outages.unknown {
        notes.insert(format!(
            "faults touched `{name}`, which is neither a replica nor an agent: they excuse all"
        ));
    }
    Report {
        seed: history.seed,
        contents: contents(history),
        verdicts,
        failovers,
        notes: notes.into_iter().collect(),
    }
}

fn contents(history: &History) -> Vec<Count> {
    let marks = |kind| history.marks.iter().filter(|mark| mark.kind == kind).count();
    let unknown = |answer: &Answer| matches!(answer, Answer::Unknown { .. });
    let counts = [
        ("operations of clients", history.operations.len()),
        ("of them never answered", history.operations.iter().filter(|known| unknown(&known.answer)).count()),
        ("marks of attempts", history.marks.len()),
        ("of them starts", marks(MarkKind::Start)),
        ("of them successes", marks(MarkKind::Success)),
        ("of them failures", marks(MarkKind::Failure)),
        ("faults", history.faults.len()),
        ("of them against the leader", history.faults.iter().filter(|fault| fault.leader).count()),
        ("runs at the end", history.end.runs.len()),
    ];
    counts.into_iter().map(|(what, count)| Count { what: what.to_owned(), count: count as u64 }).collect()
}
