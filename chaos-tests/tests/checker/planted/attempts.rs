//! P3, P4 and P8, planted: attempts that overlap, that are started without need, that hold too much.

use meson_chaos_tests::history::{Amounts, Fault};

use super::*;

#[test]
fn two_attempts_overlap() {
    accuses(stormy(), &[Promise::P3], |history| {
        enlarge(history);
        let (run_id, step) = retried(history).into_iter().next()?;
        let second = mark(history, &run_id, &step, MarkKind::Start, Some(2))?.at;
        let first = mark(history, &run_id, &step, MarkKind::Failure, Some(1))?.clone();
        history.marks.push(Mark { at: second + 1, kind: MarkKind::Beat, ..first });
        Some(vec![run_id, step, "attempt 1".into(), "attempt 2".into()])
    });
}

#[test]
fn an_attempt_overlaps_one_that_is_long_past_its_next() {
    accuses(stormy(), &[Promise::P3], |history| {
        enlarge(history);
        let (run_id, step) = retried(history)
            .into_iter()
            .find(|(run_id, step)| mark(history, run_id, step, MarkKind::Start, Some(3)).is_some())?;
        let third = mark(history, &run_id, &step, MarkKind::Start, Some(3))?.at;
        let first = mark(history, &run_id, &step, MarkKind::Failure, Some(1))?.clone();
        history.marks.push(Mark { at: third + 1, kind: MarkKind::Beat, ..first });
        Some(vec![run_id, step, "attempt 1".into(), "attempt 3".into()])
    });
}

#[test]
fn an_attempt_is_started_twice() {
    accuses(stormy(), &[Promise::P3], |history| {
        enlarge(history);
        let first = history.marks.first()?.clone();
        let own = |mark: &&Mark| mark.run_id == first.run_id && mark.step == first.step && mark.attempt == 1;
        let twins: Vec<Mark> = history.marks.iter().filter(own).cloned().collect();
        history.marks.extend(twins.into_iter().map(|mark| Mark { process: 77_777, ..mark }));
        Some(vec![first.run_id, first.step, "started twice".into(), "77777".into()])
    });
}

#[test]
fn a_fence_does_not_grow() {
    accuses(stormy(), &[Promise::P3], |history| {
        let (run_id, step) = retried(history).into_iter().next()?;
        let fence = mark(history, &run_id, &step, MarkKind::Start, Some(1))?.fence;
        for mark in &mut history.marks {
            if mark.run_id == run_id && mark.step == step && mark.attempt == 2 {
                mark.fence = fence;
            }
        }
        Some(vec![run_id, step, "no greater fence".into()])
    });
}

#[test]
fn the_numbers_of_attempts_are_mixed_up() {
    accuses(stormy(), &[Promise::P3, Promise::P5], |history| {
        let (run_id, step) = retried(history)
            .into_iter()
            .find(|(run_id, step)| mark(history, run_id, step, MarkKind::Success, Some(2)).is_some())?;
        let own = history.marks.iter_mut().filter(|mark| mark.run_id == run_id && mark.step == step);
        own.for_each(|mark| mark.attempt = 3 - mark.attempt);
        Some(vec![run_id, step])
    });
}

/// The leader is killed in the middle of an attempt, which is then started again.
#[test]
fn an_attempt_is_started_again_when_the_leader_dies() {
    accuses(quiet(), &[Promise::P4], |history| {
        let (run_id, step) = retried(history).into_iter().next()?;
        let from = mark(history, &run_id, &step, MarkKind::Start, Some(1))?.at + 1;
        let ended = mark_mut(history, &run_id, &step, MarkKind::Failure, Some(1))?;
        ended.kind = MarkKind::Beat;
        let what = "kill replica-2".to_owned();
        let touches = vec!["replica-2".to_owned()];
        history.faults.push(Fault { from, until: from + 100_000, what, touches, leader: true });
        Some(vec![run_id, step, "`kill replica-2`".into()])
    });
}

#[test]
fn an_attempt_is_started_again_for_no_reason() {
    accuses(quiet(), &[Promise::P4], |history| {
        let (run_id, step) = retried(history).into_iter().next()?;
        mark_mut(history, &run_id, &step, MarkKind::Failure, Some(1))?.kind = MarkKind::Beat;
        Some(vec![run_id, step, "no fault touched anything".into()])
    });
}

#[test]
fn an_attempt_succeeds_and_is_started_again() {
    accuses(quiet(), &[Promise::P4], |history| {
        let (run_id, step) = retried(history).into_iter().next()?;
        mark_mut(history, &run_id, &step, MarkKind::Failure, Some(1))?.kind = MarkKind::Success;
        Some(vec![run_id, step, "succeeded at".into()])
    });
}

#[test]
fn a_step_fails_whose_attempt_had_not() {
    accuses(quiet(), &[Promise::P4], |history| {
        let failed = |run: &&FinalRun| {
            run.workflow == "flaky" && run.status == RunState::Failed && !has_cancel(history, &run.run_id)
        };
        let run_id = history.end.runs.iter().find(failed)?.run_id.clone();
        mark_mut(history, &run_id, "try", MarkKind::Failure, Some(3))?.kind = MarkKind::Beat;
        Some(vec![run_id, "attempt 3".into(), "the step has failed".into()])
    });
}

/// What must not be accused: the same, with what excuses it.
#[test]
fn trouble_of_the_executor_a_lost_majority_and_a_timeout_are_reasons() {
    type Excuse = fn(&mut History, Mark) -> Option<()>;
    fn fault(history: &mut History, from: Micros, touches: &[&str]) {
        let touches = touches.iter().map(ToString::to_string).collect();
        history.faults.push(Fault { from, until: from, what: "kill".into(), touches, leader: false });
    }
    let excuses: [Excuse; 3] = [
        |history, start| {
            let agent = start.agent;
            fault(history, start.at + 1, &[&agent]);
            Some(())
        },
        |history, start| {
            fault(history, start.at + 1, &["replica-1", "replica-3"]);
            Some(())
        },
        |history, start| {
            let workflow = end(history, &start.run_id)?.workflow.clone();
            let shape = history.workflows.get_mut(&workflow)?;
            shape.steps.values_mut().for_each(|step| step.timeout = Some(2_000_000));
            Some(())
        },
    ];
    for excuse in excuses {
        let mut excused = 0;
        for history in quiet() {
            let mut history = history.clone();
            let Some((run_id, step)) = retried(&history).into_iter().next() else { continue };
            let start = mark(&history, &run_id, &step, MarkKind::Start, Some(1)).cloned();
            mark_mut(&mut history, &run_id, &step, MarkKind::Failure, Some(1)).expect("it failed").kind =
                MarkKind::Beat;
            excuse(&mut history, start.expect("it began")).expect("the run is there");
            let report = check(&history);
            assert!(report.holds(), "{}", report.markdown());
            excused += 1;
        }
        assert!(excused >= 5, "{excused}");
    }
}

/// A leader killed elsewhere in time, or the trouble of another executor, excuses nothing.
#[test]
fn trouble_of_others_is_no_reason() {
    accuses(quiet(), &[Promise::P4], |history| {
        let (run_id, step) = retried(history).into_iter().next()?;
        let start = mark(history, &run_id, &step, MarkKind::Start, Some(1))?.clone();
        mark_mut(history, &run_id, &step, MarkKind::Failure, Some(1))?.kind = MarkKind::Beat;
        let other = history.agents.keys().find(|agent| **agent != start.agent)?.clone();
        for (from, name) in [(start.at + 1, other), (start.at + 60_000_000, start.agent)] {
            let what = format!("kill {name}");
            history.faults.push(Fault { from, until: from, what, touches: vec![name], leader: false });
        }
        Some(vec![run_id, step])
    });
}

#[test]
fn attempts_hold_more_cores_than_there_are() {
    accuses(stormy(), &[Promise::P8], |history| {
        let busy = history.agents.get_mut("executor-1")?;
        *busy = Amounts { cpu_millis: 400, ..*busy };
        Some(vec!["executor-1".into(), "offered 400 thousandths".into()])
    });
}

#[test]
fn attempts_hold_more_memory_than_there_is() {
    accuses(stormy(), &[Promise::P8], |history| {
        history.agents.get_mut("executor-2")?.mem_bytes = (1 << 28) - 1;
        Some(vec!["executor-2".into(), format!("and {} bytes", (1 << 28) - 1)])
    });
}

/// Two agents' work on one: each attempt alone fits.
#[test]
fn attempts_hold_too_much_together() {
    accuses(quiet(), &[Promise::P8], |history| {
        let offered = *history.agents.get("executor-1")?;
        let peak = both_together(history);
        history.marks.iter_mut().for_each(|mark| mark.agent = "executor-1".into());
        (peak > offered.cpu_millis).then(|| vec!["executor-1".into()])
    });
}

/// The most that all attempts of a history hold at one instant, counted the slow way.
fn both_together(history: &History) -> u64 {
    let mut lives: std::collections::BTreeMap<(&str, &str, u32), (Micros, Micros)> = Default::default();
    for mark in &history.marks {
        let life = lives.entry((&mark.run_id, &mark.step, mark.attempt)).or_insert((mark.at, mark.at));
        *life = (life.0.min(mark.at), life.1.max(mark.at));
    }
    let held = |run_id: &str, step: &str| {
        let shape = &history.workflows[&end(history, run_id).expect("it is there").workflow];
        let plain: String =
            step.split('/').map(|part| part.split('[').next().unwrap_or(part)).collect::<Vec<_>>().join("/");
        shape.steps[&plain].amounts.cpu_millis
    };
    let at = |instant: Micros| {
        let alive = lives.iter().filter(|(_, (first, last))| *first <= instant && instant < *last);
        alive.map(|((run_id, step, _), _)| held(run_id, step)).sum()
    };
    lives.values().map(|(first, _)| at(*first)).max().unwrap_or_default()
}

#[test]
fn an_agent_that_offered_nothing_runs_something() {
    accuses(stormy(), &[Promise::P8], |history| {
        let mark = history.marks.first()?.clone();
        let own = |known: &Mark| known.run_id == mark.run_id && known.step == mark.step && known.attempt == 1;
        history.marks.iter_mut().filter(|known| own(known)).for_each(|mark| mark.agent = "ghost".into());
        // Without its agent's trouble, a second attempt would have no reason.
        let retried = self::mark(history, &mark.run_id, &mark.step, MarkKind::Start, Some(2)).is_some();
        (!retried).then(|| vec!["ghost".into()])
    });
}
