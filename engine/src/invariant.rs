//! What must hold in every state. Used by property tests, simulation and chaos tests, and by debug builds of the
//! scheduler; reading it is the shortest way to understand the state.

use crate::index;
use crate::record::{Counts, Node, Run};
use crate::state::State;
use crate::status::{NodeStatus, Phase};

/// A state that must not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("broken invariant: {0}")]
pub struct Broken(pub String);

/// Checks everything; costs time in proportion to the state.
///
/// # Errors
/// The first invariant that does not hold.
pub fn check(state: &State) -> Result<(), Broken> {
    let built = index::build(state);
    ensure(built.ready == state.index.ready, || "the ready queue is not what the nodes say".into())?;
    ensure(built.evaluating == state.index.evaluating, || {
        format!("evaluations {:?}, by the records {:?}", state.index.evaluating, built.evaluating)
    })?;
    ensure(built.timers == state.index.timers, || {
        format!("timers {:?}, by the records {:?}", state.index.timers, built.timers)
    })?;
    ensure(built.continuing == state.index.continuing, || {
        format!("continuations {:?}, by the records {:?}", state.index.continuing, built.continuing)
    })?;
    ensure(built.live == state.index.live, || "the living attempts are not what the nodes say".into())?;
    ensure(built.ended == state.index.ended, || "the ended runs are not what the runs say".into())?;
    let newest = state.definitions.values().map(|registered| registered.plan.format()).max().unwrap_or(0);
    ensure(newest <= state.format(), || format!("a definition needs format {newest}"))?;
    for (agent_id, agent) in &state.agents {
        let held = state.held(agent_id);
        ensure(held.fits(agent.total), || {
            format!("P8: agent {agent_id} holds {held:?} of {:?}", agent.total)
        })?;
    }
    state.runs.values().try_for_each(|run| check_run(state, run))
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken(message())) }
}

fn check_run(state: &State, run: &Run) -> Result<(), Broken> {
    let id = &run.info.run_id;
    let mut counts = Counts { total: run.nodes.len() as u32, ..Counts::default() };
    for node in run.nodes.values() {
        if let Some(counter) = counts.of(node.status()) {
            *counter += 1;
        }
    }
    let held = run.nodes.iter().filter(|(_, node)| node.status().is_live());
    for (no, node) in held {
        let holds = node.attempt.as_ref().map(|attempt| attempt.holds);
        let needs = state.needs(run, *no);
        ensure(holds == needs, || format!("run {id}, node {no}: holds {holds:?}, by its step {needs:?}"))?;
    }
    ensure(counts == run.head.counts, || {
        format!("run {id}: tallies {:?}, counted {counts:?}", run.head.counts)
    })?;
    ensure(run.waits == index::waits(state, run), || format!("run {id}: waiting nodes"))?;
    ensure(run.changed.len() == run.nodes.len(), || format!("run {id}: list of changes"))?;
    if run.head.status().is_terminal() {
        let open = run.nodes.iter().find(|(_, node)| !node.status().is_terminal());
        ensure(open.is_none(), || format!("run {id} ended with an open node {open:?}"))?;
    }
    for (key, scope) in &run.scopes {
        let plan = state.plan(run, scope.pin).ok_or_else(|| Broken(format!("run {id}: no plan")))?;
        let body = &plan.bodies[scope.body as usize];
        let numbers = scope.first..scope.first + body.nodes.len() as u32;
        let members = || numbers.clone().filter_map(|no| run.nodes.get(&no));
        ensure(members().all(|node| node.scope() == *key), || format!("run {id}: members of {key:?}"))?;
        let open = members().filter(|node| !node.status().is_terminal()).count() as u32;
        ensure(open == scope.remaining, || format!("run {id}: {key:?} has {open} open nodes: {scope:?}"))?;
        ensure((open == 0) == (scope.phase() != Phase::Open), || format!("run {id}: phase of {key:?}"))?;
        for (no, planned) in numbers.clone().zip(&body.nodes) {
            let needs = planned.needs.iter().filter_map(|place| run.nodes.get(&(scope.first + place)));
            check_node(&run.nodes[&no], needs.map(AsRef::as_ref).collect(), planned.trigger)
                .map_err(|broken| Broken(format!("run {id}, node {no}: {broken}")))?;
        }
    }
    Ok(())
}

/// P6: what has begun had its trigger rule met; pending nodes know their needs.
fn check_node(
    node: &Node,
    needs: Vec<&Node>,
    trigger: meson_workflow::definition::TriggerRule,
) -> Result<(), Broken> {
    use meson_workflow::definition::TriggerRule::*;
    let succeeded = needs.iter().filter(|need| need.status() == NodeStatus::Succeeded).count();
    let ended = needs.iter().filter(|need| need.status().is_terminal()).count();
    if node.status() == NodeStatus::Pending {
        return ensure(node.unmet as usize == needs.len() - ended, || "unmet needs are miscounted".into());
    }
    let began = !matches!(node.status(), NodeStatus::Skipped | NodeStatus::Cancelled);
    let met = match trigger {
        AllSucceeded => succeeded == needs.len(),
        AllDone | NoneFailed => ended == needs.len(),
        AnySucceeded => succeeded > 0 || needs.is_empty(),
    };
    ensure(!began || met, || format!("P6: {:?} although {trigger:?} is not met", node.status()))
}
