//! Histories that make no sense at all are judged as well: whatever a broken system or a broken harness writes, the
//! checker gives a report.

use meson_chaos_tests::check::check;
use meson_chaos_tests::history::{Answer, History, MarkKind, Micros, RunState, RunView};

use crate::sim::{self, Random, Size};

#[test]
fn wild_histories_are_judged() {
    let size = Size { clients: 2, operations: 15, faults: 4, ..Size::default() };
    let mut found = 0;
    for seed in 0..200 {
        let mut history = sim::history(seed, size);
        let mut random = Random::new(seed);
        for _ in 0..random.between(1, 12) {
            spoil(&mut history, &mut random);
        }
        let report = check(&history);
        found += usize::from(!report.holds());
        assert!(report.markdown().contains("P8 no overcommit"));
    }
    assert!(found > 100, "spoilt histories are seldom legal, and {found} of 200 were found");
}

fn time(random: &mut Random) -> Micros {
    match random.below(4) {
        0 => 0,
        1 => Micros::MAX,
        _ => random.between(1_000_000_000, 1_010_000_000),
    }
}

fn spoil(history: &mut History, random: &mut Random) {
    let word = ["", "run-1", "a[", "]/[x]/", "fan[99999999999999999999]/one"][random.below(5)].to_owned();
    let number = [0, 1, 7, u32::MAX][random.below(4)];
    let at = time(random);
    let mark = random.below(history.marks.len().max(1));
    let operation = random.below(history.operations.len().max(1));
    let run = random.below(history.end.runs.len().max(1));
    match random.below(16) {
        0 => history.marks.iter_mut().skip(mark).take(1).for_each(|mark| mark.at = at),
        1 => history.marks.iter_mut().skip(mark).take(1).for_each(|mark| mark.step = word.clone()),
        2 => history.marks.iter_mut().skip(mark).take(1).for_each(|mark| mark.run_id = word.clone()),
        3 => history.marks.iter_mut().skip(mark).take(1).for_each(|mark| mark.attempt = number),
        4 => history.marks.iter_mut().skip(mark).take(1).for_each(|mark| mark.fence = u64::from(number)),
        5 => history.marks.iter_mut().skip(mark).take(3).for_each(|mark| mark.kind = MarkKind::Failure),
        6 => history.marks.truncate(mark),
        7 => history.operations.iter_mut().skip(operation).take(1).for_each(|known| known.called = at),
        8 => {
            history.operations.iter_mut().skip(operation).take(1).for_each(|known| known.answered = Some(at))
        }
        9 => history.operations.iter_mut().skip(operation).take(1).for_each(|known| known.answered = None),
        10 => history.operations.iter_mut().skip(operation).take(5).for_each(|known| {
            let view =
                RunView { status: RunState::Failed, succeeded: u64::from(number), ..RunView::default() };
            known.answer = [Answer::Seen(view), Answer::Accepted, Answer::Started { run_id: word.clone() }]
                [number as usize % 3]
                .clone();
        }),
        11 => history.end.runs.iter_mut().skip(run).take(1).for_each(|run| run.status = RunState::Active),
        12 => history.end.runs.iter_mut().skip(run).take(1).for_each(|run| run.nodes.clear()),
        13 => history.end.runs.truncate(run),
        14 => history
            .faults
            .iter_mut()
            .for_each(|fault| (fault.from, fault.until, fault.leader) = (at, at, true)),
        _ => {
            history.agents.values_mut().for_each(|offered| offered.cpu_millis = u64::from(number));
            let shapes = history.workflows.values_mut().flat_map(|shape| shape.steps.values_mut());
            shapes.for_each(|step| {
                (step.amounts.cpu_millis, step.timeout) = (u64::MAX, Some(u64::from(number)));
                step.needs.push(word.clone());
            });
        }
    }
}
