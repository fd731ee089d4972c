//! Pause and resume: a paused run's attempts go on, nothing new starts. Its ready steps leave the queue and come back
//! by a sweep.

use super::{Out, Result, find};
use crate::outcome::{Outcome, RefusalKind, refused};
use crate::state::State;
use crate::status::RunStatus;

pub(super) fn pause(state: &mut State, run_id: &str, out: &mut Out) -> Result {
    set(state, run_id, true, out)
}

pub(super) fn resume(state: &mut State, run_id: &str, out: &mut Out) -> Result {
    set(state, run_id, false, out)
}

fn set(state: &mut State, run_id: &str, paused: bool, out: &mut Out) -> Result {
    let no = find(state, run_id)?;
    let answer = state.flow(no, &mut out.effects, |flow| {
        let status = flow.run.head.status();
        if status.is_terminal() || status == RunStatus::Stopping {
            let message = format!("run `{run_id}` is ending or has ended; it can't be paused or resumed");
            return Err(refused(RefusalKind::WrongState, message));
        }
        if flow.run.head.paused == paused {
            return Ok(false);
        }
        flow.run.head.paused = paused;
        flow.run.head.set_status(if paused { RunStatus::Paused } else { RunStatus::Running });
        flow.touch_head();
        flow.sweep_from(1);
        Ok(true)
    });
    Ok(Outcome::run(run_id, answer.unwrap_or(Ok(false))?))
}
