//! Linearizability and the agreement of replicas, planted: answers that no order explains.

use meson_chaos_tests::history::RunView;

use super::*;

fn get(run_id: &str, called: Micros, answer: Answer) -> Operation {
    let request = Request::Get { run_id: run_id.into(), stale: false };
    Operation { client: 99, called, answered: Some(called + 10), request, answer }
}

#[test]
fn the_past_is_given_unasked() {
    accuses(stormy(), &[Promise::Linearizable], |history| {
        let operation = history
            .operations
            .iter_mut()
            .find(|operation| matches!(&operation.answer, Answer::Seen(view) if !view.stale))?;
        if let Answer::Seen(view) = &mut operation.answer {
            view.stale = true;
        }
        Some(vec![run_of(operation)?.into(), "from the past".into()])
    });
}

#[test]
fn a_read_goes_back_in_time() {
    accuses(stormy(), &[Promise::Linearizable], |history| {
        let seen = history.operations.iter().find(
            |operation| matches!(&operation.answer, Answer::Seen(view) if !view.stale && view.succeeded > 0),
        )?;
        let Answer::Seen(view) = seen.answer.clone() else { return None };
        let run_id = run_of(seen)?.to_owned();
        let answer = Answer::Seen(RunView { succeeded: view.succeeded - 1, ..view });
        let earlier = get(&run_id, seen.answered? + 1, answer);
        history.operations.push(earlier);
        Some(vec![run_id])
    });
}

#[test]
fn a_started_run_is_not_found() {
    accuses(stormy(), &[Promise::Linearizable], |history| {
        let run_id =
            history.end.runs.iter().find(|run| started(history, &run.run_id).is_some())?.run_id.clone();
        let called = started(history, &run_id)? + 1;
        let answer = Answer::Refused { code: "NotFound".into(), message: String::new() };
        history.operations.push(get(&run_id, called, answer));
        Some(vec![run_id, "NotFound".into()])
    });
}

#[test]
fn a_cancelled_run_goes_on_untouched() {
    accuses(stormy(), &[Promise::Linearizable], |history| {
        let cancelled = |run: &&FinalRun| run.status == RunState::Cancelled && !is_seen(history, &run.run_id);
        let run_id = history.end.runs.iter().find(cancelled)?.run_id.clone();
        let accepted = operations(history, &run_id).find(|operation| {
            matches!((&operation.request, &operation.answer), (Request::Cancel { .. }, Answer::Accepted))
        })?;
        let answer = Answer::Seen(RunView::default());
        let read = get(&run_id, accepted.answered? + 1, answer);
        history.operations.push(read);
        Some(vec![run_id, "winding down after a cancel".into()])
    });
}

#[test]
fn a_run_that_nobody_cancelled_ends_as_cancelled() {
    accuses(stormy(), &[Promise::Linearizable], |history| {
        let run_id = succeeded(history, "fan").into_iter().find(|run_id| {
            !has_cancel(history, run_id) && !is_seen(history, run_id) && started(history, run_id).is_some()
        })?;
        end_mut(history, &run_id)?.status = RunState::Cancelled;
        Some(vec![run_id, "Cancelled".into()])
    });
}

#[test]
fn an_ended_run_has_done_more_later() {
    accuses(stormy(), &[Promise::Linearizable], |history| {
        let seen = history.operations.iter().find(|operation| {
            matches!(&operation.answer, Answer::Seen(view) if !view.stale && view.status != RunState::Active)
        })?;
        let Answer::Seen(view) = seen.answer.clone() else { return None };
        let run_id = run_of(seen)?.to_owned();
        let answer = Answer::Seen(RunView { succeeded: view.succeeded + 1, ..view });
        let later = get(&run_id, seen.answered? + 1, answer);
        history.operations.push(later);
        Some(vec![run_id, "exactly".into()])
    });
}

#[test]
fn replicas_differ() {
    accuses(stormy(), &[Promise::Agreement], |history| {
        history.end.fingerprints.insert("replica-2".into(), "another".into());
        Some(vec!["replica-2".into(), "another".into()])
    });
}
