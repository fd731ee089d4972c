//! Fire: a timer is due: a pause before a retry is over, or a timeout has passed.

use super::{Out, Result, stale};
use crate::command::Fire;
use crate::flow::Flow;
use crate::ids::{NodeNo, ROOT};
use crate::outcome::Outcome;
use crate::record::Failure;
use crate::state::State;
use crate::status::{FailureClass, KillCause, NodeStatus, Stop};

pub(super) fn apply(state: &mut State, command: Fire, out: &mut Out) -> Result {
    let key = (command.due_ms, command.run, command.node);
    if command.due_ms > state.now_ms || state.index.timers.remove(&key).is_none() {
        return Err(stale("no such timer is due"));
    }
    state.flow(command.run, &mut out.effects, |flow| match command.node {
        0 => run_timeout(flow),
        node => node_timer(flow, node),
    });
    Ok(Outcome::done(true))
}

fn timeout(message: &str) -> Failure {
    Failure::new(FailureClass::Timeout, "timeout", message)
}

fn run_timeout(flow: &mut Flow<'_>) {
    flow.run.head.timer_ms = 0;
    flow.scope_mut(ROOT).failed = true;
    flow.stop_scope(ROOT, Stop::Now, timeout("the run took longer than its timeout"));
}

fn node_timer(flow: &mut Flow<'_>, no: NodeNo) {
    flow.node_mut(no).timer_ms = 0;
    match flow.node(no).status() {
        NodeStatus::BackingOff => flow.make_ready(no),
        NodeStatus::Placed | NodeStatus::Running => flow.kill(no, KillCause::Timeout),
        NodeStatus::Evaluating | NodeStatus::Waiting => {
            flow.fail(no, timeout("it took longer than its timeout"))
        }
        NodeStatus::Active => {
            flow.stop_composite(no, Stop::Now, timeout("its graph took longer than its timeout"));
        }
        NodeStatus::Unspecified
        | NodeStatus::Pending
        | NodeStatus::Ready
        | NodeStatus::Succeeded
        | NodeStatus::Failed
        | NodeStatus::Cancelled
        | NodeStatus::Skipped => {}
    }
}
