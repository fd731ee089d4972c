//! Lead: a new leader begins its term. Raise: all replicas understand a newer format.

use super::{Result, stale};
use crate::command::Raise;
use crate::outcome::Outcome;
use crate::state::State;

/// Fences of one term are below those of the next, unless a term gives out more than this many, which is harmless too.
/// So they go on growing after a backup was restored, which forgets some of them but skips many terms.
const FENCES_A_TERM: u64 = 1 << 20;

pub(super) fn apply(state: &mut State) -> Outcome {
    let floor = state.term.saturating_mul(FENCES_A_TERM);
    state.counters.fences = state.counters.fences.max(floor);
    Outcome::done(true)
}

pub(super) fn raise(state: &mut State, command: Raise) -> Result {
    if command.format <= state.format() {
        return Err(stale("the state is at that format, or beyond it"));
    }
    state.raised = command.format;
    Ok(Outcome::done(true))
}
