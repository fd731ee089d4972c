//! P2, planted: one request twice, and what nobody asked for.

use super::*;

#[test]
fn a_request_is_answered_with_another_run() {
    accuses(stormy(), &[Promise::P2], |history| {
        let second = history.operations.iter().rev().find_map(|operation| match &operation.answer {
            Answer::Started { run_id } => Some(run_id.clone()),
            _ => None,
        })?;
        let workflow = end(history, &second)?.workflow.clone();
        let (request_id, first) = history.operations.iter().find_map(|operation| {
            match (&operation.request, run_of(operation)) {
                (Request::Submit { request_id, .. }, Some(first)) if first != second => {
                    Some((request_id.clone(), first))
                }
                _ => None,
            }
        })?;
        let words = vec![request_id.clone(), first.to_owned(), second.clone()];
        let called = history.end.at - 100;
        history.operations.push(Operation {
            client: 99,
            called,
            answered: Some(called + 10),
            request: Request::Submit { request_id, workflow },
            answer: Answer::Started { run_id: second },
        });
        Some(words)
    });
}

#[test]
fn two_requests_are_given_one_run() {
    accuses(stormy(), &[Promise::P2], |history| {
        let run = history.end.runs.first()?;
        let (run_id, workflow) = (run.run_id.clone(), run.workflow.clone());
        let called = history.end.at - 100;
        history.operations.push(Operation {
            client: 99,
            called,
            answered: Some(called + 10),
            request: Request::Submit { request_id: "a-new-request".into(), workflow },
            answer: Answer::Started { run_id: run_id.clone() },
        });
        Some(vec![run_id, "was given to 2 requests".into(), "a-new-request".into()])
    });
}

#[test]
fn a_run_is_there_that_nobody_asked_for() {
    accuses(stormy(), &[Promise::P2], |history| {
        let extra =
            history.end.runs.iter().find(|run| run.nodes.iter().all(|node| node.attempts == 0))?.clone();
        let run =
            FinalRun { run_id: "run-of-nobody".into(), request_id: "request-of-nobody".into(), ..extra };
        let run = FinalRun { status: RunState::Cancelled, signals: Vec::new(), ..run };
        history.end.runs.push(run);
        Some(vec!["run-of-nobody".into(), "request-of-nobody".into()])
    });
}

#[test]
fn a_run_is_there_whose_submission_was_refused() {
    accuses(stormy(), &[Promise::P2], |history| {
        let request_id = history.end.runs.iter().find_map(|run| {
            let mut named = operations(history, &run.run_id);
            let once = matches!(named.next()?.request, Request::Submit { .. }) && named.next().is_none();
            let unknown = history.operations.iter().any(|operation| {
                matches!(&operation.request, Request::Submit { request_id, .. } if *request_id == run.request_id)
                    && run_of(operation).is_none()
            });
            (once && !unknown).then(|| run.request_id.clone())
        })?;
        for operation in &mut history.operations {
            if matches!(&operation.request, Request::Submit { request_id: known, .. } if *known == request_id)
            {
                operation.answer =
                    Answer::Refused { code: "ResourceExhausted".into(), message: String::new() };
            }
        }
        Some(vec![request_id])
    });
}

#[test]
fn a_run_is_there_twice() {
    accuses(stormy(), &[Promise::P2], |history| {
        let run = history.end.runs.first()?.clone();
        history.end.runs.push(run.clone());
        Some(vec![run.run_id, "twice".into()])
    });
}

#[test]
fn a_signal_is_taken_twice() {
    accuses(stormy(), &[Promise::P2], |history| {
        let run = history.end.runs.iter_mut().find(|run| !run.signals.is_empty())?;
        run.signals.push(run.signals[0].clone());
        Some(vec![run.run_id.clone(), run.signals[0].clone(), "2 times".into()])
    });
}

#[test]
fn a_signal_is_taken_that_nobody_sent() {
    accuses(stormy(), &[Promise::P2], |history| {
        let run = history.end.runs.iter_mut().find(|run| !run.signals.is_empty())?;
        run.signals.push("signal-of-nobody".into());
        Some(vec![run.run_id.clone(), "signal-of-nobody".into()])
    });
}
