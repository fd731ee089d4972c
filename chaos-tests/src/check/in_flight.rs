//! P4: an attempt goes on whatever befalls replicas. So another attempt of its step needs a reason: the attempt failed
//! by itself, its time was over, its executor had trouble, or no majority of replicas could lead. A dead, paused or
//! cut-off leader is none, nor is nothing at all.
//!
//! A cancel is no reason either, nor is the failure of another step: both end attempts, and never start others.

use super::index::{Index, Life, Step};
use super::outages::{Outages, RECOVERY};
use super::report::{Promise, Verdict, time};
use crate::history::Micros;

/// By how much an attempt's marks may fall short of its timeout: that counts from its placement, and the last mark may
/// be some time before the end.
const TIMEOUT_SLACK: Micros = 2_000_000;

pub(super) fn check(index: &Index<'_>, outages: &Outages<'_>) -> Verdict {
    let mut verdict = Verdict::new(Promise::P4);
    verdict.count("faults of replicas only", outages.of_replicas.len() as u64);
    for kind in
        [ALIVE, AGAIN, "… of them after a failure of its own", "… of them after a fault that excuses it"]
    {
        verdict.count(kind, 0);
    }
    for (run, path, step) in index.steps() {
        verdict.looked(step.lives.len() as u64);
        for life in &step.lives {
            let strikes = outages.strikes(life.first, life.last);
            verdict.count(ALIVE, strikes.len() as u64);
        }
        for pair in step.lives.windows(2) {
            let [life, next] = pair else { continue };
            // Two processes of one attempt are what P3 is about.
            if next.attempt <= life.attempt {
                continue;
            }
            verdict.count(AGAIN, 1);
            if life.failure.is_some() || timed_out(step, life) {
                verdict.count("… of them after a failure of its own", 1);
            } else if excused(outages, life, next) {
                verdict.count("… of them after a fault that excuses it", 1);
            } else {
                let sentence = sentence(outages, life, next);
                verdict.violation(next.first, format!("run `{}`, step `{path}`: {sentence}", run.id));
            }
        }
    }
    verdict
}

const ALIVE: &str = "attempts alive when a fault struck replicas only (pairs)";
const AGAIN: &str = "attempts followed by another one";

fn timed_out(step: &Step<'_>, life: &Life<'_>) -> bool {
    let timeout = step.shape.and_then(|shape| shape.timeout);
    timeout.is_some_and(|timeout| life.last - life.first >= timeout.saturating_sub(TIMEOUT_SLACK))
}

fn excused(outages: &Outages<'_>, life: &Life<'_>, next: &Life<'_>) -> bool {
    // Trouble reaches as far as its recovery, which the outages' times include; what an attempt meets as it is launched
    // may have begun shortly before its first mark.
    let from = life.first.saturating_sub(RECOVERY);
    outages.executor(life.agent, from, next.first) || outages.no_majority.touch(from, next.first)
}

fn sentence(outages: &Outages<'_>, life: &Life<'_>, next: &Life<'_>) -> String {
    let ended = match life.success {
        Some(at) => format!("succeeded at {}", time(at)),
        None => format!("lived from {} until {} without a failure", time(life.first), time(life.last)),
    };
    let strikes = outages.strikes(life.first, next.first);
    let met: Vec<String> =
        strikes.iter().take(5).map(|fault| format!("`{}` at {}", fault.what, time(fault.from))).collect();
    let met = if met.is_empty() {
        "no fault touched anything".to_owned()
    } else {
        format!("only replicas were touched: {}", met.join(", "))
    };
    format!("{} {ended}, and {} was started at {}; {met}", life.name(), next.name(), time(next.first))
}
