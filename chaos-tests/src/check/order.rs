//! P6: a step's first attempt begins after all that the step needs has succeeded; and an iteration of a `repeat` begins
//! after the one before it.

use std::collections::BTreeMap;

use super::index::{Index, Run};
use super::needs::{Need, Needs};
use super::path;
use super::report::{Promise, Verdict, time};
use crate::history::Micros;

pub(super) fn check<'h>(index: &Index<'h>, needs: &mut Needs<'_, 'h>) -> Verdict {
    let mut verdict = Verdict::new(Promise::P6);
    for kind in ["pairs of a step and what it needs", "pairs of an iteration and the one before it"] {
        verdict.count(kind, 0);
    }
    for (run, path, step) in index.steps() {
        let Some(first) = step.lives.first() else { continue };
        verdict.looked(1);
        for (node, need) in needs.of(run, path) {
            verdict.looked(need.looks);
            verdict.count("pairs of a step and what it needs", 1);
            if let Some(problem) = problem(&need, first.first) {
                verdict.violation(
                    first.first,
                    format!(
                        "run `{}`, step `{path}`: {} began at {}, and needs `{node}`: {problem}",
                        run.id,
                        first.name(),
                        time(first.first)
                    ),
                );
            }
        }
    }
    index.runs.values().for_each(|run| iterations_follow(run, &mut verdict));
    verdict
}

fn problem(need: &Need, begun: Micros) -> Option<String> {
    match &need.by {
        Some((at, path)) if *at > begun => Some(format!("{path} was there at {} only", time(*at))),
        _ => need.unmet.clone(),
    }
}

/// When an iteration's steps began and succeeded.
#[derive(Default)]
struct Iteration<'p> {
    begun: Option<(Micros, &'p str)>,
    succeeded: Option<(Micros, &'p str)>,
}

fn iterations_follow(run: &Run<'_>, verdict: &mut Verdict) {
    let Some(shape) = run.shape.filter(|shape| !shape.repeats.is_empty()) else { return };
    let mut iterations: BTreeMap<(&str, u64), Iteration<'_>> = BTreeMap::new();
    for (path, step) in &run.steps {
        for (composite, place) in path::iterations(path) {
            verdict.looked(1);
            if !shape.repeats.contains(&path::definition(composite)) {
                continue;
            }
            let iteration = iterations.entry((composite, place)).or_default();
            let begun = step.lives.iter().map(|life| (life.first, *path)).min();
            iteration.begun = [iteration.begun, begun].into_iter().flatten().min();
            let succeeded = step.first_success().map(|at| (at, *path));
            iteration.succeeded = iteration.succeeded.max(succeeded);
        }
    }
    for (before, after) in iterations.iter().zip(iterations.iter().skip(1)) {
        let (((composite, previous), before), ((same, place), after)) = (before, after);
        let Some((begun, path)) = after.begun.filter(|_| composite == same) else { continue };
        verdict.count("pairs of an iteration and the one before it", 1);
        let problem = match before.succeeded {
            _ if previous + 1 != *place => "nothing of the one before has begun".to_owned(),
            Some((at, last)) if at > begun => format!("`{last}` of the one before succeeded at {}", time(at)),
            Some(_) => continue,
            None => "nothing of the one before has succeeded".to_owned(),
        };
        verdict.violation(
            begun,
            format!(
                "run `{}`, iteration {place} of `{composite}` began at {} with `{path}`, and {problem}",
                run.id,
                time(begun)
            ),
        );
    }
}
