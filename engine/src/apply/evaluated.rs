//! Evaluated: the leader evaluated the expressions of a composite that opens or a scope that closes.

use bytes::Bytes;
use imbl::Vector;
use meson_workflow::definition::Subworkflow;

use super::{Out, Result, stale};
use crate::command::Evaluated;
use crate::flow::Flow;
use crate::ids::{Evaluation, NodeNo, ScopeKey};
use crate::limits::{ITEMS_MAX, OUTPUT_BYTES_MAX};
use crate::outcome::Outcome;
use crate::plan::PlanWork;
use crate::record::{Composite, Failure};
use crate::state::{EMPTY_OBJECT, State};
use crate::status::{FailureClass, NodeStatus, Phase, Stop};

pub(super) fn apply(state: &mut State, command: Evaluated, out: &mut Out) -> Result {
    let evaluation = match command.close {
        true => Evaluation::Close { scope: (command.node, command.index) },
        false => Evaluation::Open { node: command.node },
    };
    let key = (command.run, evaluation);
    if state.index.evaluating.remove(&key).is_none() {
        return Err(stale("nobody waits for this evaluation"));
    }
    state.flow(command.run, &mut out.effects, |flow| match evaluation {
        Evaluation::Open { node } => open(flow, node, command),
        Evaluation::Close { scope } => close(flow, scope, command),
    });
    Ok(Outcome::done(true))
}

fn open(flow: &mut Flow<'_>, no: NodeNo, command: Evaluated) {
    if let Some(stop) = flow.stop_over(flow.node(no).scope()) {
        return flow.end(no, stop.unstarted(), None);
    }
    if let Some(failure) = command.failure {
        return flow.fail(no, failure);
    }
    let planned = flow.planned(no);
    match &planned.work {
        PlanWork::ForEach { .. } => open_for_each(flow, no, command.items),
        PlanWork::Repeat { max_iterations, body, .. } => {
            open_one(flow, no, *max_iterations, 0, None, *body, command.variables);
        }
        PlanWork::Switch { branches, default } => {
            let taken = command.branch.and_then(|place| Some((place, branches.get(place as usize)?.1)));
            match taken.or(default.map(|body| (branches.len() as u32, body))) {
                Some((index, body)) => open_one(flow, no, 1, index, None, body, Bytes::new()),
                None => flow.succeed(no, EMPTY_OBJECT),
            }
        }
        PlanWork::Subworkflow(call) => match pin(flow, call) {
            Some(pin) => open_one(flow, no, 1, 0, Some(pin), 0, command.variables),
            None => {
                let message = format!("no definition of `{}` is pinned to this run", call.name);
                flow.fail(no, Failure::new(FailureClass::Rejected, "not_pinned", message));
            }
        },
        PlanWork::Step(_) | PlanWork::Wait(_) => {}
    }
}

fn open_for_each(flow: &mut Flow<'_>, no: NodeNo, items: Vec<Bytes>) {
    if items.len() > ITEMS_MAX {
        let message = format!("{} items; a for_each may have {ITEMS_MAX}", items.len());
        return flow.fail(no, Failure::new(FailureClass::Rejected, "limit_exceeded", message));
    }
    if items.is_empty() {
        flow.node_mut(no).composite = Some(Box::default());
        return flow.succeed(no, Bytes::new());
    }
    flow.set_status(no, NodeStatus::Active);
    let composite = Composite { total: items.len() as u32, ..Composite::default() };
    flow.node_mut(no).composite = Some(Box::new(composite));
    flow.run.items.insert(no, items.into_iter().collect::<Vector<Bytes>>());
    flow.expand(no);
}

/// Opens the first scope of a composite that has one at a time. `created` counts up to and with `index`, so that the
/// newest scope is always at `created - 1`.
fn open_one(
    flow: &mut Flow<'_>,
    no: NodeNo,
    total: u32,
    index: u32,
    pin: Option<u32>,
    body: u32,
    variables: Bytes,
) {
    flow.set_status(no, NodeStatus::Active);
    let composite = Composite { total, created: index + 1, active: 1, ..Composite::default() };
    flow.node_mut(no).composite = Some(Box::new(composite));
    let pin = pin.unwrap_or_else(|| flow.scope(flow.node(no).scope()).pin);
    flow.open_scope((no, index), pin, body, variables);
}

/// Which of the run's pins a call means: the version it names, else the newest of that name, which was the newest of
/// all when the run started.
fn pin(flow: &Flow<'_>, call: &Subworkflow) -> Option<u32> {
    let pins = flow.run.info.pins.iter().zip(0u32..);
    let mut named = pins.filter(|(hash, _)| {
        flow.definitions.get(*hash).is_some_and(|registered| registered.plan.name == call.name)
    });
    match &call.version {
        Some(version) => named.find(|(hash, _)| *hash == version).map(|(_, pin)| pin),
        None => {
            let versions = flow.workflows.get(&call.name)?;
            let age = |hash: &String| versions.iter().position(|known| known.hash == *hash);
            named.max_by_key(|(hash, _)| age(hash)).map(|(_, pin)| pin)
        }
    }
}

fn close(flow: &mut Flow<'_>, key: ScopeKey, mut command: Evaluated) {
    if command.failure.is_none() && command.outputs.len() > OUTPUT_BYTES_MAX {
        let message = format!(
            "the outputs are {} bytes; {OUTPUT_BYTES_MAX} are allowed: publish large data as an artifact",
            command.outputs.len()
        );
        command.failure = Some(Failure::new(FailureClass::User, "output_too_large", message));
    }
    if let Some(failure) = command.failure {
        flow.scope_mut(key).failed = true;
        flow.stop_scope(key, Stop::AfterRunning, failure);
        return flow.scope_ended(key, Phase::Failed);
    }
    flow.scope_mut(key).outputs = command.outputs;
    let again = key.0 != 0 && !command.until && matches!(flow.planned(key.0).work, PlanWork::Repeat { .. });
    if again {
        flow.scope_mut(key).phase = Phase::Done as i32;
        flow.iterate(key.0, command.variables);
    } else {
        flow.scope_ended(key, Phase::Done);
    }
}
