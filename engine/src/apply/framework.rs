//! Framework: the id that Mesos knows us by. It is in the state before the first launch, and it is given up only when
//! nothing runs under it: attempts of a framework that Mesos forgot could neither be heard of nor ended.

use super::{Out, Result};
use crate::command::Framework;
use crate::effect::Effect;
use crate::outcome::{Outcome, RefusalKind, refused};
use crate::state::State;

pub(super) fn apply(state: &mut State, command: Framework, out: &mut Out) -> Result {
    if state.framework_id == command.framework_id {
        return Ok(Outcome::done(false));
    }
    if state.framework_id != command.instead_of {
        let message = format!("the framework id is `{}`, not `{}`", state.framework_id, command.instead_of);
        return Err(refused(RefusalKind::WrongState, message));
    }
    let agents = state.agents.values().filter(|agent| agent.mesos);
    let live: usize =
        agents.filter_map(|agent| state.index.live.get(&agent.agent_id)).map(|live| live.len()).sum();
    if live > 0 {
        let message =
            format!("{live} attempts still run on agents of Mesos: they have to end, or be given up, first");
        return Err(refused(RefusalKind::WrongState, message));
    }
    state.framework_id = command.framework_id;
    // Agents are named by the cluster that gave the id.
    let agents = state.agents.iter().filter(|(_, agent)| !agent.mesos);
    state.agents = agents.map(|(id, agent)| (id.clone(), agent.clone())).collect();
    out.effects.push(Effect::WantPlacement);
    Ok(Outcome::done(true))
}
