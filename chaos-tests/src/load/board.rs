//! What the clients of a test tell each other: which runs there are, and which requests may be sent once more.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Pace, Workload};
use crate::chance::Chance;
use crate::history::{Operation, RunState};

/// Requests that may be sent once more.
const RECENT_MAX: usize = 50;

/// A start of a run, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    pub request_id: String,
    pub workflow: String,
    pub params: String,
}

/// What all clients share.
pub struct Board {
    /// The workflows of the load.
    pub workloads: Vec<Workload>,
    /// How long their steps work.
    pub pace: Pace,
    notes: Mutex<Notes>,
    over: AtomicBool,
}

#[derive(Default)]
struct Notes {
    /// Runs that have not been seen to end, with the name of their workflow.
    active: BTreeMap<String, String>,
    ended: VecDeque<String>,
    starts: VecDeque<Start>,
    /// Signals sent, with their run.
    signals: VecDeque<(String, String)>,
    operations: Vec<Operation>,
}

impl Board {
    /// An empty board.
    pub fn new(workloads: Vec<Workload>, pace: Pace) -> Self {
        Board { workloads, pace, notes: Mutex::default(), over: AtomicBool::new(false) }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all clients to end.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether clients are to end.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Keeps an operation.
    pub fn record(&self, operation: Operation) {
        self.notes().operations.push(operation);
    }

    /// All operations so far, in the order in which they were over.
    pub fn operations(&self) -> Vec<Operation> {
        self.notes().operations.clone()
    }

    /// Runs that have not been seen to end, with the names of their workflows.
    pub fn active(&self) -> BTreeMap<String, String> {
        self.notes().active.clone()
    }

    pub(super) fn about_to_start(&self, start: &Start) {
        let mut notes = self.notes();
        notes.starts.push_back(start.clone());
        if notes.starts.len() > RECENT_MAX {
            notes.starts.pop_front();
        }
    }

    pub(super) fn recent_start(&self, chance: &mut Chance) -> Option<Start> {
        chance.pick(self.notes().starts.make_contiguous()).cloned()
    }

    pub(super) fn started(&self, run_id: &str, workflow: &str) {
        let mut notes = self.notes();
        if !notes.ended.iter().any(|ended| ended == run_id) {
            notes.active.insert(run_id.to_owned(), workflow.to_owned());
        }
    }

    pub(super) fn seen(&self, run_id: &str, status: RunState) {
        let mut notes = self.notes();
        if status != RunState::Active && notes.active.remove(run_id).is_some() {
            notes.ended.push_back(run_id.to_owned());
            if notes.ended.len() > RECENT_MAX {
                notes.ended.pop_front();
            }
        }
    }

    /// A run to look at: mostly one that goes on.
    pub(super) fn some_run(&self, chance: &mut Chance) -> Option<String> {
        let mut notes = self.notes();
        let active: Vec<&String> = notes.active.keys().collect();
        let active = chance.pick(&active).map(|run_id| (*run_id).clone());
        let ended = chance.pick(notes.ended.make_contiguous()).cloned();
        if chance.in_thousand(850) { active.or(ended) } else { ended.or(active) }
    }

    /// A run that goes on and waits for a signal, with the signal's name.
    pub(super) fn some_waiting(&self, chance: &mut Chance) -> Option<(String, &'static str)> {
        let notes = self.notes();
        let signal = |workflow: &str| self.workloads.iter().find(|of| of.name == workflow)?.signal;
        let waiting = notes.active.iter().filter_map(|(run, of)| Some((run.clone(), signal(of)?)));
        chance.pick(&waiting.collect::<Vec<_>>()).cloned()
    }

    pub(super) fn about_to_signal(&self, run_id: &str, request_id: &str) {
        let mut notes = self.notes();
        notes.signals.push_back((run_id.to_owned(), request_id.to_owned()));
        if notes.signals.len() > RECENT_MAX {
            notes.signals.pop_front();
        }
    }

    pub(super) fn recent_signal(&self, chance: &mut Chance) -> Option<(String, String)> {
        chance.pick(self.notes().signals.make_contiguous()).cloned()
    }
}
