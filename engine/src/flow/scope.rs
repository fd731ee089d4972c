//! Scopes: one execution of a graph each. Opening one creates its nodes; when all have ended it closes, and the
//! composite above goes on or ends.

use std::sync::Arc;

use bytes::Bytes;

use super::Flow;
use crate::effect::Effect;
use crate::ids::{Evaluation, NodeNo, ROOT, ScopeKey};
use crate::limits::{EXPAND_NODES_MAX, RUN_NODES_MAX};
use crate::plan::PlanWork;
use crate::record::{Failure, Node, Scope};
use crate::status::{FailureClass, NodeStatus, Phase, RunStatus, Stop};

impl Flow<'_> {
    /// Creates a scope with all its nodes and starts those that need nothing.
    pub fn open_scope(&mut self, key: ScopeKey, pin: u32, body: u32, variables: Bytes) {
        let registered = self.registered(pin);
        let nodes = &registered.plan.bodies[body as usize].nodes;
        let first = self.run.head.next_node;
        self.run.head.next_node += nodes.len() as u32;
        self.run.head.counts.total += nodes.len() as u32;
        let scope = Scope { pin, body, first, remaining: nodes.len() as u32, variables, ..Scope::default() };
        self.run.scopes.insert(key, Arc::new(scope));
        for (no, planned) in (first..).zip(nodes) {
            self.run.head.sequence += 1;
            let node = Node {
                parent: key.0,
                index: key.1,
                status: NodeStatus::Pending as i32,
                unmet: planned.needs.len() as u32,
                sequence: self.run.head.sequence,
                ..Node::default()
            };
            self.run.changed.insert(node.sequence, no);
            self.run.nodes.insert(no, Arc::new(node));
        }
        for (no, planned) in (first..).zip(nodes) {
            if planned.needs.is_empty() {
                self.decide(no);
            }
        }
    }

    /// All nodes of a scope have ended.
    pub fn close_scope(&mut self, key: ScopeKey) {
        let stopped = self.stop_over(key).is_some();
        let scope = self.scope(key);
        if scope.failed {
            return self.scope_ended(key, Phase::Failed);
        }
        if stopped {
            return self.scope_ended(key, Phase::Cancelled);
        }
        let registered = self.registered(scope.pin);
        let has_outputs = !registered.plan.bodies[scope.body as usize].outputs.is_empty();
        if has_outputs || self.is_iteration(key) {
            self.scope_mut(key).phase = Phase::Closing as i32;
            self.want_evaluation(Evaluation::Close { scope: key });
        } else {
            self.scope_ended(key, Phase::Done);
        }
    }

    fn is_iteration(&self, key: ScopeKey) -> bool {
        key != ROOT && matches!(self.planned(key.0).work, PlanWork::Repeat { .. })
    }

    /// A scope is over: the composite above goes on, or the run ends.
    pub fn scope_ended(&mut self, key: ScopeKey, phase: Phase) {
        self.scope_mut(key).phase = phase as i32;
        if key == ROOT {
            return self.end_run(phase);
        }
        let no = key.0;
        let composite = self.composite_mut(no);
        composite.active -= 1;
        composite.done += 1;
        if phase == Phase::Failed {
            let scope = self.scope(key);
            let cause = scope.cause.as_deref().cloned().unwrap_or_default();
            let mode = scope.stopping().max(Stop::AfterRunning);
            self.stop_composite(no, mode, cause);
        }
        self.advance(no);
    }

    /// A composite goes on after one of its scopes ended: more scopes, or its own end.
    pub fn advance(&mut self, no: NodeNo) {
        let composite = self.composite(no);
        if composite.stopping() != Stop::No || self.stop_over(self.node(no).scope()).is_some() {
            if composite.active == 0 {
                self.end_stopped(no);
            }
            return;
        }
        match &self.planned(no).work {
            PlanWork::ForEach { .. } if composite.done < composite.total => self.expand(no),
            PlanWork::ForEach { .. } => self.succeed(no, Bytes::new()),
            PlanWork::Repeat { .. } | PlanWork::Switch { .. } | PlanWork::Subworkflow(_) => {
                let outputs = self.scope((no, composite.created - 1)).outputs.clone();
                self.succeed(no, outputs);
            }
            PlanWork::Step(_) | PlanWork::Wait(_) => {}
        }
    }

    /// A composite that was stopped has no scope under way any more.
    pub fn end_stopped(&mut self, no: NodeNo) {
        match self.composite(no).cause {
            Some(cause) => self.fail(no, cause),
            None => self.end(no, NodeStatus::Cancelled, None),
        }
    }

    /// Opens as many scopes of a for_each as its cap and one command's bound allow.
    pub fn expand(&mut self, no: NodeNo) {
        let planned = self.planned(no);
        let PlanWork::ForEach { concurrency, body, .. } = &planned.work else { return };
        let pin = self.scope(self.node(no).scope()).pin;
        let cap = concurrency.unwrap_or(u32::MAX);
        let width = planned.registered.plan.bodies[*body as usize].nodes.len() as u32;
        let mut created = 0;
        loop {
            let composite = self.composite(no);
            if composite.created >= composite.total || composite.active >= cap {
                return self.set_expanding(no, false);
            }
            if created >= EXPAND_NODES_MAX {
                return self.set_expanding(no, true);
            }
            if self.run.head.next_node.saturating_add(width) > RUN_NODES_MAX {
                self.set_expanding(no, false);
                return self.stop_too_large(no);
            }
            let composite = self.composite_mut(no);
            composite.created += 1;
            composite.active += 1;
            let key = (no, composite.created - 1);
            self.open_scope(key, pin, *body, Bytes::new());
            created += width;
        }
    }

    fn set_expanding(&mut self, no: NodeNo, expanding: bool) {
        if self.composite(no).expanding != expanding {
            self.composite_mut(no).expanding = expanding;
        }
        if expanding {
            self.index.continuing.insert((self.no, no));
            self.effects.push(Effect::Continue { run: self.no, node: no });
        } else {
            self.index.continuing.remove(&(self.no, no));
        }
    }

    /// Stops a composite whose next scope would pass the bound on a run's nodes.
    pub fn stop_too_large(&mut self, no: NodeNo) {
        let message =
            format!("a run may have {RUN_NODES_MAX} nodes; split the work over several runs or larger items");
        let cause = Failure::new(FailureClass::Rejected, "limit_exceeded", message);
        self.stop_composite(no, Stop::AfterRunning, cause);
        if self.composite(no).active == 0 {
            self.end_stopped(no);
        }
    }

    /// Opens the next iteration of a repeat, whose last scope is done and wants another.
    pub fn iterate(&mut self, no: NodeNo, variables: Bytes) {
        let composite = self.composite_mut(no);
        composite.active -= 1;
        composite.done += 1;
        let composite = composite.clone();
        if composite.stopping() != Stop::No || self.stop_over(self.node(no).scope()).is_some() {
            return self.end_stopped(no);
        }
        let planned = self.planned(no);
        let PlanWork::Repeat { body, max_iterations, .. } = &planned.work else { return };
        if composite.created >= *max_iterations {
            let message = format!("`until` did not hold after {max_iterations} iterations");
            return self.fail(no, Failure::new(FailureClass::User, "max_iterations", message));
        }
        let width = planned.registered.plan.bodies[*body as usize].nodes.len() as u32;
        if self.run.head.next_node.saturating_add(width) > RUN_NODES_MAX {
            return self.stop_too_large(no);
        }
        let pin = self.scope(self.node(no).scope()).pin;
        let composite = self.composite_mut(no);
        composite.created += 1;
        composite.active += 1;
        let key = (no, composite.created - 1);
        self.open_scope(key, pin, *body, variables);
    }

    /// The root scope is over.
    fn end_run(&mut self, phase: Phase) {
        let root = self.scope(ROOT).clone();
        let status = match phase {
            Phase::Failed => RunStatus::Failed,
            Phase::Cancelled => RunStatus::Cancelled,
            Phase::Open | Phase::Closing | Phase::Done => RunStatus::Succeeded,
        };
        self.clear_run_timer();
        self.index.continuing.remove(&(self.no, 0));
        let head = &mut self.run.head;
        head.set_status(status);
        head.paused = false;
        head.sweep = 0;
        head.ended_ms = self.now_ms;
        head.failure = root.cause;
        head.outputs = root.outputs;
        self.touch_head();
        self.index.ended.insert((self.now_ms, self.no));
        self.effects.push(Effect::RunEnded { run: self.no });
    }

    pub fn set_run_timer(&mut self, due_ms: u64) {
        self.run.head.timer_ms = due_ms;
        self.index.timers.insert((due_ms, self.no, 0));
        self.effects.push(Effect::SetTimer { due_ms });
    }

    pub fn clear_run_timer(&mut self) {
        let due_ms = std::mem::take(&mut self.run.head.timer_ms);
        if due_ms != 0 {
            self.index.timers.remove(&(due_ms, self.no, 0));
        }
    }
}
