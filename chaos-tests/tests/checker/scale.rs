//! Large histories: what a check costs grows with their size, not with its square. Counted in elements looked at, which
//! no busy machine changes.

use meson_chaos_tests::check::{Promise, Report, check};
use meson_chaos_tests::history::{
    Amounts, Answer, Fault, FinalNode, FinalRun, History, Mark, MarkKind, Micros, Operation, Request,
    RunState, RunView, Shape, StepShape,
};

use crate::sim::{self, Size};

/// Elements of a history.
fn elements(history: &History) -> u64 {
    let nodes: usize = history.end.runs.iter().map(|run| 1 + run.nodes.len()).sum();
    (history.operations.len() + history.marks.len() + history.faults.len() + nodes) as u64
}

/// Looks for each element that any rule may take, on the whole.
const LOOKS_MAX: u64 = 12;

fn cheap(history: &History) -> Report {
    let report = check(history);
    let (looks, elements) = (report.looks(), elements(history));
    assert!(looks <= LOOKS_MAX * elements, "{looks} looks at {elements} elements");
    report
}

/// As much as a long test brings.
#[test]
fn a_long_test_is_checked_in_few_looks() {
    let size = Size { clients: 100, operations: 500, executors: 40, faults: 20, beat: 60_000 };
    let history = sim::history(1, size);
    assert!(history.operations.len() >= 50_000, "{}", history.operations.len());
    assert!(history.marks.len() >= 200_000, "{}", history.marks.len());
    let report = cheap(&history);
    assert!(report.holds(), "{}", report.markdown());
}

const STEP: &str = "step";

fn node(path: String, is_step: bool) -> FinalNode {
    FinalNode { path, is_step, status: "SUCCEEDED".into(), attempts: 1 }
}

fn marks(step: &str, attempt: u32, begun: Micros, end: MarkKind) -> [Mark; 2] {
    let mark = |at, kind| Mark {
        at,
        kind,
        run_id: "run".into(),
        step: step.into(),
        attempt,
        fence: u64::from(attempt),
        agent: "agent".into(),
        process: attempt,
    };
    [mark(begun, MarkKind::Start), mark(begun + 5, end)]
}

fn step_shape(needs: &[&str]) -> StepShape {
    let needs = needs.iter().map(ToString::to_string).collect();
    let amounts = Amounts { cpu_millis: 1, mem_bytes: 1 };
    StepShape { needs, amounts, user_attempts_max: u32::MAX, timeout: None }
}

/// One run of this shape, which has succeeded.
fn one_run(steps: &[(&str, StepShape)], nodes: Vec<FinalNode>, marks: Vec<Mark>) -> History {
    let mut history = History { marks, ..History::default() };
    let steps = steps.iter().map(|(path, shape)| (path.to_string(), shape.clone())).collect();
    history.workflows.insert("flow".into(), Shape { steps, ..Shape::default() });
    history.agents.insert("agent".into(), Amounts { cpu_millis: u64::MAX, mem_bytes: u64::MAX });
    history.operations.push(Operation {
        client: 1,
        called: 0,
        answered: Some(1),
        request: Request::Submit { request_id: "request".into(), workflow: "flow".into() },
        answer: Answer::Started { run_id: "run".into() },
    });
    history.end.at = 1_000_000_000_000;
    history.end.runs.push(FinalRun {
        run_id: "run".into(),
        request_id: "request".into(),
        workflow: "flow".into(),
        status: RunState::Succeeded,
        signals: Vec::new(),
        nodes,
    });
    history
}

/// Each of n items of a loop needs all n items of the loop before it.
#[test]
fn a_loop_that_needs_a_loop() {
    let mut found = Vec::new();
    let mut all = Vec::new();
    for (composite, begun) in [("one", 10), ("two", 1_000)] {
        found.push(node(composite.into(), false));
        for item in 0..10_000 {
            let path = format!("{composite}[{item}]/{STEP}");
            all.extend(marks(&path, 1, begun, MarkKind::Success));
            found.push(node(path, true));
        }
    }
    let steps = [("one/step", step_shape(&[])), ("two/step", step_shape(&["one"]))];
    let mut history = one_run(&steps, found, all);
    assert!(cheap(&history).holds());
    // And it is checked: one item of the first loop ends too late.
    let late =
        history.marks.iter_mut().find(|mark| mark.step == "one[5000]/step" && mark.kind == MarkKind::Success);
    late.expect("it has succeeded").at = 1_001;
    let report = cheap(&history);
    assert_eq!(report.broken(), [Promise::P6]);
    assert_eq!(report.verdict(Promise::P6).map(|verdict| verdict.violations.len()), Some(10_000));
}

#[test]
fn a_step_with_very_many_attempts() {
    let mut all = Vec::new();
    for attempt in 1..20_000 {
        all.extend(marks(STEP, attempt, 10 * Micros::from(attempt), MarkKind::Failure));
    }
    all.extend(marks(STEP, 20_000, 200_000, MarkKind::Success));
    let last = FinalNode { attempts: 20_000, ..node(STEP.into(), true) };
    let mut history = one_run(&[(STEP, step_shape(&[]))], vec![last], all);
    for replica in ["replica-1", "replica-2", "replica-3"] {
        history.end.fingerprints.insert(replica.into(), "same".into());
    }
    for kill in 0..5_000 {
        let from = 40 * kill;
        let touches = vec!["replica-1".to_owned()];
        history.faults.push(Fault {
            from,
            until: from + 1,
            what: "kill replica-1".into(),
            touches,
            leader: true,
        });
    }
    let report = cheap(&history);
    assert!(report.holds(), "{}", report.markdown());
    assert_eq!(report.failovers.len(), 5_000);
}

#[test]
fn a_run_that_is_looked_at_and_cancelled_very_often() {
    let mut history = one_run(
        &[(STEP, step_shape(&[]))],
        vec![node(STEP.into(), true)],
        marks(STEP, 1, 10, MarkKind::Success).to_vec(),
    );
    for place in 0..20_000 {
        let called = 100 + 10 * place;
        let view = RunView { status: RunState::Succeeded, succeeded: 1, ..RunView::default() };
        let (request, answer) = match place % 4 {
            0 => (Request::Cancel { run_id: "run".into() }, Answer::Accepted),
            1 if place < 100 => {
                (Request::Cancel { run_id: "run".into() }, Answer::Unknown { code: "?".into() })
            }
            _ => (Request::Get { run_id: "run".into(), stale: false }, Answer::Seen(view)),
        };
        // Four clients at a time.
        let answered = Some(called + 35);
        history.operations.push(Operation { client: (place % 4) as u32, called, answered, request, answer });
    }
    let report = cheap(&history);
    assert!(report.holds(), "{}", report.markdown());
}
