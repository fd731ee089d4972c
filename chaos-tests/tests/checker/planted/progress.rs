//! P7, planted: work that stands still; and standing still that has a reason.

use meson_chaos_tests::check::NEXT_START_MAX;
use meson_chaos_tests::history::Fault;

use super::*;

#[test]
fn a_run_never_ends() {
    accuses(stormy(), &[Promise::P7], |history| {
        let run_id = succeeded(history, "chain")
            .into_iter()
            .find(|run_id| !is_seen(history, run_id) && !has_cancel(history, run_id))?;
        end_mut(history, &run_id)?.status = RunState::Active;
        node_mut(history, &run_id, "c")?.status = "READY".into();
        Some(vec![run_id, "`c` is READY".into()])
    });
}

#[test]
fn a_run_waits_for_nothing() {
    accuses(stormy(), &[Promise::P7], |history| {
        let run = history.end.runs.iter_mut().find(|run| run.status == RunState::Active)?;
        let gate = run.nodes.iter_mut().find(|node| node.status == "WAITING")?;
        gate.status = "PENDING".into();
        Some(vec![run.run_id.clone(), "no node of it is under way".into()])
    });
}

/// Kills the leader while a step is ready, and has the world stand still for a while. Gives the run and the kill's time.
fn stand_still(history: &mut History) -> Option<(String, Micros)> {
    enlarge(history);
    let run_id = succeeded(history, "chain").into_iter().find(|run_id| !has_cancel(history, run_id))?;
    let from = mark(history, &run_id, "a", MarkKind::Success, None)?.at + 1;
    if from >= mark(history, &run_id, "b", MarkKind::Start, None)?.at || started(history, &run_id)? > from {
        return None;
    }
    let later = |at: &mut Micros| *at += if *at > from { 3 * NEXT_START_MAX } else { 0 };
    history.marks.iter_mut().for_each(|mark| later(&mut mark.at));
    for operation in &mut history.operations {
        later(&mut operation.called);
        operation.answered.iter_mut().for_each(later);
    }
    later(&mut history.end.at);
    strike(history, from, "kill replica-1", &["replica-1"], true);
    Some((run_id, from))
}

fn strike(history: &mut History, from: Micros, what: &str, touches: &[&str], leader: bool) {
    let touches = touches.iter().map(ToString::to_string).collect();
    history.faults.push(Fault { from, until: from + 100_000, what: what.into(), touches, leader });
}

#[test]
fn nothing_starts_for_long_after_the_leader_was_killed() {
    let reports = accuses(quiet(), &[Promise::P7], |history| {
        let (_, from) = stand_still(history)?;
        Some(vec!["`kill replica-1`".into(), format!("at {}.{:06} s", from / 1_000_000, from % 1_000_000)])
    });
    for report in reports {
        let latency = report.decided_start_after_kill().expect("the leader was killed once");
        assert_eq!(latency.count, 1);
        assert!(latency.max > 3 * NEXT_START_MAX && latency.max < 4 * NEXT_START_MAX, "{latency:?}");
    }
}

#[test]
fn standing_still_without_a_majority_or_an_executor_or_room_is_no_violation() {
    type Excuse = fn(&mut History, Micros);
    let excuses: [Excuse; 4] = [
        |history, from| strike(history, from + 50_000, "kill replica-3", &["replica-3"], false),
        |history, from| strike(history, from + 50_000, "kill executor-1", &["executor-1"], false),
        |history, from| strike(history, from + 5_000_000, "kill replica-2", &["replica-2"], true),
        |history, _| history.agents.values_mut().for_each(|offered| offered.cpu_millis = 0),
    ];
    for excuse in excuses {
        let mut excused = 0;
        for history in quiet() {
            let mut history = history.clone();
            let Some((_, from)) = stand_still(&mut history) else { continue };
            excuse(&mut history, from);
            let late = check(&history);
            let verdict = late.verdict(Promise::P7).expect("there is a verdict for each promise");
            // The later blow against the leader is judged by itself.
            let at_first = verdict.violations.iter().any(|violation| violation.at == from);
            assert!(!at_first, "{}", late.markdown());
            excused += 1;
        }
        assert!(excused >= 5, "{excused}");
    }
}
