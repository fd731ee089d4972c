//! Report: what an executor says of an attempt. Only the current attempt, under its own fence, is listened to; a
//! terminal report of it is believed whatever the scheduler thought of the executor meanwhile (P5).

use super::{Out, Result, stale};
use crate::command::{AttemptLost, Event, Report};
use crate::ids::{AttemptId, NodeNo, RunNo};
use crate::limits::{ARTIFACTS_MAX, OUTPUT_BYTES_MAX};
use crate::outcome::{Outcome, Refusal, RefusalKind, refused};
use crate::record::Failure;
use crate::state::State;
use crate::status::{FailureClass, NodeStatus};

pub(super) fn apply(state: &mut State, command: Report, out: &mut Out) -> Result {
    let (run, node) = current(state, &command.attempt_id, command.fence)?;
    let changed = state.flow(run, &mut out.effects, |flow| {
        let running = flow.node(node).status() == NodeStatus::Running;
        if running && command.event() == Event::Running {
            return false;
        }
        if let Some(attempt) = &mut flow.node_mut(node).attempt {
            if command.started_ms != 0 {
                attempt.started_ms = command.started_ms;
            }
            attempt.log_complete = command.log_complete;
        }
        match command.event() {
            Event::Running => flow.set_status(node, NodeStatus::Running),
            Event::Succeeded => match too_large(&command) {
                None => {
                    flow.node_mut(node).artifacts = command.artifacts;
                    flow.succeed(node, command.outputs);
                }
                Some(failure) => flow.attempt_failed(node, failure),
            },
            Event::Failed | Event::Unspecified => {
                flow.attempt_failed(node, command.failure.unwrap_or_default());
            }
        }
        true
    });
    Ok(Outcome::done(changed.unwrap_or(false)))
}

/// The leader found that an attempt is gone, or cannot be launched.
pub(super) fn lost(state: &mut State, command: AttemptLost, out: &mut Out) -> Result {
    let (run, node) = current(state, &command.attempt_id, command.fence)?;
    state.flow(run, &mut out.effects, |flow| flow.attempt_failed(node, command.failure));
    Ok(Outcome::done(true))
}

/// The living attempt of this id, if the fence is its own.
fn current(state: &State, attempt_id: &str, fence: u64) -> std::result::Result<(RunNo, NodeNo), Refusal> {
    let unknown =
        || refused(RefusalKind::StaleFence, format!("attempt `{attempt_id}` is not wanted (any more)"));
    let id: AttemptId = attempt_id.parse().map_err(|_| unknown())?;
    let no = state.run_ids.get(&id.run_id).copied().ok_or_else(unknown)?;
    let run = state.runs.get(&no).ok_or_else(unknown)?;
    let node = run.nodes.get(&id.node).ok_or_else(unknown)?;
    let attempt = node.attempt.as_ref().ok_or_else(unknown)?;
    if attempt.number != id.attempt || attempt.fence != fence {
        return Err(unknown());
    }
    if !node.status().is_live() {
        return Err(stale("the attempt has ended already"));
    }
    Ok((no, id.node))
}

fn too_large(command: &Report) -> Option<Failure> {
    let message = if command.outputs.len() > OUTPUT_BYTES_MAX {
        let size = command.outputs.len();
        format!(
            "the outputs are {size} bytes; {OUTPUT_BYTES_MAX} are allowed: publish large data as an artifact"
        )
    } else if command.artifacts.len() > ARTIFACTS_MAX {
        format!("{} artifacts; {ARTIFACTS_MAX} are allowed for one attempt", command.artifacts.len())
    } else {
        return None;
    };
    Some(Failure::new(FailureClass::User, "output_too_large", message))
}
