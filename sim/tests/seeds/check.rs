//! What is checked when everything has ended; what is checked on the way is in `history`.

use std::time::Duration;

use meson_engine::ids::NodeNo;
use meson_engine::record::Run;
use meson_engine::status::{NodeStatus, RunStatus};
use meson_scheduler::shared::Shared;

use crate::history::{History, bytes_of::fingerprint};
use crate::world::{Host, World};

/// Whether every run that was ever started has ended.
pub fn all_ended(world: &World) -> bool {
    let ended = |run: &Run| RunStatus::try_from(run.head.status).is_ok_and(RunStatus::is_terminal);
    world.history(|history| Ok(history.newest().runs.values().all(|run| ended(run)))).unwrap_or_default()
}

/// The last checks.
pub async fn at_the_end(world: &World, in_peace: bool) {
    // The last entries reach the followers.
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.history(|history| {
        accepted_is_kept(history)?;
        recorded_is_what_ran(history)?;
        if in_peace { in_flight_stays_in_flight(history) } else { Ok(()) }
    });
    let voters = voters(world);
    world.history(|history| {
        let broken = history.replaced.iter().find(|(old, new)| {
            voters.contains(old)
                || (!voters.contains(new) && !history.replaced.iter().any(|(later, _)| later == new))
        });
        match broken {
            Some((old, new)) => Err(format!("{old} was replaced by {new}, and these have votes: {voters:?}")),
            None => Ok(()),
        }
    });
    let state_of = |host| world.up(host).map(|up| fingerprint(&up.shared.published.state()));
    let states: Vec<_> = voters.into_iter().map(|host| (host, state_of(host))).collect();
    if states.iter().any(|(_, state)| *state != states[0].1 || state.is_none()) || states.len() < 3 {
        world.fail(format!("the replicas end in different states: {states:x?}"));
    }
}

/// Who has a vote, as the leader has it.
fn voters(world: &World) -> Vec<Host> {
    let leaders = world.replicas().into_iter().filter_map(|host| world.up(host));
    let leader = leaders.map(|up| up.shared).find(Shared::is_leading);
    let members = leader.map(|shared| shared.replica.status().members).unwrap_or_default();
    members.into_iter().filter(|member| member.voter).map(|member| member.member.node_id).collect()
}

/// P1 and P2.
fn accepted_is_kept(history: &History) -> Result<(), String> {
    let state = history.newest();
    for (request, run) in &history.started {
        if state.run(run).is_none() {
            return Err(format!("P1: {request} was answered with run {run}, which is lost"));
        }
        let known = state.requests.get(request).map(|known| &known.run_id);
        if known != Some(run) {
            return Err(format!("P2: {request} was answered with run {run}, and is now of {known:?}"));
        }
    }
    if state.runs.len() != history.started.len() {
        return Err(format!("P2: {} requests, {} runs", history.started.len(), state.runs.len()));
    }
    for run in &history.cancelled {
        let status = state.run(run).map(|run| run.head.status).unwrap_or_default();
        if !RunStatus::try_from(status).is_ok_and(RunStatus::is_terminal) {
            return Err(format!("P1: the cancel of {run} was answered, and it is in {status}"));
        }
    }
    Ok(())
}

/// P5: what is recorded as succeeded ran to its end, as exactly this attempt.
fn recorded_is_what_ran(history: &History) -> Result<(), String> {
    for run in history.newest().runs.values() {
        for (no, node) in &run.nodes {
            let Some(attempt) = &node.attempt else { continue };
            let ran = history.attempts.get(&((run.info.run_id.clone(), *no), attempt.number));
            let well = ran.is_some_and(|ran| ran.ended == Some(true));
            if node.status() == NodeStatus::Succeeded && !well {
                let text = "is recorded as succeeded, but did not";
                return Err(format!("P5: attempt {} of {} {text}", attempt.number, place(run, *no)));
            }
        }
    }
    Ok(())
}

/// P4, where executors were left in peace: an attempt is followed by another only when it failed by itself.
fn in_flight_stays_in_flight(history: &History) -> Result<(), String> {
    for ((step, number), ran) in &history.attempts {
        let next = history.attempts.contains_key(&(step.clone(), number + 1));
        if next && (ran.ended != Some(false) || ran.cut_short) {
            return Err(format!(
                "P4: attempt {number} of {step:?} was in flight, and was started again: {ran:?}"
            ));
        }
    }
    Ok(())
}

fn place(run: &Run, no: NodeNo) -> String {
    format!("node {no} of {}", run.info.run_id)
}
