//! Planted violations: each test changes legal histories in one way, and the checker must accuse exactly the promises
//! that this breaks, and say where.

mod accepted;
mod answers;
mod attempts;
mod is_final;
mod once;
mod order;
mod progress;

use std::sync::OnceLock;

use meson_chaos_tests::check::{Promise, Report, check};
use meson_chaos_tests::history::{
    Answer, FinalNode, FinalRun, History, Mark, MarkKind, Micros, Operation, Request, RunState,
};

use crate::sim::{self, Size};

/// Histories that a test looks through for a place to plant.
const HISTORIES: u64 = 30;

/// With faults, and without.
fn stormy() -> &'static [History] {
    static STORMY: OnceLock<Vec<History>> = OnceLock::new();
    STORMY
        .get_or_init(|| (1_000..1_000 + HISTORIES).map(|seed| sim::history(seed, Size::default())).collect())
}

fn quiet() -> &'static [History] {
    static QUIET: OnceLock<Vec<History>> = OnceLock::new();
    let size = Size { faults: 0, ..Size::default() };
    QUIET.get_or_init(|| (2_000..2_000 + HISTORIES).map(|seed| sim::history(seed, size)).collect())
}

/// Plants in each history that has a place for it. `plant` gives words that the accusation must hold.
fn accuses(
    histories: &[History],
    promises: &[Promise],
    plant: impl Fn(&mut History) -> Option<Vec<String>>,
) -> Vec<Report> {
    let mut reports = Vec::new();
    for history in histories {
        let mut history = history.clone();
        let Some(words) = plant(&mut history) else { continue };
        let report = check(&history);
        let seed = history.seed;
        assert_eq!(report.broken(), promises, "seed {seed}, {words:?}:\n{}", report.markdown());
        for promise in promises {
            let verdict = report.verdict(*promise).expect("there is a verdict for each promise");
            let named = |sentence: &str| words.iter().all(|word| sentence.contains(word));
            assert!(
                verdict.violations.iter().any(|violation| named(&violation.sentence)),
                "seed {seed}: no sentence names {words:?}: {:#?}",
                verdict.violations
            );
        }
        reports.push(report);
    }
    assert!(reports.len() >= 5, "there was a place to plant in {} histories only", reports.len());
    reports
}

fn end<'h>(history: &'h History, run_id: &str) -> Option<&'h FinalRun> {
    history.end.runs.iter().find(|run| run.run_id == run_id)
}

fn end_mut<'h>(history: &'h mut History, run_id: &str) -> Option<&'h mut FinalRun> {
    history.end.runs.iter_mut().find(|run| run.run_id == run_id)
}

fn node_mut<'h>(history: &'h mut History, run_id: &str, path: &str) -> Option<&'h mut FinalNode> {
    end_mut(history, run_id)?.nodes.iter_mut().find(|node| node.path == path)
}

/// The run that an operation is about.
fn run_of(operation: &Operation) -> Option<&str> {
    match (&operation.request, &operation.answer) {
        (Request::Submit { .. }, Answer::Started { run_id }) => Some(run_id),
        (Request::Submit { .. }, _) => None,
        (Request::Get { run_id, .. } | Request::Cancel { run_id } | Request::Signal { run_id, .. }, _) => {
            Some(run_id)
        }
    }
}

fn operations<'h>(history: &'h History, run_id: &str) -> impl Iterator<Item = &'h Operation> {
    history.operations.iter().filter(move |operation| run_of(operation) == Some(run_id))
}

/// When a run's first submission was answered.
fn started(history: &History, run_id: &str) -> Option<Micros> {
    let submission = |operation: &&Operation| matches!(operation.request, Request::Submit { .. });
    operations(history, run_id).filter(submission).filter_map(|operation| operation.answered).min()
}

fn has_cancel(history: &History, run_id: &str) -> bool {
    operations(history, run_id).any(|operation| matches!(operation.request, Request::Cancel { .. }))
}

/// Whether a client saw the run, with a true answer or one from the past.
fn is_seen(history: &History, run_id: &str) -> bool {
    operations(history, run_id).any(|operation| matches!(operation.answer, Answer::Seen(_)))
}

fn succeeded(history: &History, workflow: &str) -> Vec<String> {
    let runs = history.end.runs.iter();
    runs.filter(|run| run.workflow == workflow && run.status == RunState::Succeeded)
        .map(|run| run.run_id.clone())
        .collect()
}

/// The first mark of a kind of a step, and of an attempt if one is given.
fn mark<'h>(
    history: &'h History,
    run_id: &str,
    step: &str,
    kind: MarkKind,
    attempt: Option<u32>,
) -> Option<&'h Mark> {
    history.marks.iter().find(|mark| {
        mark.run_id == run_id
            && mark.step == step
            && mark.kind == kind
            && attempt.is_none_or(|attempt| mark.attempt == attempt)
    })
}

fn mark_mut<'h>(
    history: &'h mut History,
    run_id: &str,
    step: &str,
    kind: MarkKind,
    attempt: Option<u32>,
) -> Option<&'h mut Mark> {
    history.marks.iter_mut().find(|mark| {
        mark.run_id == run_id
            && mark.step == step
            && mark.kind == kind
            && attempt.is_none_or(|attempt| mark.attempt == attempt)
    })
}

/// Gives agents so much that no planted overlap holds too much.
fn enlarge(history: &mut History) {
    for offered in history.agents.values_mut() {
        offered.cpu_millis *= 1_000;
        offered.mem_bytes *= 1_000;
    }
}

/// Runs and steps of which the first attempt failed and a second one followed.
fn retried(history: &History) -> Vec<(String, String)> {
    let failed = history.marks.iter().filter(|mark| mark.kind == MarkKind::Failure && mark.attempt == 1);
    let place = |mark: &Mark| (mark.run_id.clone(), mark.step.clone());
    failed
        .map(place)
        .filter(|(run_id, step)| mark(history, run_id, step, MarkKind::Start, Some(2)).is_some())
        .collect()
}
