//! P1: every change that was answered OK shows at the end.
//!
//! A run that any answer or any mark speaks of exists, with its workflow and request id. A cancelled run has ended as
//! cancelled, unless what it ended as was decided before the cancel took effect. A signal was taken, unless nothing in
//! the run was left to take it.

use std::collections::{BTreeMap, BTreeSet};

use super::index::{Index, Run, answered};
use super::path;
use super::report::{Promise, Verdict, time};
use crate::history::{Answer, FinalRun, Micros, Operation, Request, RunState};

pub(super) fn check(index: &Index<'_>, notes: &mut BTreeSet<String>) -> Verdict {
    let mut verdict = Verdict::new(Promise::P1);
    for kind in ["submissions answered OK", "cancels answered OK", "signals answered OK"] {
        verdict.count(kind, 0);
    }
    for run in index.runs.values() {
        verdict.looked(1 + (run.started.len() + run.operations.len() + run.nodes.len()) as u64);
        exists(run, &mut verdict);
        let Some(end) = run.end else { continue };
        run.started.iter().for_each(|started| submitted(started, end, &mut verdict));
        verdict.count("cancels answered OK", run.cancels().count() as u64);
        // What excuses an end before the first of them excuses it before all.
        if let Some(first) = run.cancels().min_by_key(|cancel| answered(cancel)) {
            cancelled(run, end, first, &mut verdict);
        }
        signalled(run, end, &mut verdict, notes);
    }
    verdict
}

/// A run that anybody was told of, or that has worked, is there at the end.
fn exists(run: &Run<'_>, verdict: &mut Verdict) {
    verdict.count("submissions answered OK", run.started.len() as u64);
    if run.end.is_some() {
        return;
    }
    let told = |operation: &&&Operation| matches!(operation.answer, Answer::Seen(_) | Answer::Accepted);
    let first_mark = run.steps.values().flat_map(|step| &step.lives).map(|life| life.first).min();
    let (at, how) = if let Some(started) = run.started.first() {
        let request = &started.request;
        (answered(started), format!("was started for client {} by {request:?}", started.client))
    } else if let Some(seen) = run.operations.iter().find(told) {
        (answered(seen), format!("was shown to client {}", seen.client))
    } else if let Some(first) = first_mark {
        (first, "ran, by its marks".to_owned())
    } else {
        return;
    };
    verdict.violation(at, format!("run `{}` {how} at {}, and is not there at the end", run.id, time(at)));
}

fn submitted(started: &Operation, end: &FinalRun, verdict: &mut Verdict) {
    let Request::Submit { request_id, workflow } = &started.request else { return };
    let differs = [("workflow", workflow, &end.workflow), ("request id", request_id, &end.request_id)];
    for (what, asked, is) in differs.into_iter().filter(|(_, asked, is)| asked != is) {
        // That one run was given to two requests is what P2 says.
        if what == "request id" && !end.request_id.is_empty() {
            continue;
        }
        let at = answered(started);
        verdict.violation(
            at,
            format!(
                "run `{}`, started for client {} at {}, has the {what} `{is}` at the end instead of `{asked}`",
                end.run_id,
                started.client,
                time(at)
            ),
        );
    }
}

/// After a cancel took effect nothing starts, and no attempt's success or failure counts any more. So a run that ended
/// otherwise had decided so before: by successes or a failure whose marks are older than the cancel's answer.
fn cancelled(run: &Run<'_>, end: &FinalRun, cancel: &Operation, verdict: &mut Verdict) {
    let by = answered(cancel);
    let lives = || run.steps.iter().flat_map(|(path, step)| step.lives.iter().map(move |life| (*path, life)));
    let problem = match end.status {
        RunState::Cancelled => return,
        RunState::Active => "has not ended".to_owned(),
        RunState::Succeeded => {
            let worked = |at: Micros| at > by;
            let later = lives().find(|(_, life)| worked(life.first) || life.success.is_some_and(worked));
            let Some((path, life)) = later else { return };
            let last = life.success.unwrap_or(life.first).max(life.first);
            format!("has succeeded, and {} of `{path}` still worked at {}", life.name(), time(last))
        }
        RunState::Failed => {
            if failed_by(run, by) {
                return;
            }
            "has failed, and no step had failed before".to_owned()
        }
    };
    verdict.violation(
        by,
        format!(
            "run `{}` {problem}, although a cancel by client {} was accepted at {}",
            run.id,
            cancel.client,
            time(by)
        ),
    );
}

/// Whether some node had failed by this time. Without marks of a failure (a timeout, a lost agent, a composite) the
/// time of a node's failure is not known.
fn failed_by(run: &Run<'_>, by: Micros) -> bool {
    let failed = run.nodes.values().filter(|node| node.status == "FAILED");
    failed
        .filter_map(|node| {
            if !node.is_step {
                // A composite fails by its steps, which are judged themselves, or by an expression.
                let steps = path::beneath(&run.nodes, &node.path)
                    .any(|(_, inner)| inner.is_step && inner.status == "FAILED");
                return (!steps).then_some(0);
            }
            // One that never came to run has no marks.
            let last = run.steps.get(node.path.as_str()).and_then(|step| step.lives.last());
            Some(last.and_then(|life| life.failure).unwrap_or(0))
        })
        .any(|at| at <= by)
}

/// Each accepted signal was taken, unless the run had no wait left for it or ended early.
fn signalled(run: &Run<'_>, end: &FinalRun, verdict: &mut Verdict, notes: &mut BTreeSet<String>) {
    let mut by_name: BTreeMap<&str, BTreeMap<&str, &Operation>> = BTreeMap::new();
    for (name, request_id, operation) in run.signals() {
        let known = by_name.entry(name).or_default().entry(request_id).or_insert(operation);
        if matches!(operation.answer, Answer::Accepted) {
            *known = operation;
        }
    }
    let taken: BTreeSet<&str> = end.signals.iter().map(String::as_str).collect();
    for (name, sent) in by_name {
        let accepted: Vec<_> =
            sent.iter().filter(|(_, operation)| matches!(operation.answer, Answer::Accepted)).collect();
        verdict.count("signals answered OK", accepted.len() as u64);
        let lost: Vec<_> = accepted.iter().filter(|(request_id, _)| !taken.contains(**request_id)).collect();
        let Some((_, first)) = lost.first() else { continue };
        if matches!(end.status, RunState::Cancelled | RunState::Failed) {
            continue;
        }
        let Some(waits) = waits(run, name) else {
            notes.insert(format!(
                "P1: the shape of workflow `{}` names no node that waits for `{name}`, so its signals were not checked",
                end.workflow
            ));
            continue;
        };
        let used = sent.keys().filter(|request_id| taken.contains(**request_id)).count();
        if used < waits {
            let ids: Vec<&str> = lost.iter().map(|(request_id, _)| **request_id).collect();
            let at = answered(first);
            verdict.violation(
                at,
                format!(
                    "run `{}` took {used} of the signals `{name}` that its {waits} waiting nodes were sent; accepted \
                     and not taken: {ids:?}, the first for client {} at {}",
                    run.id,
                    first.client,
                    time(at)
                ),
            );
        }
    }
}

/// Nodes of the run that take a signal of this name, other than those that were passed by; none if the shape knows of
/// none.
fn waits(run: &Run<'_>, name: &str) -> Option<usize> {
    let shape = run.shape?;
    shape.waits.values().find(|signal| *signal == name)?;
    let takes = |path: &str| shape.waits.get(&path::definition(path)).is_some_and(|signal| signal == name);
    let passed_by = |status: &str| matches!(status, "SKIPPED" | "CANCELLED" | "FAILED");
    Some(run.nodes.values().filter(|node| takes(&node.path) && !passed_by(&node.status)).count())
}
