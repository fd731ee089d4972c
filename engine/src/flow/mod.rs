//! How a run moves: the transitions that commands share. A [`Flow`] borrows one run and the indexes; each command that
//! touches a run makes one, calls into it, and lets it `drain` what follows from what ended.
//!
//! `graph` moves nodes, `scope` opens and closes graphs, `stop` winds them down, `attempt` decides on retries,
//! `restart` takes an ended run up again.

mod attempt;
mod graph;
mod restart;
mod scope;
mod stop;

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;

use imbl::{OrdMap, Vector};

use crate::effect::Effect;
use crate::ids::{NodeNo, ReadyKey, RunNo, ScopeKey};
use crate::plan::PlanNode;
use crate::record::{Node, Run, Scope};
use crate::state::{Counters, Index, Registered, State, Version};
use crate::status::NodeStatus;

/// One run on the move.
pub(crate) struct Flow<'a> {
    pub no: RunNo,
    pub run: &'a mut Run,
    pub index: &'a mut Index,
    pub counters: &'a mut Counters,
    pub definitions: &'a OrdMap<String, Arc<Registered>>,
    pub workflows: &'a OrdMap<String, Vector<Version>>,
    pub now_ms: u64,
    /// The format that all replicas understand.
    pub(crate) format: u32,
    pub effects: &'a mut Vec<Effect>,
    /// Nodes that ended and whose successors have not been told.
    ended: VecDeque<NodeNo>,
    want_placement: bool,
}

/// A node of a plan, kept alive by its definition.
pub(crate) struct Planned {
    registered: Arc<Registered>,
    body: usize,
    place: usize,
}

impl Deref for Planned {
    type Target = PlanNode;
    fn deref(&self) -> &PlanNode {
        &self.registered.plan.bodies[self.body].nodes[self.place]
    }
}

impl State {
    /// Lets `f` move a run, then everything that follows from it. None when the run is not in the working state.
    pub(crate) fn flow<T>(
        &mut self,
        no: RunNo,
        effects: &mut Vec<Effect>,
        f: impl FnOnce(&mut Flow<'_>) -> T,
    ) -> Option<T> {
        let run = Arc::make_mut(self.runs.get_mut(&no)?);
        let mut flow = Flow {
            no,
            run,
            index: &mut self.index,
            counters: &mut self.counters,
            definitions: &self.definitions,
            workflows: &self.workflows,
            now_ms: self.now_ms,
            format: self.raised,
            effects,
            ended: VecDeque::new(),
            want_placement: false,
        };
        let answer = f(&mut flow);
        flow.drain();
        flow.finish_sweep();
        if flow.want_placement {
            flow.effects.push(Effect::WantPlacement);
        }
        Some(answer)
    }
}

impl Flow<'_> {
    pub fn node(&self, no: NodeNo) -> &Node {
        self.run.nodes.get(&no).expect("node numbers come from the run's own records")
    }

    /// The node for writing; counts as a change of the run.
    pub fn node_mut(&mut self, no: NodeNo) -> &mut Node {
        self.run.head.sequence += 1;
        let sequence = self.run.head.sequence;
        let node = self.run.nodes.get_mut(&no).expect("node numbers come from the run's own records");
        let node = Arc::make_mut(node);
        self.run.changed.remove(&node.sequence);
        self.run.changed.insert(sequence, no);
        node.sequence = sequence;
        node
    }

    pub fn scope(&self, key: ScopeKey) -> &Scope {
        self.run.scopes.get(&key).expect("scope keys come from the run's own records")
    }

    pub fn scope_mut(&mut self, key: ScopeKey) -> &mut Scope {
        Arc::make_mut(self.run.scopes.get_mut(&key).expect("scope keys come from the run's own records"))
    }

    /// Notes a change of the run's head, for those who watch.
    pub fn touch_head(&mut self) {
        self.run.head.sequence += 1;
        self.run.head.head_sequence = self.run.head.sequence;
    }

    pub fn registered(&self, pin: u32) -> Arc<Registered> {
        let hash = &self.run.info.pins[pin as usize];
        self.definitions.get(hash).expect("a pinned definition is never removed").clone()
    }

    /// The definition's side of a node.
    pub fn planned(&self, no: NodeNo) -> Planned {
        let scope = self.scope(self.node(no).scope());
        let (body, place) = (scope.body as usize, (no - scope.first) as usize);
        Planned { registered: self.registered(scope.pin), body, place }
    }

    /// Moves a node to another state and keeps the tallies. The table in `status` says what is legal.
    pub fn set_status(&mut self, no: NodeNo, status: NodeStatus) {
        let before = self.node(no).status();
        debug_assert!(before.may_become(status), "node {no}: {before:?} -> {status:?}");
        self.node_mut(no).set_status(status);
        let counts = &mut self.run.head.counts;
        if let Some(counter) = counts.of(before) {
            *counter -= 1;
        }
        if let Some(counter) = counts.of(status) {
            *counter += 1;
        }
    }

    pub fn set_timer(&mut self, no: NodeNo, due_ms: u64) {
        self.clear_timer(no);
        self.node_mut(no).timer_ms = due_ms;
        self.index.timers.insert((due_ms, self.no, no));
        self.effects.push(Effect::SetTimer { due_ms });
    }

    pub fn clear_timer(&mut self, no: NodeNo) {
        let due_ms = self.node(no).timer_ms;
        if due_ms != 0 {
            self.index.timers.remove(&(due_ms, self.no, no));
            self.node_mut(no).timer_ms = 0;
        }
    }

    /// Puts a ready step into the queue, at the end of its priority.
    pub fn enqueue(&mut self, no: NodeNo) {
        self.counters.positions += 1;
        let position = self.counters.positions;
        self.node_mut(no).position = position;
        self.index.ready.insert(self.ready_key(no));
        self.want_placement = true;
    }

    /// Takes a ready step out of the queue, if it is in it.
    pub fn dequeue(&mut self, no: NodeNo) {
        if self.node(no).position != 0 {
            self.index.ready.remove(&self.ready_key(no));
            self.node_mut(no).position = 0;
        }
    }

    fn ready_key(&self, no: NodeNo) -> ReadyKey {
        let priority = self.planned(no).step().map_or(0, |step| step.priority);
        ReadyKey { rank: priority.saturating_neg(), position: self.node(no).position, run: self.no, node: no }
    }
}
