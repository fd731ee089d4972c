//! P1, planted: accepted and lost.

use super::*;

#[test]
fn a_run_is_lost() {
    accuses(stormy(), &[Promise::P1], |history| {
        let lost = history.end.runs.iter().position(|run| started(history, &run.run_id).is_some())?;
        Some(vec![history.end.runs.remove(lost).run_id, "is not there at the end".into()])
    });
}

#[test]
fn a_run_that_nobody_was_told_of_is_lost_after_it_worked() {
    accuses(stormy(), &[Promise::P1], |history| {
        let run_id = history.marks.first()?.run_id.clone();
        let lost = history.end.runs.iter().position(|run| run.run_id == run_id)?;
        history.end.runs.remove(lost);
        history.operations.retain(|operation| {
            run_of(operation) != Some(&run_id) || matches!(operation.request, Request::Submit { .. })
        });
        for operation in &mut history.operations {
            if run_of(operation) == Some(&run_id) {
                operation.answer = Answer::Unknown { code: "Unavailable".into() };
            }
        }
        Some(vec![run_id, "by its marks".into()])
    });
}

#[test]
fn a_run_that_was_shown_to_a_client_is_lost() {
    accuses(stormy(), &[Promise::P1], |history| {
        let seen = |run: &&FinalRun| is_seen(history, &run.run_id);
        let run_id = history.end.runs.iter().find(seen)?.run_id.clone();
        history.end.runs.retain(|run| run.run_id != run_id);
        history.marks.retain(|mark| mark.run_id != run_id);
        for operation in &mut history.operations {
            if run_of(operation) == Some(&run_id) && matches!(operation.request, Request::Submit { .. }) {
                operation.answer = Answer::Unknown { code: "Unavailable".into() };
            }
        }
        // Without its submission a true read of it would fit no order; reads from the past promise nothing there.
        history.operations.retain(|operation| match &operation.answer {
            Answer::Seen(view) => run_of(operation) != Some(&run_id) || view.stale,
            Answer::Accepted => run_of(operation) != Some(&run_id),
            _ => true,
        });
        is_seen(history, &run_id).then(|| vec![run_id, "was shown to client".into()])
    });
}

#[test]
fn a_run_is_of_another_workflow() {
    accuses(stormy(), &[Promise::P1], |history| {
        let run_id =
            history.end.runs.iter().find(|run| started(history, &run.run_id).is_some())?.run_id.clone();
        end_mut(history, &run_id)?.workflow = "another".into();
        Some(vec![run_id, "another".into()])
    });
}

#[test]
fn a_cancel_is_lost_and_the_run_succeeds() {
    accuses(stormy(), &[Promise::P1], |history| {
        let run_id = succeeded(history, "chain").into_iter().find(|run_id| is_unwatched(history, run_id))?;
        cancel(history, &run_id, started(history, &run_id)? + 10)?;
        Some(vec![run_id, "has succeeded".into()])
    });
}

/// Nothing began after the cancel, but what ran was left to succeed.
#[test]
fn a_cancel_is_lost_and_the_last_step_goes_on() {
    accuses(stormy(), &[Promise::P1], |history| {
        let run_id = succeeded(history, "chain").into_iter().find(|run_id| is_unwatched(history, run_id))?;
        let last = mark(history, &run_id, "c", MarkKind::Success, None)?.at;
        cancel(history, &run_id, last - 20)?;
        Some(vec![run_id, "of `c` still worked at".into()])
    });
}

#[test]
fn a_cancel_is_lost_and_the_run_fails() {
    accuses(quiet(), &[Promise::P1], |history| {
        let failed = |run: &&FinalRun| {
            run.workflow == "flaky"
                && run.status == RunState::Failed
                && !is_seen(history, &run.run_id)
                && !has_cancel(history, &run.run_id)
        };
        let run_id = history.end.runs.iter().find(failed)?.run_id.clone();
        cancel(history, &run_id, started(history, &run_id)? + 10)?;
        Some(vec![run_id, "has failed".into()])
    });
}

/// A step that never came to run may have failed at any time.
#[test]
fn a_run_that_failed_before_it_ran_may_be_cancelled() {
    let mut checked = 0;
    for history in quiet() {
        let mut history = history.clone();
        let failed = |run: &&FinalRun| {
            run.workflow == "flaky"
                && run.status == RunState::Failed
                && is_unwatched(&history, &run.run_id)
                && !has_cancel(&history, &run.run_id)
        };
        let Some(run_id) = history.end.runs.iter().find(failed).map(|run| run.run_id.clone()) else {
            continue;
        };
        history.marks.retain(|mark| mark.run_id != run_id);
        let called = started(&history, &run_id).expect("it was started") + 10;
        cancel(&mut history, &run_id, called).expect("it was started");
        let report = check(&history);
        assert!(report.holds(), "{}", report.markdown());
        checked += 1;
    }
    assert!(checked >= 5, "{checked}");
}

#[test]
fn a_cancel_is_lost_and_the_run_waits() {
    accuses(stormy(), &[Promise::P1, Promise::P7], |history| {
        let waits =
            |run: &&FinalRun| run.status == RunState::Active && started(history, &run.run_id).is_some();
        let run_id = history.end.runs.iter().find(waits)?.run_id.clone();
        cancel(history, &run_id, history.end.at - 100)?;
        Some(vec![run_id])
    });
}

#[test]
fn a_cancel_after_the_last_step_changes_nothing() {
    let mut checked = 0;
    for history in quiet() {
        let mut history = history.clone();
        let Some(run_id) =
            succeeded(&history, "chain").into_iter().find(|run_id| is_unwatched(&history, run_id))
        else {
            continue;
        };
        let last = mark(&history, &run_id, "c", MarkKind::Success, None).expect("the run has succeeded").at;
        cancel(&mut history, &run_id, last + 1).expect("the run was started");
        let report = check(&history);
        assert!(report.holds(), "{}", report.markdown());
        checked += 1;
    }
    assert!(checked >= 5, "{checked}");
}

#[test]
fn a_signal_is_lost_and_the_run_succeeds() {
    accuses(stormy(), &[Promise::P1], |history| {
        let run_id =
            succeeded(history, "gate").into_iter().find(|run_id| taken(history, run_id).is_some())?;
        let signal = taken(history, &run_id)?;
        end_mut(history, &run_id)?.signals.clear();
        Some(vec![run_id, signal])
    });
}

#[test]
fn a_signal_is_lost_and_the_run_waits() {
    accuses(stormy(), &[Promise::P1, Promise::P7], |history| {
        let waits = |run: &&FinalRun| {
            run.status == RunState::Active && run.workflow == "gate" && run.signals.is_empty()
        };
        let run_id = history.end.runs.iter().find(waits)?.run_id.clone();
        let called = started(history, &run_id)? + 5;
        let name = "go".into();
        history.operations.push(Operation {
            client: 99,
            called,
            answered: Some(called + 5),
            request: Request::Signal { run_id: run_id.clone(), name, request_id: "lost-signal".into() },
            answer: Answer::Accepted,
        });
        Some(vec![run_id, "lost-signal".into()])
    });
}

/// The signal that a run took, if its sender was told so.
fn taken(history: &History, run_id: &str) -> Option<String> {
    let signals = &end(history, run_id)?.signals;
    operations(history, run_id).find_map(|operation| match (&operation.request, &operation.answer) {
        (Request::Signal { request_id, .. }, Answer::Accepted) if signals.contains(request_id) => {
            Some(request_id.clone())
        }
        _ => None,
    })
}

/// Whether a client was given the run, and none looked at it.
fn is_unwatched(history: &History, run_id: &str) -> bool {
    started(history, run_id).is_some() && !is_seen(history, run_id)
}

/// An accepted cancel.
fn cancel(history: &mut History, run_id: &str, called: Micros) -> Option<()> {
    started(history, run_id)?;
    history.operations.push(Operation {
        client: 99,
        called,
        answered: Some(called + 10),
        request: Request::Cancel { run_id: run_id.into() },
        answer: Answer::Accepted,
    });
    Some(())
}
