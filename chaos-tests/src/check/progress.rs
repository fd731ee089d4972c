//! P7: what was accepted comes to its end, and work goes on soon after the leader was struck.
//!
//! How soon is reported for each blow. It is a violation only beyond a generous bound, and only where a majority of
//! replicas and all executors were well and a step was ready that had room: so the bound is never about luck.

use std::collections::{BTreeMap, BTreeSet};

use super::index::{Index, Life, Run, answered};
use super::needs::Needs;
use super::outages::Outages;
use super::path;
use super::report::{Failover, Promise, Verdict, time};
use crate::history::{Amounts, Answer, Fault, FinalNode, Micros, RunState};

/// The longest that a ready step may wait after the leader was struck.
pub const NEXT_START_MAX: Micros = 10_000_000;

/// How long after its last mark an attempt may still hold what it held.
const RELEASE: Micros = 1_000_000;

pub(super) fn check<'h>(
    index: &Index<'h>,
    outages: &Outages<'_>,
    needs: &mut Needs<'_, 'h>,
) -> (Verdict, Vec<Failover>) {
    let mut verdict = Verdict::new(Promise::P7);
    verdict.count("runs at the end", index.history.end.runs.len() as u64);
    verdict.count("of them waiting for a signal that nobody sent", 0);
    for run in index.runs.values() {
        verdict.looked(1 + run.nodes.len() as u64);
        ended(index, run, &mut verdict);
    }
    let starts = starts(index, needs, &mut verdict);
    let failovers = failovers(index, outages, &starts);
    let kills = failovers.iter().filter(|failover| failover.kill).count() as u64;
    let majority = |failover: &&Failover| failover.kill && failover.majority;
    verdict.count("leader kills", kills);
    verdict.count("of them with a majority up", failovers.iter().filter(majority).count() as u64);
    verdict.count("other blows against the leader", failovers.len() as u64 - kills);
    for failover in &failovers {
        if let Some(next) = failover.next_start.filter(|next| *next > NEXT_START_MAX) {
            late(index, outages, &starts, failover, failover.at + next, &mut verdict);
        }
    }
    (verdict, failovers)
}

fn ended(index: &Index<'_>, run: &Run<'_>, verdict: &mut Verdict) {
    let Some(end) = run.end.filter(|end| end.status == RunState::Active) else { return };
    let why = match waits_in_peace(run) {
        Ok(()) => return verdict.count("of them waiting for a signal that nobody sent", 1),
        Err(why) => why,
    };
    let at = index.history.end.at;
    let sentence =
        format!("run `{}` of workflow `{}` has not ended at {}: {why}", run.id, end.workflow, time(at));
    verdict.violation(at, sentence);
}

/// Whether a run that has not ended rightly waits for a signal; else why not.
fn waits_in_peace(run: &Run<'_>) -> Result<(), String> {
    if run.cancels().next().is_some() {
        return Err("its cancel was accepted".to_owned());
    }
    let open = |node: &&&FinalNode| {
        !matches!(node.status.as_str(), "SUCCEEDED" | "FAILED" | "CANCELLED" | "SKIPPED")
    };
    let still = |node: &FinalNode| matches!(node.status.as_str(), "WAITING" | "PENDING" | "ACTIVE");
    let open: Vec<&&FinalNode> = run.nodes.values().filter(open).collect();
    if let Some(node) = open.iter().find(|node| !still(node)) {
        return Err(format!("`{}` is {}", node.path, node.status));
    }
    let Some(waiting) = open.iter().find(|node| node.status == "WAITING") else {
        return Err("no node of it is under way".to_owned());
    };
    let name = run.shape.and_then(|shape| shape.waits.get(&path::definition(&waiting.path)));
    let taken: BTreeSet<&str> = run.end.iter().flat_map(|end| &end.signals).map(String::as_str).collect();
    let left = run.signals().find(|(signal, id, sent)| {
        matches!(sent.answer, Answer::Accepted)
            && !taken.contains(id)
            && name.is_none_or(|name| name == signal)
    });
    match left {
        Some((_, id, sent)) => Err(format!(
            "`{}` waits, and the signal `{id}` was accepted at {}",
            waiting.path,
            time(answered(sent))
        )),
        None => Ok(()),
    }
}

/// The start of an attempt.
struct Start<'h> {
    at: Micros,
    /// It cannot have been decided before this.
    decided_after: Micros,
    /// It could have been decided from then on; none if that is not known.
    ready: Option<Micros>,
    run_id: &'h str,
    path: &'h str,
    amounts: Amounts,
}

/// All starts, in the order of time.
fn starts<'h>(index: &Index<'h>, needs: &mut Needs<'_, 'h>, verdict: &mut Verdict) -> Vec<Start<'h>> {
    let mut starts = Vec::new();
    for run in index.runs.values() {
        let called = run.started.iter().map(|started| started.called).min();
        let told = run.started.iter().map(|started| answered(started)).min();
        for (path, step) in &run.steps {
            verdict.looked(step.lives.len() as u64);
            let needs = needs.of(run, path);
            let met = needs.iter().filter_map(|(_, need)| need.by.as_ref()).map(|(at, _)| *at).max();
            let surely = needs.iter().map(|(_, need)| need.surely_by).max().flatten();
            let unmet = needs.iter().any(|(_, need)| need.unmet.is_some());
            // Items of a loop may wait for each other, which marks do not show.
            let may_start = step.shape.filter(|_| !path.contains('[') && !unmet && lasts(run));
            let mut before: Option<Micros> = None;
            for life in &step.lives {
                let cause = before.or(met.max(called)).unwrap_or_default();
                let ready = told.map(|told| surely.unwrap_or_default().max(told));
                starts.push(Start {
                    at: life.first,
                    decided_after: cause.min(life.first),
                    ready: ready.filter(|_| may_start.is_some() && before.is_none()),
                    run_id: run.id,
                    path,
                    amounts: may_start.map(|shape| shape.amounts).unwrap_or_default(),
                });
                before = Some(life.last);
            }
        }
    }
    starts.sort_by_key(|start| start.at);
    starts
}

/// Whether nothing may have kept the run from going on.
fn lasts(run: &Run<'_>) -> bool {
    use crate::history::Request;
    run.end.is_some_and(|end| end.status == RunState::Succeeded)
        && !run.operations.iter().any(|operation| matches!(operation.request, Request::Cancel { .. }))
}

fn failovers(index: &Index<'_>, outages: &Outages<'_>, starts: &[Start<'_>]) -> Vec<Failover> {
    // For each cause, the earliest start that this or a later cause had.
    let mut by_cause: Vec<(Micros, Micros)> =
        starts.iter().map(|start| (start.decided_after, start.at)).collect();
    by_cause.sort_unstable();
    let mut earliest = Micros::MAX;
    for (_, at) in by_cause.iter_mut().rev() {
        earliest = earliest.min(*at);
        *at = earliest;
    }
    let mut blows: Vec<&Fault> = index.history.faults.iter().filter(|fault| fault.leader).collect();
    blows.sort_by_key(|fault| fault.from);
    let failover = |fault: &Fault| {
        let next = starts.get(starts.partition_point(|start| start.at < fault.from));
        let decided = by_cause.get(by_cause.partition_point(|(cause, _)| *cause <= fault.from));
        let next_start = next.map(|start| start.at - fault.from);
        let next_start_decided_after = decided.map(|(_, at)| at - fault.from);
        let until = fault.from + next_start.max(next_start_decided_after).unwrap_or_default();
        Failover {
            at: fault.from,
            what: fault.what.clone(),
            kill: fault.what.starts_with("kill"),
            majority: !outages.no_majority.touch(fault.from, until),
            next_start,
            next_start_decided_after,
        }
    };
    blows.into_iter().map(failover).collect()
}

/// Judges a blow that nothing followed for too long: whether some step was ready and had room, while all else was well.
fn late(
    index: &Index<'_>,
    outages: &Outages<'_>,
    starts: &[Start<'_>],
    failover: &Failover,
    next: Micros,
    verdict: &mut Verdict,
) {
    let later = &starts[starts.partition_point(|start| start.at < next)..];
    verdict.looked(later.len() as u64);
    let waited = |start: &Start<'_>| {
        let since = start.ready?.max(failover.at);
        let until = since.saturating_add(NEXT_START_MAX);
        let well =
            !outages.no_majority.touch(failover.at, until) && !outages.any_executor(failover.at, until);
        // A later blow begins the time anew, and is judged by itself.
        let blows = outages.strikes(failover.at.saturating_add(1), until);
        (until < next && well && !blows.iter().any(|fault| fault.leader)).then_some(since)
    };
    let waiting: Vec<(Micros, &Start<'_>)> =
        later.iter().filter_map(|start| Some((waited(start)?, start))).collect();
    let Some(first) = waiting.iter().map(|(since, _)| *since).min() else { return };
    let free = free(index, first, next);
    let fits = |wanted: Amounts| {
        let has = |(cpu_millis, mem_bytes): &(u64, u64)| {
            wanted.cpu_millis <= *cpu_millis && wanted.mem_bytes <= *mem_bytes
        };
        free.iter().any(has)
    };
    let Some((since, start)) = waiting.iter().find(|(_, start)| fits(start.amounts)) else { return };
    verdict.violation(
        failover.at,
        format!(
            "after `{}` at {} no attempt began until {}; step `{}` of run `{}` was ready from {} and had room, a \
             majority of replicas and all executors were well",
            failover.what,
            time(failover.at),
            time(next),
            start.path,
            start.run_id,
            time(*since)
        ),
    );
}

/// What each agent had left all this time, beside all that ran on it at any instant of it.
fn free(index: &Index<'_>, from: Micros, next: Micros) -> Vec<(u64, u64)> {
    let mut free: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (agent, offered) in &index.history.agents {
        free.insert(agent, (offered.cpu_millis, offered.mem_bytes));
    }
    for (_, _, step) in index.steps() {
        let amounts = step.shape.map(|shape| shape.amounts).unwrap_or_default();
        // An attempt is released somewhat after its last mark.
        let ran = |life: &&Life<'_>| life.first < next && life.last.saturating_add(RELEASE) >= from;
        for life in step.lives.iter().filter(ran) {
            if let Some((cpu_millis, mem_bytes)) = free.get_mut(life.agent) {
                *cpu_millis = cpu_millis.saturating_sub(amounts.cpu_millis);
                *mem_bytes = mem_bytes.saturating_sub(amounts.mem_bytes);
            }
        }
    }
    free.into_values().collect()
}
