//! From the state's ready queue to the solver's: what each waiting step needs of an agent. The solver's queue follows
//! the state's by their difference, so that a look costs what changed, not what waits.

use std::sync::Arc;

use imbl::OrdSet;
use imbl::ordset::DiffItem;
use meson_engine::State;
use meson_engine::ids::{NodeNo, ReadyKey};
use meson_engine::plan::PlanWork;
use meson_engine::record::{Amounts, Run};

use super::amounts;
use crate::placement::{Demand, Queue, Shape};

/// The solver's queue, following a state.
#[derive(Default)]
pub struct Waiting {
    queue: Queue,
    seen: OrdSet<ReadyKey>,
}

impl Waiting {
    /// The queue as of this state.
    pub fn follow(&mut self, state: &State) -> &Queue {
        for change in self.seen.diff(&state.index.ready) {
            match change {
                DiffItem::Add(key) => {
                    if let Some(demand) = demand(state, key) {
                        self.queue.insert(demand);
                    }
                }
                DiffItem::Remove(key) => {
                    // A step that left the queue and came back may be told in either order.
                    if self.queue.get(key.run, key.node).is_some_and(|known| known.position == key.position) {
                        self.queue.remove(key.run, key.node);
                    }
                }
            }
        }
        self.seen = state.index.ready.clone();
        &self.queue
    }
}

fn demand(state: &State, key: &ReadyKey) -> Option<Demand> {
    let run = state.runs.get(&key.run)?;
    Some(Demand {
        run: key.run,
        node: key.node,
        priority: key.rank.saturating_neg(),
        position: key.position,
        ready_at_ms: run.nodes.get(&key.node)?.ready_ms,
        shape: Arc::new(shape(state, run, key.node)?),
    })
}

/// What a step asks of an agent.
pub fn shape(state: &State, run: &Run, no: NodeNo) -> Option<Shape> {
    let PlanWork::Step(step) = &state.planned(run, no)?.work else { return None };
    Some(Shape {
        kind: step.kind.clone(),
        resources: amounts(Amounts::from(&step.resources)),
        constraints: step.constraints.clone(),
    })
}
