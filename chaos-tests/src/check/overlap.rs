//! P3: the attempts of one step follow each other: none begins before the last mark of an earlier one, each number
//! belongs to one process, and numbers and fences grow.

use std::collections::BTreeMap;

use super::index::{Index, Life, Step};
use super::report::{Promise, Verdict, time};

pub(super) fn check(index: &Index<'_>) -> Verdict {
    let mut verdict = Verdict::new(Promise::P3);
    verdict.count("attempts", 0);
    verdict.count("steps with several attempts", 0);
    for (run, path, step) in index.steps() {
        verdict.count("attempts", step.lives.len() as u64);
        verdict.count("steps with several attempts", u64::from(step.lives.len() > 1));
        verdict.looked(step.lives.len() as u64);
        let place = format!("run `{}`, step `{path}`", run.id);
        started_once(step, &place, &mut verdict);
        one_at_a_time(step, &place, &mut verdict);
        in_order(step, &place, &mut verdict);
    }
    verdict
}

fn started_once(step: &Step<'_>, place: &str, verdict: &mut Verdict) {
    let mut by_number: BTreeMap<u32, &Life<'_>> = BTreeMap::new();
    for life in &step.lives {
        let known = by_number.entry(life.attempt).or_insert(life);
        if !std::ptr::eq(*known, life) {
            verdict.violation(
                life.first,
                format!(
                    "{place}: attempt {} was started twice: {} from {} to {}, and {} from {} to {}",
                    life.attempt,
                    known.name(),
                    time(known.first),
                    time(known.last),
                    life.name(),
                    time(life.first),
                    time(life.last)
                ),
            );
        }
    }
}

fn one_at_a_time(step: &Step<'_>, place: &str, verdict: &mut Verdict) {
    let mut longest: Option<&Life<'_>> = None;
    for life in &step.lives {
        // Times are cut to microseconds: two marks of the same one may have been one after the other.
        if let Some(other) = longest.filter(|other| life.first < other.last && life.attempt != other.attempt)
        {
            verdict.violation(
                life.first,
                format!(
                    "{place}: {} began at {}, while {} lived from {} until at least {}",
                    life.name(),
                    time(life.first),
                    other.name(),
                    time(other.first),
                    time(other.last)
                ),
            );
        }
        if longest.is_none_or(|other| life.last >= other.last) {
            longest = Some(life);
        }
    }
}

fn in_order(step: &Step<'_>, place: &str, verdict: &mut Verdict) {
    for pair in step.lives.windows(2) {
        let [before, after] = pair else { continue };
        if before.attempt == after.attempt {
            continue;
        }
        let problem = if after.attempt < before.attempt {
            "has a lower number"
        } else if after.fence <= before.fence {
            "has no greater fence"
        } else {
            continue;
        };
        verdict.violation(
            after.first,
            format!(
                "{place}: {} began at {} and {problem} than {}, which began at {}",
                after.name(),
                time(after.first),
                before.name(),
                time(before.first)
            ),
        );
    }
}
