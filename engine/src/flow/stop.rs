//! Winding down: a graph or composite that stops marks itself, and a sweep over the run's nodes, cut into pieces,
//! brings each in line with what stands above it. The same sweep takes a paused run's steps out of the ready queue and
//! puts a resumed run's back.

use super::Flow;
use crate::effect::Effect;
use crate::ids::{NodeNo, ROOT, ScopeKey};
use crate::limits::SWEEP_NODES_MAX;
use crate::record::Failure;
use crate::status::{FailureClass, KillCause, NodeStatus, RunStatus, Stop};

/// What stops a scope: the strongest mark on it or above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StopOver {
    pub mode: Stop,
    /// Whether a cancel is behind it, rather than a failure.
    pub cancelled: bool,
}

impl StopOver {
    /// How a node ends that had not started.
    pub fn unstarted(self) -> NodeStatus {
        if self.cancelled { NodeStatus::Cancelled } else { NodeStatus::Skipped }
    }
}

fn is_cancel(cause: Option<&Failure>) -> bool {
    cause.is_some_and(|cause| cause.class() == FailureClass::Cancelled)
}

impl Flow<'_> {
    /// Whether this scope, or anything above it, is being stopped.
    pub fn stop_over(&self, key: ScopeKey) -> Option<StopOver> {
        let mut over = StopOver { mode: Stop::No, cancelled: false };
        let mut key = key;
        loop {
            let scope = self.scope(key);
            over.mode = over.mode.max(scope.stopping());
            over.cancelled |= scope.stopping() != Stop::No && is_cancel(scope.cause.as_deref());
            if key == ROOT {
                break;
            }
            let node = self.node(key.0);
            if let Some(composite) = &node.composite {
                over.mode = over.mode.max(composite.stopping());
                over.cancelled |= is_cancel(composite.cause.as_ref());
            }
            key = node.scope();
        }
        (over.mode != Stop::No).then_some(over)
    }

    /// Stops a graph. The first cause is kept; a stronger mode replaces a weaker one.
    pub fn stop_scope(&mut self, key: ScopeKey, mode: Stop, cause: Failure) {
        let scope = self.scope_mut(key);
        let known = scope.stopping() >= mode;
        scope.stopping = scope.stopping().max(mode) as i32;
        scope.cause.get_or_insert_with(|| Box::new(cause));
        let first = scope.first;
        if key == ROOT && !self.run.head.status().is_terminal() {
            self.run.head.set_status(RunStatus::Stopping);
            self.touch_head();
        }
        if !known {
            self.sweep_from(first);
        }
    }

    /// Stops all scopes of a composite.
    pub fn stop_composite(&mut self, no: NodeNo, mode: Stop, cause: Failure) {
        let composite = self.composite_mut(no);
        let known = composite.stopping() >= mode;
        composite.stopping = composite.stopping().max(mode) as i32;
        composite.cause.get_or_insert(cause);
        if !known {
            self.sweep_from(no);
        }
    }

    /// Has the nodes from this number on brought in line.
    pub fn sweep_from(&mut self, no: NodeNo) {
        let sweep = self.run.head.sweep;
        self.run.head.sweep = if sweep == 0 { no } else { sweep.min(no) };
        self.index.continuing.insert((self.no, 0));
    }

    /// One piece of the sweep, at the end of a command; leaves a continuation when there is more.
    pub fn finish_sweep(&mut self) {
        let mut looked_at = 0;
        while self.run.head.sweep != 0 && looked_at < SWEEP_NODES_MAX {
            let no = self.run.head.sweep;
            if no >= self.run.head.next_node {
                self.run.head.sweep = 0;
                self.index.continuing.remove(&(self.no, 0));
                return;
            }
            self.run.head.sweep = no + 1;
            self.align(no);
            self.drain();
            looked_at += 1;
        }
        if self.run.head.sweep != 0 {
            self.effects.push(Effect::Continue { run: self.no, node: 0 });
        }
    }

    /// Brings one node in line with what stands above it.
    fn align(&mut self, no: NodeNo) {
        // A restart drops the scopes of a loop that begins anew, and their numbers with them.
        let Some(node) = self.run.nodes.get(&no) else { return };
        let status = node.status();
        if status.is_terminal() {
            return;
        }
        let Some(stop) = self.stop_over(node.scope()) else {
            return self.align_queue(no, status);
        };
        match status {
            NodeStatus::Pending | NodeStatus::Ready | NodeStatus::Waiting | NodeStatus::Evaluating => {
                self.end(no, stop.unstarted(), None);
            }
            NodeStatus::BackingOff => self.end(no, NodeStatus::Cancelled, None),
            NodeStatus::Active => {
                self.index.continuing.remove(&(self.no, no));
                if self.composite(no).active == 0 {
                    self.end_stopped(no);
                }
            }
            NodeStatus::Placed | NodeStatus::Running if stop.mode == Stop::Now => {
                self.kill(no, KillCause::Stopped);
            }
            NodeStatus::Placed
            | NodeStatus::Running
            | NodeStatus::Unspecified
            | NodeStatus::Succeeded
            | NodeStatus::Failed
            | NodeStatus::Cancelled
            | NodeStatus::Skipped => {}
        }
    }

    /// Ready steps are in the queue exactly while the run is not paused. A stopped composite inside a run that goes on
    /// is aligned too, through its scopes.
    fn align_queue(&mut self, no: NodeNo, status: NodeStatus) {
        if status == NodeStatus::Active && self.composite(no).stopping() != Stop::No {
            self.index.continuing.remove(&(self.no, no));
        }
        if status == NodeStatus::Ready {
            let queued = self.node(no).position != 0;
            match (self.run.head.paused, queued) {
                (true, true) => self.dequeue(no),
                (false, false) => self.enqueue(no),
                (true, false) | (false, true) => {}
            }
        }
    }

    /// Asks a living attempt to end. It stays alive, and holds what it holds, until its executor says so.
    pub fn kill(&mut self, no: NodeNo, cause: KillCause) {
        let node = self.node_mut(no);
        let Some(attempt) = &mut node.attempt else { return };
        if attempt.kill() == KillCause::No {
            attempt.kill = cause as i32;
            self.effects.push(Effect::Kill { run: self.no, node: no });
        }
    }
}
