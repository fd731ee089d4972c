//! Continue: the next piece of work that was cut up, so that no single command causes more than a bounded amount: a
//! for_each that opens more scopes, a sweep over a run's nodes, or a run on its way to the archive.

use super::{Out, Result, stale};
use crate::archive;
use crate::command::Continue;
use crate::effect::Effect;
use crate::ids::RunNo;
use crate::limits::ARCHIVE_NODES_MAX;
use crate::outcome::Outcome;
use crate::state::State;
use crate::status::{NodeStatus, Stop};

pub(super) fn apply(state: &mut State, command: Continue, out: &mut Out) -> Result {
    if !state.index.continuing.contains(&(command.run, command.node)) {
        return Err(stale("this work is done"));
    }
    let archiving = state.runs.get(&command.run).is_some_and(|run| run.head.archived > 0);
    if archiving {
        archive_piece(state, command.run, out);
    } else if command.node != 0 {
        state.flow(command.run, &mut out.effects, |flow| {
            let node = flow.node(command.node);
            let stopped =
                flow.composite(command.node).stopping() != Stop::No || flow.stop_over(node.scope()).is_some();
            if node.status() == NodeStatus::Active && !stopped {
                flow.expand(command.node);
            }
        });
    } else {
        // A flow ends with the next piece of a sweep that is under way.
        state.flow(command.run, &mut out.effects, |_| ());
    }
    Ok(Outcome::done(true))
}

fn archive_piece(state: &mut State, no: RunNo, out: &mut Out) {
    let Some(run) = state.runs.get_mut(&no) else { return };
    let from = run.head.archived;
    let to = from.saturating_add(ARCHIVE_NODES_MAX);
    if to < run.head.next_node {
        out.archive.extend(archive::nodes(run, from..to));
        std::sync::Arc::make_mut(run).head.archived = to;
        out.effects.push(Effect::Continue { run: no, node: 0 });
        return;
    }
    out.archive.extend(archive::nodes(run, from..run.head.next_node));
    out.archive.push(archive::head(run));
    state.run_ids.remove(&run.info.run_id);
    state.runs.remove(&no);
    state.index.continuing.remove(&(no, 0));
    out.effects.push(Effect::RunEnded { run: no });
}
