//! From a state to all that the outside must do, for a leader that has just been elected and for its slow tick that
//! repairs whatever message was lost.

use crate::effect::Effect;
use crate::state::State;
use crate::status::{KillCause, NodeStatus};

/// Every effect that is still owed, actors first.
pub fn recover(state: &State) -> Vec<Effect> {
    let mut effects = Vec::new();
    for (no, run) in state.runs.iter() {
        if !run.head.status().is_terminal() {
            effects.push(Effect::RunStarted { run: *no });
        }
    }
    for (run, node) in state.index.live.values().flatten().copied() {
        effects.push(Effect::Launch { run, node });
        let record = state.runs.get(&run).and_then(|run| run.nodes.get(&node));
        let killed = record
            .filter(|node| matches!(node.status(), NodeStatus::Placed | NodeStatus::Running))
            .and_then(|node| node.attempt.as_ref())
            .is_some_and(|attempt| attempt.kill() != KillCause::No);
        if killed {
            effects.push(Effect::Kill { run, node });
        }
    }
    for (run, evaluation) in state.index.evaluating.iter().copied() {
        effects.push(Effect::Evaluate { run, evaluation });
    }
    for (run, node) in state.index.continuing.iter().copied() {
        effects.push(Effect::Continue { run, node });
    }
    if let Some((due_ms, _, _)) = state.index.timers.get_min() {
        effects.push(Effect::SetTimer { due_ms: *due_ms });
    }
    if !state.index.ready.is_empty() {
        effects.push(Effect::WantPlacement);
    }
    effects
}
