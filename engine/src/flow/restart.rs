//! Taking an ended run up again: what succeeded is kept, all else gets another chance. Work is in proportion to the
//! graphs that did not succeed; finished items and iterations are not looked into.

use meson_workflow::definition::FailureMode;

use crate::ids::{NodeNo, ROOT, ScopeKey};
use crate::plan::PlanWork;
use crate::record::Node;
use crate::status::{NodeStatus, Phase, RunStatus, Stop};

use super::Flow;

impl Flow<'_> {
    /// Opens the run again. Its status must be failed or cancelled.
    pub fn restart(&mut self) {
        self.index.ended.remove(&(self.run.head.ended_ms, self.no));
        let head = &mut self.run.head;
        head.set_status(RunStatus::Running);
        head.ended_ms = 0;
        head.failure = None;
        head.sweep = 0;
        self.touch_head();
        self.effects.push(crate::effect::Effect::RunStarted { run: self.no });
        let timeout_ms = self.registered(0).plan.timeout_ms;
        if let Some(timeout_ms) = timeout_ms {
            self.set_run_timer(self.now_ms.saturating_add(timeout_ms));
        }
        self.reopen(ROOT);
    }

    fn reopen(&mut self, key: ScopeKey) {
        let scope = self.scope_mut(key);
        scope.phase = Phase::Open as i32;
        scope.failed = false;
        scope.stopping = Stop::No as i32;
        scope.cause = None;
        let (first, pin, body) = (scope.first, scope.pin, scope.body as usize);
        let count = self.registered(pin).plan.bodies[body].nodes.len() as u32;
        let numbers = first..first + count;
        let mut broken = Vec::new();
        for no in numbers.clone() {
            if !self.is_settled(no) {
                broken.push((no, self.take_up(no)));
            }
        }
        let is_open = |node: &Node| !node.status().is_terminal();
        let remaining = numbers.clone().filter(|no| is_open(self.node(*no))).count() as u32;
        self.scope_mut(key).remaining = remaining;
        if remaining == 0 {
            return self.close_scope(key);
        }
        for no in numbers.clone() {
            if self.node(no).status() == NodeStatus::Pending {
                self.retally(no, first);
            }
        }
        // Only now, with all tallies right, may anything start or end.
        for (no, keys) in broken {
            if self.node(no).status() == NodeStatus::Active {
                keys.into_iter().for_each(|key| self.reopen(key));
                self.advance_for_each(no);
            } else {
                self.decide(no);
            }
        }
    }

    /// Whether a restart leaves the node alone. An ignored failure is: what came after it has taken it into account.
    fn is_settled(&self, no: NodeNo) -> bool {
        match self.node(no).status() {
            NodeStatus::Succeeded => true,
            NodeStatus::Failed => self.planned(no).on_failure == FailureMode::Ignore,
            _ => false,
        }
    }

    fn advance_for_each(&mut self, no: NodeNo) {
        // Reopening its scopes may have ended it already.
        let active = self.node(no).status() == NodeStatus::Active;
        if active && matches!(self.planned(no).work, PlanWork::ForEach { .. }) {
            self.advance(no);
        }
    }

    /// Makes a node that did not succeed pending again, or active if it has scopes to reopen, which are returned.
    fn take_up(&mut self, no: NodeNo) -> Vec<ScopeKey> {
        let broken: Vec<ScopeKey> = self
            .run
            .scopes
            .range((no, 0)..=(no, u32::MAX))
            .filter(|(_, scope)| matches!(scope.phase(), Phase::Failed | Phase::Cancelled))
            .map(|(key, _)| *key)
            .collect();
        let planned = self.planned(no);
        let goes_on = matches!(planned.work, PlanWork::ForEach { .. }) && self.node(no).composite.is_some();
        if broken.is_empty() && !goes_on {
            self.reset(no);
            return broken;
        }
        self.set_status(no, NodeStatus::Active);
        let node = self.node_mut(no);
        node.ended_ms = 0;
        node.failure = None;
        let composite = self.composite_mut(no);
        composite.stopping = Stop::No as i32;
        composite.cause = None;
        composite.active += broken.len() as u32;
        composite.done -= broken.len() as u32;
        self.start_timeout(no, planned.timeout_ms);
        broken
    }

    /// Back to the beginning. The scopes of a loop that used up its iterations are dropped: it starts over.
    fn reset(&mut self, no: NodeNo) {
        let keys: Vec<ScopeKey> =
            self.run.scopes.range((no, 0)..=(no, u32::MAX)).map(|(key, _)| *key).collect();
        for key in keys {
            self.drop_scope(key);
        }
        self.run.items.remove(&no);
        self.set_status(no, NodeStatus::Pending);
        let node = self.node_mut(no);
        node.ended_ms = 0;
        node.failures_user = 0;
        node.failures_platform = 0;
        node.failures_timeout = 0;
        node.memory_kills = 0;
        node.failure = None;
        node.composite = None;
    }

    fn drop_scope(&mut self, key: ScopeKey) {
        let Some(scope) = self.run.scopes.remove(&key) else { return };
        let count = self.registered(scope.pin).plan.bodies[scope.body as usize].nodes.len() as u32;
        for no in scope.first..scope.first + count {
            let inner: Vec<ScopeKey> =
                self.run.scopes.range((no, 0)..=(no, u32::MAX)).map(|(key, _)| *key).collect();
            for key in inner {
                self.drop_scope(key);
            }
            self.run.items.remove(&no);
            let Some(node) = self.run.nodes.remove(&no) else { continue };
            self.run.changed.remove(&node.sequence);
            self.run.head.counts.total -= 1;
            if let Some(counter) = self.run.head.counts.of(node.status()) {
                *counter -= 1;
            }
        }
    }

    fn retally(&mut self, no: NodeNo, first: NodeNo) {
        let needs = self.planned(no).needs.clone();
        let (mut unmet, mut succeeded, mut failed) = (0, 0, 0);
        for place in needs {
            match self.node(first + place).status() {
                NodeStatus::Succeeded => succeeded += 1,
                NodeStatus::Failed | NodeStatus::Cancelled => failed += 1,
                NodeStatus::Skipped => {}
                _ => unmet += 1,
            }
        }
        let node = self.node_mut(no);
        node.unmet = unmet;
        node.needs_succeeded = succeeded;
        node.needs_failed = failed;
    }
}
