//! Signal: a message to a run, taken by a `wait` node of its name, now or later.

use super::{Out, Result, find};
use crate::command::Signal;
use crate::flow::Flow;
use crate::limits::{OUTPUT_BYTES_MAX, SIGNAL_IDS_MAX, SIGNALS_MAX};
use crate::outcome::{Outcome, RefusalKind, refused};
use crate::state::State;

pub(super) fn apply(state: &mut State, command: Signal, out: &mut Out) -> Result {
    let no = find(state, &command.run_id)?;
    let run_id = command.run_id.clone();
    let answer = state.flow(no, &mut out.effects, |flow| {
        if !command.request_id.is_empty() && flow.run.head.signal_ids.contains(&command.request_id) {
            return Ok(false);
        }
        if flow.run.head.status().is_terminal() {
            let message = format!("run `{}` has ended", command.run_id);
            return Err(refused(RefusalKind::WrongState, message));
        }
        let kept: usize = flow.run.signals.values().map(imbl::Vector::len).sum();
        if kept >= SIGNALS_MAX || command.payload.len() > OUTPUT_BYTES_MAX {
            let message = format!(
                "a run keeps at most {SIGNALS_MAX} signals that no node has taken, of {OUTPUT_BYTES_MAX} bytes each"
            );
            return Err(refused(RefusalKind::LimitExceeded, message));
        }
        deliver(flow, command);
        Ok(true)
    });
    Ok(Outcome::run(&run_id, answer.unwrap_or(Ok(false))?))
}

fn deliver(flow: &mut Flow<'_>, command: Signal) {
    if !command.request_id.is_empty() {
        let ids = &mut flow.run.head.signal_ids;
        ids.push(command.request_id);
        if ids.len() > SIGNAL_IDS_MAX {
            ids.remove(0);
        }
    }
    let waiting = flow.run.waits.get(&command.signal).and_then(|nodes| nodes.get_min()).copied();
    match waiting {
        Some(no) => flow.take_signal(no, &command.payload),
        None => {
            let mut kept = flow.run.signals.get(&command.signal).cloned().unwrap_or_default();
            kept.push_back(command.payload);
            flow.run.signals.insert(command.signal, kept);
        }
    }
}
