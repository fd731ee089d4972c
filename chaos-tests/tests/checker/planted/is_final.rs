//! P5, planted: what had ended goes on, or ended otherwise.

use meson_chaos_tests::history::{Fault, RunView};

use super::*;

/// The place of an answer that showed a run as ended, from the past or not.
fn ended_view(history: &History, stale: bool) -> Option<usize> {
    history.operations.iter().position(|operation| match &operation.answer {
        Answer::Seen(view) => view.status != RunState::Active && view.stale == stale,
        _ => false,
    })
}

fn other(status: RunState) -> RunState {
    if status == RunState::Failed { RunState::Cancelled } else { RunState::Failed }
}

#[test]
fn a_run_ends_in_two_ways() {
    accuses(stormy(), &[Promise::P5, Promise::Linearizable], |history| {
        let place = ended_view(history, false)?;
        let run_id = run_of(&history.operations[place])?.to_owned();
        if let Answer::Seen(view) = &mut history.operations[place].answer {
            view.status = other(view.status);
        }
        Some(vec![run_id])
    });
}

#[test]
fn an_answer_from_the_past_shows_an_end_that_never_was() {
    accuses(stormy(), &[Promise::P5], |history| {
        let place = ended_view(history, true)?;
        let run_id = run_of(&history.operations[place])?.to_owned();
        if let Answer::Seen(view) = &mut history.operations[place].answer {
            view.status = other(view.status);
        }
        Some(vec![run_id])
    });
}

#[test]
fn an_ended_run_is_active_again() {
    accuses(stormy(), &[Promise::P5, Promise::Linearizable], |history| {
        let place = ended_view(history, false)?;
        let mut again = history.operations[place].clone();
        again.client = 99;
        again.called = again.answered? + 1;
        again.answered = Some(again.called + 10);
        if let Answer::Seen(view) = &mut again.answer {
            view.status = RunState::Active;
        }
        let run_id = run_of(&again)?.to_owned();
        history.operations.push(again);
        Some(vec![run_id, "Active".into()])
    });
}

#[test]
fn an_answer_from_the_past_may_show_the_run_before_its_end() {
    let mut checked = 0;
    for history in stormy() {
        let mut history = history.clone();
        let Some(place) = ended_view(&history, false) else { continue };
        let mut again = history.operations[place].clone();
        again.called = again.answered.expect("it was answered") + 1;
        again.answered = Some(again.called + 10);
        again.request = Request::Get { run_id: run_of(&again).expect("it names a run").into(), stale: true };
        again.answer = Answer::Seen(RunView { stale: true, ..RunView::default() });
        history.operations.push(again);
        let report = check(&history);
        assert!(report.holds(), "{}", report.markdown());
        checked += 1;
    }
    assert!(checked >= 5, "{checked}");
}

#[test]
fn the_end_differs_from_what_was_shown() {
    accuses(stormy(), &[Promise::P5, Promise::Linearizable], |history| {
        let place = history.operations.iter().position(|operation| match &operation.answer {
            Answer::Seen(view) => view.status == RunState::Succeeded && !view.stale,
            _ => false,
        })?;
        let run_id = run_of(&history.operations[place])?.to_owned();
        if has_cancel(history, &run_id) {
            return None;
        }
        end_mut(history, &run_id)?.status = RunState::Failed;
        Some(vec![run_id, "Failed".into()])
    });
}

#[test]
fn a_step_that_failed_for_good_begins_again() {
    accuses(quiet(), &[Promise::P5], |history| {
        enlarge(history);
        let failed = |run: &&FinalRun| run.workflow == "flaky" && run.status == RunState::Failed;
        let run_id = history.end.runs.iter().find(failed)?.run_id.clone();
        let third = mark(history, &run_id, "try", MarkKind::Failure, Some(3))?.clone();
        for (at, kind) in [(third.at + 50_000, MarkKind::Start), (third.at + 60_000, MarkKind::Failure)] {
            let (fence, process) = (third.fence + 1_000_000, 77_777);
            history.marks.push(Mark { at, kind, attempt: 4, fence, process, ..third.clone() });
        }
        node_mut(history, &run_id, "try")?.attempts = 4;
        Some(vec![run_id, "3. time of 3".into(), "attempt 4".into()])
    });
}

#[test]
fn a_step_begins_after_its_run_was_shown_as_ended() {
    accuses(quiet(), &[Promise::P5], |history| {
        let needs_nothing = ["a", "first", "prepare", "before", "try"];
        let unbegun = |node: &&FinalNode| node.attempts == 0 && needs_nothing.contains(&node.path.as_str());
        let mut cancelled = history.end.runs.iter().filter(|run| run.status == RunState::Cancelled);
        let run = cancelled.find(|run| run.nodes.iter().any(|node| unbegun(&node)))?;
        let run_id = run.run_id.clone();
        let step = run.nodes.iter().find(unbegun)?.path.clone();
        let called = history.end.at - 100;
        history.operations.push(Operation {
            client: 99,
            called,
            answered: Some(called + 10),
            request: Request::Get { run_id: run_id.clone(), stale: true },
            answer: Answer::Seen(RunView { status: RunState::Cancelled, stale: true, ..RunView::default() }),
        });
        let at = called + 20;
        node_mut(history, &run_id, &step)?.attempts = 1;
        let agent = "executor-1".to_owned();
        history.marks.push(Mark {
            at,
            kind: MarkKind::Start,
            run_id: run_id.clone(),
            step: step.clone(),
            attempt: 1,
            fence: 1,
            agent,
            process: 77_777,
        });
        Some(vec![run_id, step, "shown as ended".into()])
    });
}

#[test]
fn a_success_is_recorded_that_no_attempt_had() {
    accuses(stormy(), &[Promise::P5], |history| {
        let run_id = succeeded(history, "chain").into_iter().find(|run_id| !has_cancel(history, run_id))?;
        mark_mut(history, &run_id, "c", MarkKind::Success, None)?.kind = MarkKind::Beat;
        Some(vec![run_id, "no mark of success".into()])
    });
}

/// As when a late report of an attempt that was given up is taken for one of the attempt after it.
#[test]
fn the_success_of_an_attempt_is_recorded_for_the_next_one() {
    accuses(quiet(), &[Promise::P5], |history| {
        let (run_id, step) = retried(history)
            .into_iter()
            .find(|(run_id, step)| mark(history, run_id, step, MarkKind::Success, Some(2)).is_some())?;
        let first = mark_mut(history, &run_id, &step, MarkKind::Failure, Some(1))?;
        first.kind = MarkKind::Success;
        let (from, agent) = (first.at, first.agent.clone());
        mark_mut(history, &run_id, &step, MarkKind::Success, Some(2))?.kind = MarkKind::Beat;
        let what = format!("kill {agent}");
        history.faults.push(Fault { from, until: from + 1, what, touches: vec![agent], leader: false });
        Some(vec![run_id, step, "by attempt 2, which has no mark of success".into()])
    });
}

#[test]
fn the_record_does_not_know_of_an_attempt() {
    accuses(quiet(), &[Promise::P5], |history| {
        let (run_id, step) = retried(history).into_iter().next()?;
        node_mut(history, &run_id, &step)?.attempts = 1;
        Some(vec![run_id, step, "knows of 1 attempts".into()])
    });
}

/// The step's success had been recorded, since what needs it had begun; then its executor died, and it ran again.
#[test]
fn a_step_runs_again_after_its_success_was_recorded() {
    accuses(quiet(), &[Promise::P5], |history| {
        enlarge(history);
        let run_id = succeeded(history, "chain").into_iter().find(|run_id| !is_seen(history, run_id))?;
        let begun = mark(history, &run_id, "b", MarkKind::Start, None)?.at;
        let first = mark(history, &run_id, "a", MarkKind::Success, None)?.clone();
        node_mut(history, &run_id, "a")?.attempts = 2;
        history.faults.push(Fault {
            from: first.at + 1,
            until: first.at + 1,
            what: format!("kill {}", first.agent),
            touches: vec![first.agent.clone()],
            leader: false,
        });
        for (at, kind) in [(begun + 10, MarkKind::Start), (begun + 20, MarkKind::Success)] {
            let (fence, process) = (first.fence + 1_000_000, 77_777);
            history.marks.push(Mark { at, kind, attempt: 2, fence, process, ..first.clone() });
        }
        Some(vec![run_id, "attempt 2".into(), "had succeeded when `b`".into()])
    });
}
