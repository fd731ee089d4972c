//! Place: commits the intent to run a step on an agent, before anything is launched.

use super::{Out, Result, stale};
use crate::command::Place;
use crate::effect::Effect;
use crate::outcome::{Outcome, Refusal, RefusalKind, refused};
use crate::record::{Amounts, Attempt};
use crate::state::State;
use crate::status::NodeStatus;

pub(super) fn apply(state: &mut State, command: Place, out: &mut Out) -> Result {
    let holds = check(state, &command)?;
    state.counters.fences += 1;
    let (fence, term, placed_ms) = (state.counters.fences, state.term, state.now_ms);
    let no = command.node;
    state.flow(command.run, &mut out.effects, |flow| {
        let timeout_ms = flow.planned(no).timeout_ms;
        flow.dequeue(no);
        flow.set_status(no, NodeStatus::Placed);
        let node = flow.node_mut(no);
        let number = node.attempts() + 1;
        let agent = command.agent.clone();
        let executor = command.executor.clone();
        let attempt =
            Attempt { number, agent, executor, fence, term, placed_ms, holds, ..Attempt::default() };
        node.attempt = Some(Box::new(attempt));
        let key = (flow.no, no);
        let mut live = flow.index.live.get(&command.agent).cloned().unwrap_or_default();
        live.insert(key);
        flow.index.live.insert(command.agent, live);
        flow.start_timeout(no, timeout_ms);
        flow.effects.push(Effect::Launch { run: flow.no, node: no });
    });
    Ok(Outcome::done(true))
}

/// The planner worked on an older state: everything it relied on is looked at again. Returns what the attempt holds.
fn check(state: &State, command: &Place) -> std::result::Result<Amounts, Refusal> {
    let run = state.runs.get(&command.run).ok_or_else(|| stale("the run is gone"))?;
    let node = run.nodes.get(&command.node).ok_or_else(|| stale("the step is gone"))?;
    if node.status() != NodeStatus::Ready || node.position == 0 {
        return Err(stale("the step is not ready"));
    }
    let planned = state.planned(run, command.node).ok_or_else(|| stale("the step is gone"))?;
    let step = planned.step().ok_or_else(|| stale("the node is not a step"))?;
    let no_room = |message: String| refused(RefusalKind::NoRoom, message);
    let agent = state
        .agents
        .get(&command.agent)
        .filter(|agent| agent.up)
        .ok_or_else(|| no_room(format!("agent `{}` is not there", command.agent)))?;
    if agent.draining {
        return Err(no_room(format!("agent `{}` is being drained", command.agent)));
    }
    if !agent.kinds.contains(&step.kind) {
        return Err(no_room(format!("agent `{}` runs no steps of kind `{}`", command.agent, step.kind)));
    }
    let needs = state.needs(run, command.node).ok_or_else(|| stale("the node is not a step"))?;
    let free = agent.total.minus(state.held(&command.agent));
    if !needs.fits(free) {
        return Err(no_room(format!("agent `{}` has no room for the step", command.agent)));
    }
    Ok(needs)
}
