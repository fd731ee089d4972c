//! P5: what has ended stays as it ended. Three sources must agree on it: what clients saw, what the attempts did, and
//! what the end says.
//!
//! An attempt may write that it has succeeded and die with its executor before that is recorded; another one may then
//! follow. So a mark of success is not the recorded success. That is known to be recorded once a client saw the run
//! ended, or once a step that needs it has begun.

use super::index::{Index, Life, Run, Step, answered};
use super::needs::Needs;
use super::outages::{Outages, RECOVERY};
use super::path;
use super::report::{Promise, Verdict, time};
use crate::history::{Answer, FinalNode, Micros, Operation, RunState, RunView};

const VIEWS: &str = "answers that showed a run as ended";
const RECORDS: &str = "steps at the end, compared with their marks";
const NEEDED: &str = "steps whose success others had begun on";

pub(super) fn check<'h>(index: &Index<'h>, outages: &Outages<'_>, needs: &mut Needs<'_, 'h>) -> Verdict {
    let mut verdict = Verdict::new(Promise::P5);
    [VIEWS, RECORDS, NEEDED].into_iter().for_each(|kind| verdict.count(kind, 0));
    for run in index.runs.values() {
        verdict.looked(1 + (run.operations.len() + run.nodes.len() + run.steps.len()) as u64);
        let ended = seen_as_ended(run, &mut verdict);
        if let Some((at, _)) = ended {
            nothing_starts_after(run, at, &mut verdict);
        }
        for node in run.nodes.values().filter(|node| node.is_step) {
            record_is_true(index, run, node, &mut verdict);
        }
        for (path, step) in &run.steps {
            failed_for_good(run, path, step, outages, &mut verdict);
        }
        needed_is_over(run, needs, &mut verdict);
    }
    verdict
}

fn views<'h>(run: &Run<'h>) -> impl Iterator<Item = (&'h Operation, &'h RunView)> + Clone {
    run.operations.iter().filter_map(|operation| match &operation.answer {
        Answer::Seen(view) => Some((*operation, view)),
        _ => None,
    })
}

/// The first answer that showed the run as ended: its time and how. All others, and the end, must say the same; answers
/// from the past may show the run as it was before, never as ended otherwise.
fn seen_as_ended(run: &Run<'_>, verdict: &mut Verdict) -> Option<(Micros, RunState)> {
    let ended = views(run).filter(|(_, view)| view.status != RunState::Active);
    verdict.count(VIEWS, ended.clone().count() as u64);
    let (first, view) = ended.min_by_key(|(operation, _)| answered(operation))?;
    let (at, status) = (answered(first), view.status);
    let said = format!("run `{}` was shown as {status:?} to client {} at {}", run.id, first.client, time(at));
    for (operation, view) in views(run) {
        let later = operation.called > at;
        let reopened = view.status == RunState::Active && later && !view.stale;
        let otherwise = view.status != RunState::Active && view.status != status;
        if reopened || otherwise {
            let (client, now) = (operation.client, answered(operation));
            let stale = if view.stale { ", from the past," } else { "" };
            verdict.violation(
                now,
                format!("{said}, and{stale} as {:?} to client {client} at {}", view.status, time(now)),
            );
        }
    }
    if let Some(end) = run.end.filter(|end| end.status != status) {
        verdict.violation(at, format!("{said}, and is {:?} at the end", end.status));
    }
    Some((at, status))
}

fn nothing_starts_after(run: &Run<'_>, ended: Micros, verdict: &mut Verdict) {
    for (path, step) in &run.steps {
        for life in step.lives.iter().filter(|life| life.first > ended) {
            verdict.violation(
                life.first,
                format!(
                    "run `{}` was shown as ended at {}, and {} of its step `{path}` began at {}",
                    run.id,
                    time(ended),
                    life.name(),
                    time(life.first)
                ),
            );
        }
    }
}

/// A recorded success is the success of the last recorded attempt, which wrote so; and no attempt is unknown to it.
fn record_is_true(index: &Index<'_>, run: &Run<'_>, node: &FinalNode, verdict: &mut Verdict) {
    if !index.marks_itself(run, &path::definition(&node.path)) {
        return;
    }
    verdict.count(RECORDS, 1);
    let lives = run.steps.get(node.path.as_str()).map(|step| step.lives.as_slice()).unwrap_or_default();
    verdict.looked(lives.len() as u64);
    let place = format!("run `{}`, step `{}`", run.id, node.path);
    let (end, attempts) = (index.history.end.at, node.attempts);
    if let Some(unknown) = lives.iter().find(|life| life.attempt > attempts) {
        verdict.violation(
            unknown.first,
            format!(
                "{place}: {} began at {}, and the record knows of {attempts} attempts",
                unknown.name(),
                time(unknown.first)
            ),
        );
    }
    let last = || lives.iter().filter(|life| life.attempt == attempts);
    if node.status == "SUCCEEDED" && !last().any(|life| life.success.is_some()) {
        verdict.violation(
            end,
            format!("{place} is recorded as SUCCEEDED by attempt {attempts}, which has no mark of success"),
        );
    }
}

/// A step that has failed as often as its retries allow has failed for good, unless a failure never got through.
fn failed_for_good(run: &Run<'_>, path: &str, step: &Step<'_>, outages: &Outages<'_>, verdict: &mut Verdict) {
    let Some(allowed) = step.shape.map(|shape| shape.user_attempts_max) else { return };
    let mut failures = 0;
    for pair in step.lives.windows(2) {
        let [life, next] = pair else { continue };
        let Some(failed) = life.failure else { continue };
        if lost_report(outages, life, next) {
            continue;
        }
        failures += 1;
        if failures >= allowed {
            verdict.violation(
                next.first,
                format!(
                    "run `{}`, step `{path}` failed for the {failures}. time of {allowed} at {}, and {} began at {}",
                    run.id,
                    time(failed),
                    next.name(),
                    time(next.first)
                ),
            );
        }
    }
}

/// Whether the end of an attempt may never have been heard of.
fn lost_report(outages: &Outages<'_>, life: &Life<'_>, next: &Life<'_>) -> bool {
    let from = life.first.saturating_sub(RECOVERY);
    outages.executor(life.agent, from, next.first) || outages.no_majority.touch(from, next.first)
}

/// Once a step that needs it has begun, a step's success is recorded: no attempt of it begins or ends any more.
fn needed_is_over<'h>(run: &Run<'h>, needs: &mut Needs<'_, 'h>, verdict: &mut Verdict) {
    // The earliest begin on each node that something needs; each node's steps are looked at once.
    let mut begun = std::collections::BTreeMap::new();
    for (path, step) in &run.steps {
        let Some(first) = step.lives.first().map(|life| life.first) else { continue };
        for (node, need) in needs.of(run, path) {
            verdict.looked(1);
            // A step that began too early is what P6 is about.
            if need.unmet.is_some() || need.by.is_none_or(|(at, _)| at > first) {
                continue;
            }
            let known = begun.entry(node).or_insert((first, *path));
            *known = (*known).min((first, path));
        }
    }
    for (node, (at, by)) in begun {
        for (path, step) in path::beneath(&run.steps, &node) {
            verdict.count(NEEDED, 1);
            verdict.looked(1 + step.lives.len() as u64);
            let moves = |life: &&Life<'_>| {
                life.first > at || life.success.max(life.failure).is_some_and(|end| end > at)
            };
            if let Some(life) = step.lives.iter().find(moves) {
                verdict.violation(
                    at,
                    format!(
                        "run `{}`, step `{path}` had succeeded when `{by}`, which needs it, began at {}; yet {} lived \
                         from {} until {}",
                        run.id,
                        time(at),
                        life.name(),
                        time(life.first),
                        time(life.last)
                    ),
                );
            }
        }
    }
}
