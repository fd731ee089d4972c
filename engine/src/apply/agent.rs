//! Agents: where attempts run. An agent that is lost takes its attempts with it, once the scheduler has waited longer
//! than the executor's lease (P3).

use std::sync::Arc;

use super::{Out, Result, stale};
use crate::command::{AgentLost, Drain};
use crate::effect::Effect;
use crate::outcome::{Outcome, RefusalKind, refused};
use crate::record::{Agent, Failure};
use crate::state::State;
use crate::status::FailureClass;

pub(super) fn up(state: &mut State, mut agent: Agent, out: &mut Out) -> Result {
    agent.up = true;
    agent.draining = state.agents.get(&agent.agent_id).is_some_and(|known| known.draining);
    agent.since_ms = match state.agents.get(&agent.agent_id) {
        Some(known) if known.up => known.since_ms,
        _ => state.now_ms,
    };
    let changed = state.agents.get(&agent.agent_id).is_none_or(|known| **known != agent);
    state.agents.insert(agent.agent_id.clone(), Arc::new(agent));
    out.effects.push(Effect::WantPlacement);
    Ok(Outcome::done(changed))
}

pub(super) fn drain(state: &mut State, command: &Drain, out: &mut Out) -> Result {
    let Some(agent) = state.agents.get_mut(&command.agent_id) else {
        let message = format!("there is no executor `{}`", command.agent_id);
        return Err(refused(RefusalKind::NotFound, message));
    };
    let changed = agent.draining != command.draining;
    if changed {
        Arc::make_mut(agent).draining = command.draining;
        out.effects.push(Effect::WantPlacement);
    }
    Ok(Outcome::done(changed))
}

pub(super) fn lost(state: &mut State, command: AgentLost, out: &mut Out) -> Result {
    let now_ms = state.now_ms;
    let agent = state.agents.get_mut(&command.agent_id).filter(|agent| agent.up);
    let Some(agent) = agent else { return Err(stale("the agent is not there")) };
    let agent = Arc::make_mut(agent);
    agent.up = false;
    agent.since_ms = now_ms;
    if command.forget {
        state.agents.remove(&command.agent_id);
    }
    let live = state.index.live.get(&command.agent_id).cloned().unwrap_or_default();
    for (run, node) in live {
        let failure = Failure::new(FailureClass::Platform, "agent_lost", command.message.clone());
        state.flow(run, &mut out.effects, |flow| flow.attempt_failed(node, failure));
    }
    Ok(Outcome::done(true))
}
