//! Nodes: from needs met, over ready, to ended, and on to the nodes that need them.

use bytes::Bytes;
use meson_workflow::definition::{FailureMode, TriggerRule};

use super::Flow;
use crate::effect::Effect;
use crate::ids::{Evaluation, NodeNo};
use crate::limits::MESSAGE_BYTES_MAX;
use crate::plan::PlanWork;
use crate::record::{Composite, Failure, Node};
use crate::status::{NodeStatus, Stop};

/// What a trigger rule says of a node.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Start,
    Skip,
    Wait,
}

fn verdict(rule: TriggerRule, node: &Node, needs: u32) -> Verdict {
    let skipped = needs - node.unmet - node.needs_succeeded - node.needs_failed;
    let all_ended = if node.unmet == 0 { Verdict::Start } else { Verdict::Wait };
    match rule {
        TriggerRule::AllSucceeded if node.needs_failed + skipped > 0 => Verdict::Skip,
        TriggerRule::NoneFailed if node.needs_failed > 0 => Verdict::Skip,
        TriggerRule::AnySucceeded if node.needs_succeeded > 0 => Verdict::Start,
        TriggerRule::AnySucceeded if node.unmet == 0 && needs > 0 => Verdict::Skip,
        TriggerRule::AllSucceeded
        | TriggerRule::NoneFailed
        | TriggerRule::AnySucceeded
        | TriggerRule::AllDone => all_ended,
    }
}

impl Flow<'_> {
    /// Starts or skips a pending node if its trigger rule says so.
    pub fn decide(&mut self, no: NodeNo) {
        if self.node(no).status() != NodeStatus::Pending {
            return;
        }
        let planned = self.planned(no);
        match verdict(planned.trigger, self.node(no), planned.needs.len() as u32) {
            Verdict::Start => self.arrive(no),
            Verdict::Skip => self.end(no, NodeStatus::Skipped, None),
            Verdict::Wait => {}
        }
    }

    /// A pending node's turn has come.
    fn arrive(&mut self, no: NodeNo) {
        if let Some(stop) = self.stop_over(self.node(no).scope()) {
            return self.end(no, stop.unstarted(), None);
        }
        let planned = self.planned(no);
        self.node_mut(no).ready_ms = self.now_ms;
        match &planned.work {
            PlanWork::Step(_) => return self.make_ready(no),
            PlanWork::Wait(signal) => return self.await_signal(no, signal, planned.timeout_ms),
            PlanWork::ForEach { .. }
            | PlanWork::Repeat { .. }
            | PlanWork::Switch { .. }
            | PlanWork::Subworkflow(_) => {}
        }
        self.set_status(no, NodeStatus::Evaluating);
        self.want_evaluation(Evaluation::Open { node: no });
        self.start_timeout(no, planned.timeout_ms);
    }

    pub fn want_evaluation(&mut self, evaluation: Evaluation) {
        self.index.evaluating.insert((self.no, evaluation));
        self.effects.push(Effect::Evaluate { run: self.no, evaluation });
    }

    pub fn start_timeout(&mut self, no: NodeNo, timeout_ms: Option<u64>) {
        if let Some(timeout_ms) = timeout_ms {
            self.set_timer(no, self.now_ms.saturating_add(timeout_ms));
        }
    }

    /// A step waits for a place from now on; a paused run's steps wait outside the queue.
    pub fn make_ready(&mut self, no: NodeNo) {
        self.set_status(no, NodeStatus::Ready);
        if !self.run.head.paused {
            self.enqueue(no);
        }
    }

    fn await_signal(&mut self, no: NodeNo, signal: &str, timeout_ms: Option<u64>) {
        self.set_status(no, NodeStatus::Waiting);
        let taken = self.run.signals.get_mut(signal).and_then(imbl::Vector::pop_front);
        if self.run.signals.get(signal).is_some_and(imbl::Vector::is_empty) {
            self.run.signals.remove(signal);
        }
        match taken {
            Some(payload) => self.take_signal(no, &payload),
            None => {
                let mut waiting = self.run.waits.get(signal).cloned().unwrap_or_default();
                waiting.insert(no);
                self.run.waits.insert(signal.to_owned(), waiting);
                self.start_timeout(no, timeout_ms);
            }
        }
    }

    /// A waiting node gets its signal.
    pub fn take_signal(&mut self, no: NodeNo, payload: &[u8]) {
        let outputs = [b"{\"payload\":", payload, b"}"].concat();
        self.succeed(no, outputs.into());
    }

    /// A node ended well.
    pub fn succeed(&mut self, no: NodeNo, outputs: Bytes) {
        self.node_mut(no).outputs = outputs;
        self.end(no, NodeStatus::Succeeded, None);
    }

    /// A node ended by this failure.
    pub fn fail(&mut self, no: NodeNo, failure: Failure) {
        self.end(no, NodeStatus::Failed, Some(failure));
    }

    /// A node ends: it leaves all queues, and `drain` will tell its successors.
    pub fn end(&mut self, no: NodeNo, status: NodeStatus, failure: Option<Failure>) {
        self.leave(no);
        let now_ms = self.now_ms;
        self.set_status(no, status);
        let node = self.node_mut(no);
        node.ended_ms = now_ms;
        if status == NodeStatus::Succeeded {
            node.failure = None;
        } else if let Some(failure) = failure {
            node.failure = Some(Box::new(shortened(failure)));
        }
        self.ended.push_back(no);
    }

    /// Takes a node out of whatever index its present state has it in.
    pub fn leave(&mut self, no: NodeNo) {
        self.clear_timer(no);
        match self.node(no).status() {
            NodeStatus::Ready => self.dequeue(no),
            NodeStatus::Placed | NodeStatus::Running => self.release(no),
            NodeStatus::Evaluating => {
                self.index.evaluating.remove(&(self.no, Evaluation::Open { node: no }));
            }
            NodeStatus::Waiting => self.stop_waiting(no),
            NodeStatus::Active => {
                self.index.continuing.remove(&(self.no, no));
                self.composite_mut(no).expanding = false;
            }
            NodeStatus::Unspecified
            | NodeStatus::Pending
            | NodeStatus::BackingOff
            | NodeStatus::Succeeded
            | NodeStatus::Failed
            | NodeStatus::Cancelled
            | NodeStatus::Skipped => {}
        }
    }

    fn stop_waiting(&mut self, no: NodeNo) {
        let planned = self.planned(no);
        let PlanWork::Wait(signal) = &planned.work else { return };
        let Some(waiting) = self.run.waits.get_mut(signal) else { return };
        waiting.remove(&no);
        if waiting.is_empty() {
            self.run.waits.remove(signal);
        }
    }

    /// Gives back what a living attempt holds.
    fn release(&mut self, no: NodeNo) {
        let agent = self.node(no).attempt.as_ref().map(|attempt| attempt.agent.clone()).unwrap_or_default();
        if let Some(live) = self.index.live.get_mut(&agent) {
            live.remove(&(self.no, no));
            if live.is_empty() {
                self.index.live.remove(&agent);
            }
        }
        self.effects.push(Effect::AttemptEnded { run: self.no, node: no });
        self.want_placement = true;
    }

    /// Tells successors and scopes of all that ended, until nothing more follows. A work list, not recursion: a chain
    /// of skipped nodes may be as long as a definition.
    pub fn drain(&mut self) {
        while let Some(no) = self.ended.pop_front() {
            self.settle(no);
        }
    }

    fn settle(&mut self, no: NodeNo) {
        let key = self.node(no).scope();
        let planned = self.planned(no);
        let status = self.node(no).status();
        if status == NodeStatus::Failed {
            let mode = match planned.on_failure {
                FailureMode::Ignore => Stop::No,
                FailureMode::AfterRunning => Stop::AfterRunning,
                FailureMode::Now => Stop::Now,
            };
            if mode != Stop::No {
                let cause = self.node(no).failure.as_deref().cloned().unwrap_or_default();
                self.scope_mut(key).failed = true;
                self.stop_scope(key, mode, cause);
            }
        }
        let first = self.scope(key).first;
        for place in &planned.successors {
            self.tell(first + place, status);
        }
        let scope = self.scope_mut(key);
        scope.remaining -= 1;
        if scope.remaining == 0 {
            self.close_scope(key);
        }
    }

    /// A need of this node ended.
    fn tell(&mut self, no: NodeNo, need: NodeStatus) {
        if self.node(no).status() != NodeStatus::Pending {
            return;
        }
        let node = self.node_mut(no);
        node.unmet -= 1;
        match need {
            NodeStatus::Succeeded => node.needs_succeeded += 1,
            NodeStatus::Failed | NodeStatus::Cancelled => node.needs_failed += 1,
            _ => {}
        }
        self.decide(no);
    }

    pub fn composite(&self, no: NodeNo) -> Composite {
        self.node(no).composite.as_deref().cloned().unwrap_or_default()
    }

    pub fn composite_mut(&mut self, no: NodeNo) -> &mut Composite {
        self.node_mut(no).composite.get_or_insert_default()
    }
}

fn shortened(mut failure: Failure) -> Failure {
    if failure.message.len() > MESSAGE_BYTES_MAX {
        // The tail says most: it is where the error stands.
        let start = failure.message.ceil_char_boundary(failure.message.len() - MESSAGE_BYTES_MAX);
        failure.message = format!("…{}", &failure.message[start..]);
    }
    failure
}
