//! P2: one request, one run; and nothing runs that nobody asked for. A signal is taken at most once.

use std::collections::{BTreeMap, BTreeSet};

use super::index::{Index, answered};
use super::report::{Promise, Verdict, time};
use crate::history::{Answer, Operation, Request};

pub(super) fn check(index: &Index<'_>) -> Verdict {
    let mut verdict = Verdict::new(Promise::P2);
    for (request_id, runs) in &index.runs_of_requests {
        verdict.looked(runs.len() as u64);
        // Runs that were started without a request id have nothing in common.
        if runs.len() > 1 && !request_id.is_empty() {
            let at = runs.iter().filter_map(|run| first_started(index, run)).map(answered).min();
            let at = at.unwrap_or(index.history.end.at);
            let sentence = format!("request `{request_id}` has {} runs: {runs:?}", runs.len());
            verdict.violation(at, sentence);
        }
    }
    let asked = requests(index, &mut verdict);
    runs_answer_one_request(index, &mut verdict);
    runs_were_asked_for(index, &asked, &mut verdict);
    signals_are_taken_once(index, &mut verdict);
    verdict
}

fn first_started<'h>(index: &Index<'h>, run_id: &str) -> Option<&'h Operation> {
    index.runs.get(run_id)?.started.first().copied()
}

/// Request ids of submissions that may have taken effect: all but those that were refused.
fn requests<'h>(index: &Index<'h>, verdict: &mut Verdict) -> BTreeSet<&'h str> {
    let mut asked: BTreeMap<&str, u64> = BTreeMap::new();
    for operation in &index.history.operations {
        if let Request::Submit { request_id, .. } = &operation.request
            && !matches!(operation.answer, Answer::Refused { .. })
        {
            *asked.entry(request_id).or_default() += 1;
        }
    }
    verdict.looked(index.history.operations.len() as u64);
    verdict.count("request ids", asked.len() as u64);
    verdict.count(
        "request ids submitted more than once",
        asked.values().filter(|times| **times > 1).count() as u64,
    );
    asked.into_keys().collect()
}

fn runs_answer_one_request(index: &Index<'_>, verdict: &mut Verdict) {
    for run in index.runs.values() {
        let mut requests = BTreeMap::new();
        for started in &run.started {
            if let Request::Submit { request_id, .. } = &started.request {
                requests.entry(request_id.as_str()).or_insert(answered(started));
            }
        }
        if let Some(end) = run.end.filter(|end| !end.request_id.is_empty()) {
            requests.entry(&end.request_id).or_insert(index.history.end.at);
        }
        verdict.looked(run.started.len() as u64);
        if requests.len() > 1 {
            let at = requests.values().copied().min().unwrap_or_default();
            let ids: Vec<&&str> = requests.keys().collect();
            verdict.violation(at, format!("run `{}` was given to {} requests: {ids:?}", run.id, ids.len()));
        }
    }
}

fn runs_were_asked_for(index: &Index<'_>, asked: &BTreeSet<&str>, verdict: &mut Verdict) {
    let end = &index.history.end;
    verdict.count("runs at the end", end.runs.len() as u64);
    verdict.looked(end.runs.len() as u64);
    let mut known = BTreeSet::new();
    for run in &end.runs {
        if !known.insert(&run.run_id) {
            verdict.violation(end.at, format!("run `{}` is there twice at the end", run.run_id));
        }
        if !asked.contains(run.request_id.as_str()) {
            verdict.violation(
                end.at,
                format!(
                    "run `{}` of workflow `{}` is there at the end, and nobody submitted its request `{}`, or only \
                     with a refusal",
                    run.run_id, run.workflow, run.request_id
                ),
            );
        }
    }
}

fn signals_are_taken_once(index: &Index<'_>, verdict: &mut Verdict) {
    for run in index.runs.values() {
        let Some(end) = run.end else { continue };
        let may_be = |operation: &Operation| !matches!(operation.answer, Answer::Refused { .. });
        let sent: BTreeMap<&str, &Operation> =
            run.signals().filter(|(.., sent)| may_be(sent)).map(|(_, id, sent)| (id, sent)).collect();
        let mut taken: BTreeMap<&str, u64> = BTreeMap::new();
        end.signals.iter().for_each(|id| *taken.entry(id).or_default() += 1);
        verdict.looked((sent.len() + taken.len()) as u64);
        verdict.count("signals taken", end.signals.len() as u64);
        for (id, times) in taken {
            match sent.get(id) {
                None => verdict.violation(
                    index.history.end.at,
                    format!("run `{}` took the signal `{id}`, which nobody sent to it", run.id),
                ),
                Some(operation) if times > 1 => verdict.violation(
                    operation.called,
                    format!(
                        "run `{}` took the signal `{id}` {times} times; it was sent at {}",
                        run.id,
                        time(operation.called)
                    ),
                ),
                Some(_) => {}
            }
        }
    }
}
