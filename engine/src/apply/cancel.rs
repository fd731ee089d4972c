//! Cancel: nothing new starts, running attempts are killed, the run ends as cancelled.

use super::{Out, Result, find};
use crate::command::Cancel;
use crate::ids::ROOT;
use crate::outcome::Outcome;
use crate::record::Failure;
use crate::state::State;
use crate::status::{FailureClass, Stop};

pub(super) fn apply(state: &mut State, command: Cancel, out: &mut Out) -> Result {
    let no = find(state, &command.run_id)?;
    let changed = state.flow(no, &mut out.effects, |flow| {
        let stopping = flow.scope(ROOT).stopping() == Stop::Now;
        if flow.run.head.status().is_terminal() || stopping {
            return false;
        }
        let reason = if command.reason.is_empty() { "cancelled by request" } else { &command.reason };
        let cause = Failure::new(FailureClass::Cancelled, "cancelled", reason);
        flow.stop_scope(ROOT, Stop::Now, cause);
        true
    });
    Ok(Outcome::run(&command.run_id, changed.unwrap_or(false)))
}
