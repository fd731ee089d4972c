//! From the state's ready queue to the solver's: what each waiting step needs of an agent. The solver's queue follows
//! the state's by their difference, so that a look costs what changed, not what waits.

use std::sync::Arc;

use imbl::OrdSet;
use imbl::ordset::DiffItem;
use meson_engine::State;
use meson_engine::ids::{NodeNo, ReadyKey};
use meson_engine::plan::PlanWork;
use meson_engine::record::Run;

use super::{amounts, mesos};
use crate::placement::{Demand, Queue, Shape};

/// The label of a run that says whose it is.
const TENANT: &str = "tenant";

/// The solver's queue, following a state.
pub struct Waiting {
    mesos: Arc<mesos::Settings>,
    queue: Queue,
    seen: OrdSet<ReadyKey>,
}

impl Waiting {
    /// Nothing was seen yet.
    pub fn new(mesos: Arc<mesos::Settings>) -> Self {
        Waiting { mesos, queue: Queue::default(), seen: OrdSet::new() }
    }

    /// The queue as of this state.
    pub fn follow(&mut self, state: &State) -> &Queue {
        for change in self.seen.diff(&state.index.ready) {
            match change {
                DiffItem::Add(key) => {
                    if let Some(demand) = demand(&self.mesos, state, key) {
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

fn demand(mesos: &mesos::Settings, state: &State, key: &ReadyKey) -> Option<Demand> {
    let run = state.runs.get(&key.run)?;
    Some(Demand {
        run: key.run,
        node: key.node,
        priority: key.rank.saturating_neg(),
        position: key.position,
        ready_at_ms: run.nodes.get(&key.node)?.ready_ms,
        shape: Arc::new(shape(mesos, state, run, key.node)?),
    })
}

/// What a step asks of an agent.
pub fn shape(mesos: &mesos::Settings, state: &State, run: &Run, no: NodeNo) -> Option<Shape> {
    let PlanWork::Step(step) = &state.planned(run, no)?.work else { return None };
    Some(Shape {
        kind: step.kind.clone(),
        resources: amounts(state.needs(run, no)?),
        constraints: step.constraints.clone(),
        role: mesos.role_of(run.info.labels.get(TENANT).map(String::as_str)).to_owned(),
    })
}
