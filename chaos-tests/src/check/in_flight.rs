//! P4: an attempt goes on whatever befalls replicas. So another attempt of its step needs a reason: the attempt failed
//! by itself, its time was over, its executor had trouble, or no majority of replicas could lead. A dead, paused or
//! cut-off leader is none, nor is nothing at all.
//!
//! For the same reason no step fails whose last attempt had not failed by itself.
//!
//! A cancel is no reason either, nor is the failure of another step: both end attempts, and never start others.

use super::index::{Index, Life, Step};
use super::outages::{Outages, RECOVERY};
use super::report::{Promise, Verdict, time};
use crate::history::Micros;

/// By how much an attempt's marks may fall short of its timeout: that counts from its placement, and the last mark may
/// be some time before the end.
const TIMEOUT_SLACK: Micros = 2_000_000;

const ALIVE: &str = "attempts alive when a fault struck replicas only (pairs)";
const AGAIN: &str = "attempts followed by another one";
const OWN: &str = "… of them after a failure of its own";
const EXCUSED: &str = "… of them after a fault that excuses it";
const FAILED: &str = "steps that failed at last";

pub(super) fn check(index: &Index<'_>, outages: &Outages<'_>) -> Verdict {
    let mut verdict = Verdict::new(Promise::P4);
    verdict.count("faults of replicas only", outages.of_replicas.len() as u64);
    [ALIVE, AGAIN, OWN, EXCUSED, FAILED].into_iter().for_each(|kind| verdict.count(kind, 0));
    for (run, path, step) in index.steps() {
        verdict.looked(step.lives.len() as u64);
        for life in &step.lives {
            verdict.count(ALIVE, outages.strikes(life.first, life.last).len() as u64);
        }
        let place = format!("run `{}`, step `{path}`", run.id);
        for pair in step.lives.windows(2) {
            let [life, next] = pair else { continue };
            // Two processes of one attempt are what P3 is about.
            if next.attempt > life.attempt {
                again(outages, step, life, next, &place, &mut verdict);
            }
        }
        let end = run.nodes.get(path).filter(|node| node.status == "FAILED");
        if let Some(last) =
            step.lives.last().filter(|last| end.is_some_and(|end| end.attempts == last.attempt))
        {
            failed(outages, step, last, &place, &mut verdict);
        }
    }
    verdict
}

/// An attempt that was followed by another one.
fn again(
    outages: &Outages<'_>,
    step: &Step<'_>,
    life: &Life<'_>,
    next: &Life<'_>,
    place: &str,
    verdict: &mut Verdict,
) {
    verdict.count(AGAIN, 1);
    if life.failure.is_some() || timed_out(step, life) {
        verdict.count(OWN, 1);
    } else if excused(outages, life, next.first) {
        verdict.count(EXCUSED, 1);
    } else {
        let (ended, next_name, met) = (ended(life), next.name(), met(outages, life, next.first));
        let at = time(next.first);
        let sentence =
            format!("{place}: {} {ended}, and {next_name} was started at {at}; {met}", life.name());
        verdict.violation(next.first, sentence);
    }
}

/// The last attempt of a step that failed.
fn failed(outages: &Outages<'_>, step: &Step<'_>, life: &Life<'_>, place: &str, verdict: &mut Verdict) {
    verdict.count(FAILED, 1);
    let until = life.last.saturating_add(RECOVERY);
    if life.failure.is_none() && !timed_out(step, life) && !excused(outages, life, until) {
        let (ended, met) = (ended(life), met(outages, life, until));
        let sentence = format!("{place}: {} {ended}, and the step has failed; {met}", life.name());
        verdict.violation(life.last, sentence);
    }
}

fn timed_out(step: &Step<'_>, life: &Life<'_>) -> bool {
    let timeout = step.shape.and_then(|shape| shape.timeout);
    timeout.is_some_and(|timeout| life.last - life.first >= timeout.saturating_sub(TIMEOUT_SLACK))
}

fn excused(outages: &Outages<'_>, life: &Life<'_>, until: Micros) -> bool {
    // Trouble reaches as far as its recovery, which the outages' times include; what an attempt meets as it is launched
    // may have begun shortly before its first mark.
    let from = life.first.saturating_sub(RECOVERY);
    outages.executor(life.agent, from, until) || outages.no_majority.touch(from, until)
}

fn ended(life: &Life<'_>) -> String {
    match life.success {
        Some(at) => format!("succeeded at {}", time(at)),
        None => format!("lived from {} until {} without a failure", time(life.first), time(life.last)),
    }
}

/// What befell the cluster meanwhile, which is no excuse.
fn met(outages: &Outages<'_>, life: &Life<'_>, until: Micros) -> String {
    let strikes = outages.strikes(life.first, until);
    let met: Vec<String> =
        strikes.iter().take(5).map(|fault| format!("`{}` at {}", fault.what, time(fault.from))).collect();
    if met.is_empty() {
        return "no fault touched anything".to_owned();
    }
    format!("only replicas were touched: {}", met.join(", "))
}
