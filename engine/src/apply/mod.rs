//! `apply(state, command) -> (outcome, effects)`: deterministic and total. The same state and command give the same
//! result on every replica; an illegal command is a refusal, never a panic. One file for each command.

mod agent;
mod cancel;
mod r#continue;
mod evaluated;
mod fire;
mod framework;
mod lead;
mod pause;
mod place;
mod register;
mod report;
mod restart;
mod signal;
mod start;

use prost::Message as _;

use crate::command::{Command, Envelope};
use crate::effect::{ArchiveOp, Effect};
use crate::format;
use crate::ids::RunNo;
use crate::limits::{ENDED_NODES_MAX, ENDED_RUNS_MAX};
use crate::outcome::{Outcome, Refusal, RefusalKind, refused};
use crate::state::State;

/// What came of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// For its proposer.
    pub outcome: Outcome,
    /// For the outside; only the leader carries them out.
    pub effects: Vec<Effect>,
    /// For the archive, on every replica.
    pub archive: Vec<ArchiveOp>,
}

/// What a command's file returns; refusals leave the state as it was.
pub(crate) type Result = std::result::Result<Outcome, Refusal>;

/// What a command writes besides the state.
#[derive(Default)]
pub(crate) struct Out {
    pub effects: Vec<Effect>,
    pub archive: Vec<ArchiveOp>,
}

/// Applies a command as it stands in the log.
pub fn apply_bytes(state: &mut State, bytes: &[u8]) -> Applied {
    apply_bytes_up_to(state, bytes, format::NEWEST)
}

/// Applies a command as it stands in the log, by a program that understands only so much. An outcome of the kind
/// `Unreadable` means that the state is no longer what other replicas have: whoever applies must stop.
pub fn apply_bytes_up_to(state: &mut State, bytes: &[u8], newest: u32) -> Applied {
    let unreadable = |message: String| Applied {
        outcome: refused(RefusalKind::Unreadable, message).into(),
        effects: Vec::new(),
        archive: Vec::new(),
    };
    match Envelope::decode(bytes) {
        Ok(Envelope { command: Some(command), .. }) if command.format() > newest => unreadable(format!(
            "the command is of format {}; this replica understands {newest}",
            command.format()
        )),
        Ok(Envelope { command: None, .. }) => {
            unreadable("the command is of a kind that this version does not know".to_owned())
        }
        Ok(envelope) => apply(state, envelope),
        Err(error) => unreadable(format!("the command cannot be read: {error}")),
    }
}

/// Applies a command.
pub fn apply(state: &mut State, envelope: Envelope) -> Applied {
    let mut out = Out::default();
    let outcome = decide(state, envelope, &mut out).unwrap_or_else(Outcome::from);
    retire(state, &mut out);
    Applied { outcome, effects: out.effects, archive: out.archive }
}

fn decide(state: &mut State, envelope: Envelope, out: &mut Out) -> Result {
    if envelope.term < state.term {
        let message = format!("term {} is over: the state has seen {}", envelope.term, state.term);
        return Err(refused(RefusalKind::StaleTerm, message));
    }
    state.term = envelope.term;
    state.now_ms = state.now_ms.max(envelope.now_ms);
    let Some(command) = envelope.command else {
        return Err(refused(RefusalKind::Unreadable, "the envelope is empty"));
    };
    let needed = command.format();
    if needed > state.format() && !matches!(command, Command::Raise(_)) {
        let message =
            format!("this needs format {needed} on all replicas, and the state is at {}", state.format());
        return Err(refused(RefusalKind::WrongState, message));
    }
    match command {
        Command::Lead(_) => Ok(lead::apply(state)),
        Command::Raise(command) => lead::raise(state, command),
        Command::Drain(command) => agent::drain(state, &command, out),
        Command::Framework(command) => framework::apply(state, command, out),
        Command::Register(command) => register::apply(state, command),
        Command::Start(command) => start::apply(state, command, out),
        Command::Evaluated(command) => evaluated::apply(state, command, out),
        Command::Continue(command) => r#continue::apply(state, command, out),
        Command::Place(command) => place::apply(state, command, out),
        Command::Report(command) => report::apply(state, command, out),
        Command::Fire(command) => fire::apply(state, command, out),
        Command::Cancel(command) => cancel::apply(state, command, out),
        Command::Pause(command) => pause::pause(state, &command.run_id, out),
        Command::Resume(command) => pause::resume(state, &command.run_id, out),
        Command::Restart(command) => restart::apply(state, &command.run_id, out),
        Command::Signal(command) => signal::apply(state, command, out),
        Command::AgentUp(command) => agent::up(state, command, out),
        Command::AgentLost(command) => agent::lost(state, command, out),
        Command::AttemptLost(command) => report::lost(state, command, out),
    }
}

/// Begins to archive the oldest ended runs when too many stand in the working state.
fn retire(state: &mut State, out: &mut Out) {
    if state.index.ended.len() <= 1 {
        return;
    }
    let nodes = |no: &RunNo| state.runs.get(no).map_or(0, |run| u64::from(run.head.counts.total));
    let mut excess = state.index.ended.len().saturating_sub(ENDED_RUNS_MAX);
    let mut total: u64 = state.index.ended.iter().map(|(_, no)| nodes(no)).sum();
    let mut retiring = Vec::new();
    for (ended_ms, no) in &state.index.ended {
        if excess == 0 && total <= ENDED_NODES_MAX {
            break;
        }
        total -= nodes(no);
        excess = excess.saturating_sub(1);
        retiring.push((*ended_ms, *no));
    }
    for key in retiring {
        state.index.ended.remove(&key);
        if let Some(run) = state.runs.get_mut(&key.1) {
            std::sync::Arc::make_mut(run).head.archived = 1;
        }
        state.index.continuing.insert((key.1, 0));
        out.effects.push(Effect::Continue { run: key.1, node: 0 });
    }
}

/// The number of a run in the working state, by its id.
pub(crate) fn find(state: &State, run_id: &str) -> std::result::Result<RunNo, Refusal> {
    state.run_ids.get(run_id).copied().ok_or_else(|| {
        refused(RefusalKind::NotFound, format!("there is no active run `{run_id}`; ended runs cannot change"))
    })
}

pub(crate) fn stale(message: &str) -> Refusal {
    refused(RefusalKind::Stale, message)
}
