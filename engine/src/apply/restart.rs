//! Restart: an ended run is taken up again from what did not succeed.

use super::{Out, Result, find};
use crate::outcome::{Outcome, RefusalKind, refused};
use crate::state::State;
use crate::status::RunStatus;

pub(super) fn apply(state: &mut State, run_id: &str, out: &mut Out) -> Result {
    let no = find(state, run_id)?;
    let answer = state.flow(no, &mut out.effects, |flow| {
        let status = flow.run.head.status();
        let wrong = |message: String| Err(refused(RefusalKind::WrongState, message));
        match status {
            RunStatus::Failed | RunStatus::Cancelled if flow.run.head.archived == 0 => {
                flow.restart();
                Ok(true)
            }
            RunStatus::Failed | RunStatus::Cancelled => wrong(format!("run `{run_id}` is archived")),
            RunStatus::Succeeded => wrong(format!("run `{run_id}` succeeded; start a new run instead")),
            RunStatus::Unspecified | RunStatus::Running | RunStatus::Paused | RunStatus::Stopping => {
                wrong(format!("run `{run_id}` has not ended; cancel it first"))
            }
        }
    });
    Ok(Outcome::run(run_id, answer.unwrap_or(Ok(false))?))
}
