//! P6, planted: steps that begin too early.

use super::*;

/// Has a step of a succeeded run begin just before another one succeeds.
fn too_early(history: &mut History, workflow: &str, step: &str, need: &str) -> Option<Vec<String>> {
    enlarge(history);
    let once = |run_id: &String| {
        let attempts = |step: &str| {
            end(history, run_id)
                .and_then(|end| end.nodes.iter().find(|node| node.path == step).map(|node| node.attempts))
        };
        attempts(step) == Some(1) && attempts(need) == Some(1)
    };
    let run_id = succeeded(history, workflow).into_iter().find(once)?;
    let at = mark(history, &run_id, need, MarkKind::Success, None)?.at - 1;
    mark_mut(history, &run_id, step, MarkKind::Start, None)?.at = at;
    Some(vec![run_id, format!("`{step}`")])
}

#[test]
fn a_step_begins_before_its_need_has_succeeded() {
    accuses(stormy(), &[Promise::P6], |history| too_early(history, "chain", "b", "a"));
}

#[test]
fn a_step_begins_before_a_composite_has_succeeded() {
    accuses(stormy(), &[Promise::P6], |history| {
        let mut words = too_early(history, "fan", "last", "fan[3]/two")?;
        words.push("needs `fan`: fan[".into());
        Some(words)
    });
}

#[test]
fn a_step_in_a_composite_begins_before_the_composites_need() {
    accuses(stormy(), &[Promise::P6], |history| too_early(history, "fan", "fan[1]/one", "first"));
}

/// The need of the iteration before had succeeded; its own had not.
#[test]
fn a_step_of_an_iteration_begins_on_the_need_of_another_one() {
    accuses(stormy(), &[Promise::P6], |history| {
        let mut words = too_early(history, "rounds", "rounds[1]/b", "rounds[1]/a")?;
        words.push("rounds[1]/a was there at".into());
        Some(words)
    });
}

#[test]
fn an_iteration_begins_before_the_one_before_it_is_over() {
    accuses(stormy(), &[Promise::P6], |history| {
        let mut words = too_early(history, "rounds", "rounds[2]/a", "rounds[1]/b")?;
        words.push("iteration 2 of `rounds`".into());
        Some(words)
    });
}

#[test]
fn a_nested_iteration_begins_too_early() {
    accuses(stormy(), &[Promise::P6], |history| {
        too_early(history, "nested", "rounds[1]/regions[0]/train", "rounds[0]/merge")
            .map(|words| vec![words[0].clone(), "iteration 1 of `rounds`".into()])
    });
}

#[test]
fn an_iteration_is_left_out() {
    accuses(stormy(), &[Promise::P5, Promise::P6], |history| {
        let run_id = succeeded(history, "rounds").into_iter().next()?;
        history.marks.retain(|mark| mark.run_id != run_id || !mark.step.starts_with("rounds[1]/"));
        Some(vec![run_id])
    });
}

#[test]
fn an_iteration_follows_one_that_never_began() {
    accuses(stormy(), &[Promise::P6], |history| {
        let run_id = succeeded(history, "rounds").into_iter().next()?;
        let second = |path: &str| path.starts_with("rounds[1]/");
        history.marks.retain(|mark| mark.run_id != run_id || !second(&mark.step));
        let nodes = end_mut(history, &run_id)?.nodes.iter_mut().filter(|node| second(&node.path));
        nodes.for_each(|node| node.status = "SKIPPED".into());
        Some(vec![run_id, "iteration 2 of `rounds`".into(), "nothing of the one before has begun".into()])
    });
}

#[test]
fn an_iteration_follows_one_of_which_nothing_succeeded() {
    accuses(stormy(), &[Promise::P6], |history| {
        let run_id = succeeded(history, "rounds").into_iter().next()?;
        let first = |path: &str| path.starts_with("rounds[0]/");
        let marks = history.marks.iter_mut().filter(|mark| mark.run_id == run_id && first(&mark.step));
        marks.filter(|mark| mark.kind == MarkKind::Success).for_each(|mark| mark.kind = MarkKind::Failure);
        let nodes = end_mut(history, &run_id)?.nodes.iter_mut().filter(|node| first(&node.path));
        nodes.for_each(|node| node.status = "FAILED".into());
        let words = vec![run_id, "nothing of the one before has succeeded".into()];
        Some(words)
    });
}

#[test]
fn a_step_begins_though_its_need_never_ran() {
    accuses(stormy(), &[Promise::P5, Promise::P6], |history| {
        let run_id = succeeded(history, "chain").into_iter().next()?;
        history.marks.retain(|mark| mark.run_id != run_id || mark.step != "a");
        Some(vec![run_id, "no mark of success".into()])
    });
}

#[test]
fn a_step_begins_though_its_need_failed() {
    accuses(stormy(), &[Promise::P6], |history| {
        let run_id = succeeded(history, "chain").into_iter().find(|run_id| !is_seen(history, run_id))?;
        node_mut(history, &run_id, "a")?.status = "SKIPPED".into();
        Some(vec![run_id, "`a` is SKIPPED at the end".into()])
    });
}

#[test]
fn a_step_begins_before_the_signal_was_sent() {
    accuses(stormy(), &[Promise::P6], |history| {
        let run_id = succeeded(history, "gate").into_iter().next()?;
        let begun = mark(history, &run_id, "after", MarkKind::Start, None)?.at;
        for operation in &mut history.operations {
            if matches!(operation.request, Request::Signal { .. }) && run_of(operation) == Some(&run_id) {
                operation.called = operation.called.max(begun + 1);
                operation.answered = operation.answered.map(|answered| answered.max(begun + 2));
            }
        }
        Some(vec![run_id, "the signal `go`".into()])
    });
}
