//! A run as clients see it, for the search: what it may be after each submission, cancel and read.
//!
//! Between operations a run moves by itself: it succeeds, it fails, it winds down. So a state of the model is the set of
//! all states that the run may be in, closed under what may happen by itself; an answer narrows it.

use super::search::Model;
use crate::history::{RunState, RunView};

/// One run, not there at first.
pub struct RunModel;

/// What may be known of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Known {
    /// The stages that it may be in: a bit each.
    stages: u8,
    /// At least so many nodes have succeeded; exactly so many once it was seen as ended.
    succeeded: u64,
    ended: bool,
}

/// An operation with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// It was started, or had been.
    Submit,
    /// It was read.
    See {
        /// How it stood.
        status: RunState,
        /// Whether it was winding down.
        stopping: bool,
        /// How many nodes had succeeded; none if the answer does not say.
        succeeded: Option<u64>,
    },
    /// It was looked for or to be cancelled, and was not there.
    Missing,
    /// Its cancel was accepted.
    Cancel,
}

impl Op {
    /// A read.
    pub fn see(view: &RunView) -> Op {
        Op::See { status: view.status, stopping: view.cancelling, succeeded: Some(view.succeeded) }
    }
}

const ABSENT: u8 = 1;
const RUNNING: u8 = 1 << 1;
/// Something failed; nothing new starts.
const FAILING: u8 = 1 << 2;
const CANCELLING: u8 = 1 << 3;
const SUCCEEDED: u8 = 1 << 4;
const FAILED: u8 = 1 << 5;
const CANCELLED: u8 = 1 << 6;
const STAGES: [(u8, &str); 7] = [
    (ABSENT, "absent"),
    (RUNNING, "running"),
    (FAILING, "winding down after a failure"),
    (CANCELLING, "winding down after a cancel"),
    (SUCCEEDED, "succeeded"),
    (FAILED, "failed"),
    (CANCELLED, "cancelled"),
];

/// What a stage may become by itself, itself included. A failure deep in a composite may decide the end of a run that
/// is cancelled a little later.
fn by_itself(stage: u8) -> u8 {
    match stage {
        RUNNING => RUNNING | FAILING | SUCCEEDED | FAILED,
        FAILING => FAILING | FAILED,
        CANCELLING => CANCELLING | CANCELLED | FAILED,
        _ => stage,
    }
}

/// What a stage becomes by an accepted cancel; 0 where it would be refused.
fn by_cancel(stage: u8) -> u8 {
    match stage {
        ABSENT => 0,
        RUNNING => CANCELLING,
        _ => stage,
    }
}

fn each(stages: u8, change: impl Fn(u8) -> u8) -> u8 {
    STAGES.iter().filter(|(stage, _)| stages & stage != 0).fold(0, |all, (stage, _)| all | change(*stage))
}

impl Known {
    fn with(self, stages: u8) -> Option<Known> {
        (stages != 0).then(|| Known { stages: each(stages, by_itself), ..self })
    }

    fn see(self, status: RunState, stopping: bool, succeeded: Option<u64>) -> Option<Known> {
        let seen = match status {
            RunState::Active if stopping => FAILING | CANCELLING,
            RunState::Active => RUNNING,
            RunState::Succeeded => SUCCEEDED,
            RunState::Failed => FAILED,
            RunState::Cancelled => CANCELLED,
        };
        let mut known = self.with(self.stages & seen)?;
        if let Some(succeeded) = succeeded {
            if succeeded < self.succeeded || self.ended && succeeded != self.succeeded {
                return None;
            }
            known.succeeded = succeeded;
            known.ended = status != RunState::Active;
        }
        Some(known)
    }

    /// In words.
    pub fn describe(self) -> String {
        let stages: Vec<&str> =
            STAGES.iter().filter(|(stage, _)| self.stages & stage != 0).map(|(_, name)| *name).collect();
        let exactly = if self.ended { "exactly" } else { "at least" };
        format!("{} with {exactly} {} nodes succeeded", stages.join(" or "), self.succeeded)
    }
}

impl Model for RunModel {
    type State = Known;
    type Op = Op;

    fn initial(&self) -> Known {
        Known { stages: ABSENT, succeeded: 0, ended: false }
    }

    fn step(&self, known: &Known, op: &Op) -> Option<Known> {
        match op {
            Op::Submit => {
                known.with(each(known.stages, |stage| if stage == ABSENT { RUNNING } else { stage }))
            }
            Op::See { status, stopping, succeeded } => known.see(*status, *stopping, *succeeded),
            Op::Missing => known.with(known.stages & ABSENT),
            Op::Cancel => known.with(each(known.stages, by_cancel)),
        }
    }

    /// A read or a miss only narrows what may be. A run is started once and stopped once: a submission or a cancel that
    /// changes nothing never will.
    fn settles(&self, _: &Op) -> bool {
        true
    }
}
