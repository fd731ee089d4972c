//! What a check found: for each promise, on how many facts it was checked and what breaks it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::history::Micros;

/// What the checker judges by name. P1 to P8 are the promises of docs/architecture.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Promise {
    /// What was accepted is kept.
    P1,
    /// The same request gives the same run.
    P2,
    /// Two attempts of one step never run at the same time.
    P3,
    /// An attempt that runs while the leader dies goes on.
    P4,
    /// A terminal state never changes.
    P5,
    /// No step starts before all that it needs has succeeded.
    P6,
    /// With a majority of replicas up, runs go on.
    P7,
    /// Attempts on an agent never hold more than it offered.
    P8,
    /// Answers about a run fit an order of instants, each between its call and its answer.
    Linearizable,
    /// All replicas say the same at the end.
    Agreement,
}

impl Promise {
    /// All of them, in order.
    pub const ALL: [Promise; 10] = [
        Promise::P1,
        Promise::P2,
        Promise::P3,
        Promise::P4,
        Promise::P5,
        Promise::P6,
        Promise::P7,
        Promise::P8,
        Promise::Linearizable,
        Promise::Agreement,
    ];

    /// Its name and what it says in a few words.
    pub fn title(self) -> &'static str {
        match self {
            Promise::P1 => "P1 accepted is kept",
            Promise::P2 => "P2 once",
            Promise::P3 => "P3 no double",
            Promise::P4 => "P4 in flight stays in flight",
            Promise::P5 => "P5 finished is final",
            Promise::P6 => "P6 order",
            Promise::P7 => "P7 progress",
            Promise::P8 => "P8 no overcommit",
            Promise::Linearizable => "linearizable answers",
            Promise::Agreement => "replicas agree",
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.title())
    }
}

/// The outcome of a whole check.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Seed of the schedule and the load.
    pub seed: u64,
    /// What the history holds.
    pub contents: Vec<Count>,
    /// One for each promise, in the order of [`Promise::ALL`].
    pub verdicts: Vec<Verdict>,
    /// What followed each time that the leader was struck.
    pub failovers: Vec<Failover>,
    /// What could not be checked, and why; nothing in a good test.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether every promise was kept.
    pub fn holds(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.violations.is_empty())
    }

    /// The promises that were broken, in order.
    pub fn broken(&self) -> Vec<Promise> {
        let broken = self.verdicts.iter().filter(|verdict| !verdict.violations.is_empty());
        broken.map(|verdict| verdict.promise).collect()
    }

    /// What was found of one promise.
    pub fn verdict(&self, promise: Promise) -> Option<&Verdict> {
        self.verdicts.iter().find(|verdict| verdict.promise == promise)
    }

    /// Elements of the history that were looked at, over all rules: the cost of the check.
    pub fn looks(&self) -> u64 {
        self.verdicts.iter().map(|verdict| verdict.looks).sum()
    }
}

/// A number of things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The things.
    pub what: String,
    /// How many.
    pub count: u64,
}

/// What was found of one promise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The promise.
    pub promise: Promise,
    /// On what it was checked.
    pub checked: Vec<Count>,
    /// What breaks it, in the order of time.
    pub violations: Vec<Violation>,
    /// Elements of the history that were looked at: the cost of the check.
    pub looks: u64,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Violation {
    /// When it shows first.
    pub at: Micros,
    /// What is wrong, with all that is needed to find it in the history.
    pub sentence: String,
}

impl Verdict {
    pub(super) fn new(promise: Promise) -> Self {
        Verdict { promise, checked: Vec::new(), violations: Vec::new(), looks: 0 }
    }

    /// Counts facts that the promise was checked on; a kind that was never met is shown with 0.
    pub(super) fn count(&mut self, what: &str, count: u64) {
        match self.checked.iter_mut().find(|known| known.what == what) {
            Some(known) => known.count += count,
            None => self.checked.push(Count { what: what.to_owned(), count }),
        }
    }

    pub(super) fn looked(&mut self, elements: u64) {
        self.looks += elements;
    }

    pub(super) fn violation(&mut self, at: Micros, sentence: String) {
        self.violations.push(Violation { at, sentence });
    }
}

/// What followed one blow against the leader.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failover {
    /// When it was struck.
    pub at: Micros,
    /// What was done, as in the history's fault.
    pub what: String,
    /// Whether it was killed; else it was paused, cut off or slowed down.
    pub kill: bool,
    /// Whether a majority of replicas was untouched from then until the starts below.
    pub majority: bool,
    /// Microseconds to the next start of an attempt, whoever caused it: the old leader's last launches count.
    pub next_start: Option<Micros>,
    /// Microseconds to the next start that only a new leader can have caused: of a step whose last need, last attempt
    /// or submission came after the blow.
    pub next_start_decided_after: Option<Micros>,
}

/// A time as sentences give it: seconds of the history's clock.
pub(super) fn time(at: Micros) -> String {
    format!("{}.{:06} s", at / 1_000_000, at % 1_000_000)
}
