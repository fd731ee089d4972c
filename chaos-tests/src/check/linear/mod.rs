//! Linearizability of submissions, reads and cancels. Runs do not touch each other, so each is searched on its own.
//!
//! A submission without an answer belongs to the run that its request is known to have; one whose request has none left
//! no trace. Answers that say of themselves that they may be from the past promise nothing here; to have been given one
//! unasked is a violation.

mod run;
mod search;

use std::collections::BTreeMap;

pub use run::{Known, Op, RunModel};
pub use search::{CONFIGURATIONS_MAX, Call, Model, Outcome, search};

use super::index::{Index, Run};
use super::report::{Promise, Verdict, time};
use crate::history::{Answer, Micros, Operation, Request};

/// Calls that a sentence names beside the one that breaks the order.
const NAMED_MAX: usize = 6;

pub(super) fn check(index: &Index<'_>, notes: &mut std::collections::BTreeSet<String>) -> Verdict {
    let mut verdict = Verdict::new(Promise::Linearizable);
    for kind in ["runs", "operations", "of them without an answer"] {
        verdict.count(kind, 0);
    }
    let unanswered = unanswered_submissions(index);
    for run in index.runs.values() {
        let mut calls: Vec<Call<Op>> = Vec::new();
        let mut names: Vec<String> = Vec::new();
        let open = unanswered.get(run.id).into_iter().flatten();
        for operation in run.started.iter().chain(open).chain(&run.operations) {
            unasked_past(run, operation, &mut verdict);
            if let Some(op) = op(operation) {
                names.push(name(operation));
                calls.push(Call { called: operation.called, answered: end_of(operation), op });
            }
        }
        if calls.is_empty() {
            continue;
        }
        if let Some(end) = run.end {
            let op = Op::See { status: end.status, stopping: false, succeeded: None };
            // A run that waits at the end may have been winding down for all that the end says.
            if end.status != crate::history::RunState::Active {
                let at = index.history.end.at;
                calls.push(Call { called: at, answered: Some(at), op });
                names.push(format!("the end, which says {:?} at {}", end.status, time(at)));
            }
        }
        verdict.count("runs", 1);
        verdict.count("operations", calls.len() as u64);
        verdict.count(
            "of them without an answer",
            calls.iter().filter(|call| call.answered.is_none()).count() as u64,
        );
        judge(run, &calls, &names, &mut verdict, notes);
    }
    verdict
}

fn judge(
    run: &Run<'_>,
    calls: &[Call<Op>],
    names: &[String],
    verdict: &mut Verdict,
    notes: &mut std::collections::BTreeSet<String>,
) {
    let mut looks = calls.len() as u64;
    let outcome = search(&RunModel, calls, &mut looks);
    verdict.looked(looks);
    match outcome {
        Outcome::Fits => {}
        Outcome::TooMany => {
            notes.insert(format!(
                "linearizability of run `{}` was given up after {CONFIGURATIONS_MAX} configurations of {} operations",
                run.id,
                calls.len()
            ));
        }
        Outcome::Breaks { call, states } => {
            let broken = &calls[call];
            let at = broken.answered.unwrap_or(broken.called);
            let beside = |other: &&usize| {
                let other = &calls[**other];
                other.called <= at && other.answered.is_none_or(|answered| answered >= broken.called)
            };
            let places: Vec<usize> = (0..calls.len()).filter(|place| *place != call).collect();
            let beside: Vec<&str> =
                places.iter().filter(beside).take(NAMED_MAX).map(|place| names[*place].as_str()).collect();
            let states: Vec<String> = states.iter().map(|state| state.describe()).collect();
            let beside = if beside.is_empty() { "nothing".to_owned() } else { beside.join("; ") };
            verdict.violation(
                at,
                format!(
                    "run `{}`: no order of instants explains {}: by then the run could only be {}; under way beside \
                     it: {beside}",
                    run.id,
                    names[call],
                    states.join(", or ")
                ),
            );
        }
    }
}

/// Submissions without an answer, by the runs that their requests are known to have.
fn unanswered_submissions<'h>(index: &Index<'h>) -> BTreeMap<&'h str, Vec<&'h Operation>> {
    let mut unanswered: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in &index.history.operations {
        let (Request::Submit { request_id, .. }, Answer::Unknown { .. }) =
            (&operation.request, &operation.answer)
        else {
            continue;
        };
        for run in index.runs_of_requests.get(request_id.as_str()).into_iter().flatten() {
            unanswered.entry(run).or_default().push(operation);
        }
    }
    unanswered
}

fn unasked_past(run: &Run<'_>, operation: &Operation, verdict: &mut Verdict) {
    let (Request::Get { stale: false, .. }, Answer::Seen(view)) = (&operation.request, &operation.answer)
    else {
        return;
    };
    if view.stale {
        let at = operation.answered.unwrap_or(operation.called);
        verdict.violation(
            at,
            format!(
                "run `{}`: client {} asked for the present and was given {:?} from the past at {}",
                run.id,
                operation.client,
                view.status,
                time(at)
            ),
        );
    }
}

/// The operation for the model; none where it promises nothing.
fn op(operation: &Operation) -> Option<Op> {
    match (&operation.request, &operation.answer) {
        (Request::Submit { .. }, Answer::Started { .. } | Answer::Unknown { .. }) => Some(Op::Submit),
        (Request::Get { .. }, Answer::Seen(view)) if !view.stale => Some(Op::see(view)),
        (Request::Cancel { .. }, Answer::Accepted | Answer::Unknown { .. }) => Some(Op::Cancel),
        (Request::Get { stale: false, .. } | Request::Cancel { .. }, Answer::Refused { code, .. })
            if code == "NotFound" =>
        {
            Some(Op::Missing)
        }
        _ => None,
    }
}

fn end_of(operation: &Operation) -> Option<Micros> {
    match operation.answer {
        Answer::Unknown { .. } => None,
        _ => operation.answered,
    }
}

fn name(operation: &Operation) -> String {
    let asked = match &operation.request {
        Request::Submit { request_id, .. } => format!("submission `{request_id}`"),
        Request::Get { .. } => "read".to_owned(),
        Request::Cancel { .. } => "cancel".to_owned(),
        Request::Signal { .. } => "signal".to_owned(),
    };
    let answer = match (&operation.answer, end_of(operation)) {
        (Answer::Seen(view), Some(at)) => {
            let stopping = if view.cancelling { ", winding down" } else { "" };
            format!("answered {:?}{stopping}, {} succeeded, at {}", view.status, view.succeeded, time(at))
        }
        (Answer::Refused { code, .. }, Some(at)) => format!("answered {code} at {}", time(at)),
        (_, Some(at)) => format!("answered OK at {}", time(at)),
        (_, None) => "never answered".to_owned(),
    };
    format!("the {asked} of client {}, sent at {}, {answer}", operation.client, time(operation.called))
}
