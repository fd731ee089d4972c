//! From the ready queue to what the solver takes: what each waiting step needs of an agent.

use meson_engine::State;
use meson_engine::ids::{NodeNo, ReadyKey};
use meson_engine::plan::PlanWork;
use meson_engine::record::{Amounts, Run};

use super::amounts;
use crate::placement::Demand;

/// The first `max` waiting steps, in the order of the queue.
pub fn demands(state: &State, max: usize) -> Vec<Demand> {
    state.index.ready.iter().take(max).filter_map(|key| demand(state, key)).collect()
}

fn demand(state: &State, key: &ReadyKey) -> Option<Demand> {
    let run = state.runs.get(&key.run)?;
    let node = run.nodes.get(&key.node)?;
    let PlanWork::Step(step) = &state.planned(run, key.node)?.work else { return None };
    Some(Demand {
        run: key.run,
        node: key.node,
        priority: step.priority,
        position: key.position,
        waiting_ms: state.now_ms.saturating_sub(node.ready_ms),
        kind: step.kind.clone(),
        resources: amounts(Amounts::from(&step.resources)),
        constraints: step.constraints.clone(),
    })
}

/// What one ready step needs; none when it is not in the queue.
pub fn demand_of(state: &State, run: &Run, no: NodeNo) -> Option<Demand> {
    let node = run.nodes.get(&no)?;
    let PlanWork::Step(step) = &state.planned(run, no)?.work else { return None };
    let rank = step.priority.saturating_neg();
    demand(state, &ReadyKey { rank, position: node.position, run: run.number(), node: no })
}
