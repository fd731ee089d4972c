//! Start: makes a run of a workflow version. The same request id gives the same run (P2).

use std::sync::Arc;

use bytes::Bytes;
use meson_workflow::definition::Subworkflow;

use super::{Out, Result};
use crate::archive::{self, RunRecord};
use crate::command::Start;
use crate::effect::Effect;
use crate::ids::ROOT;
use crate::limits::{PINS_MAX, REQUESTS_MAX, RUNS_MAX};
use crate::outcome::{Outcome, Refusal, RefusalKind, refused};
use crate::record::{Run, RunHead, RunInfo};
use crate::state::{Request, State};
use crate::status::RunStatus;

pub(super) fn apply(state: &mut State, command: Start, out: &mut Out) -> Result {
    if let Some(request) = state.requests.get(&command.request_id) {
        return if request.digest == command.digest {
            Ok(Outcome::run(&request.run_id, false))
        } else {
            let message = format!(
                "request id `{}` was used for another workflow or other parameters (run `{}`)",
                command.request_id, request.run_id
            );
            Err(refused(RefusalKind::RequestIdReused, message))
        };
    }
    if state.run_ids.contains_key(&command.run_id) {
        return Err(refused(RefusalKind::RequestIdReused, "the run id is taken; try again"));
    }
    let active = state.runs.len() - state.index.ended.len();
    if active >= RUNS_MAX {
        let message = format!("{RUNS_MAX} runs are active already; try again when some have ended");
        return Err(refused(RefusalKind::LimitExceeded, message));
    }
    let pins = pins(state, &command)?;
    remember(state, &command);
    state.counters.runs += 1;
    let no = state.counters.runs;
    let run_id = command.run_id.clone();
    state.run_ids.insert(run_id.clone(), no);
    state.runs.insert(no, Arc::new(new_run(no, state.now_ms, pins, command)));
    out.effects.push(Effect::RunStarted { run: no });
    state.flow(no, &mut out.effects, |flow| {
        let timeout_ms = flow.registered(0).plan.timeout_ms;
        if let Some(timeout_ms) = timeout_ms {
            flow.set_run_timer(flow.now_ms.saturating_add(timeout_ms));
        }
        flow.touch_head();
        flow.open_scope(ROOT, 0, 0, Bytes::new());
    });
    Ok(Outcome::run(&run_id, true))
}

fn new_run(no: u64, now_ms: u64, pins: Vec<String>, command: Start) -> Run {
    let info = RunInfo {
        number: no,
        run_id: command.run_id,
        workflow: command.workflow,
        pins,
        params: command.params,
        request_id: command.request_id,
        labels: command.labels,
        started_ms: now_ms,
    };
    let head = RunHead { status: RunStatus::Running as i32, next_node: 1, ..RunHead::default() };
    archive::open(RunRecord { info, head })
}

/// Remembers the request, and forgets the oldest ones beyond the bound.
fn remember(state: &mut State, command: &Start) {
    if command.request_id.is_empty() {
        return;
    }
    state.counters.requests += 1;
    let number = state.counters.requests;
    let request = Request { run_id: command.run_id.clone(), digest: command.digest.clone(), number };
    state.requests.insert(command.request_id.clone(), request);
    state.request_order.insert(number, command.request_id.clone());
    while state.requests.len() > REQUESTS_MAX {
        let Some((oldest, id)) = state.request_order.get_min().cloned() else { break };
        state.request_order.remove(&oldest);
        state.requests.remove(&id);
    }
}

/// Content hashes of the run's definition and of all that it calls, directly or not.
fn pins(state: &State, command: &Start) -> std::result::Result<Vec<String>, Refusal> {
    let own = state.definitions.get(&command.version).filter(|own| own.plan.name == command.workflow);
    if own.is_none() {
        let message = format!("there is no version `{}` of workflow `{}`", command.version, command.workflow);
        return Err(refused(RefusalKind::NotFound, message));
    }
    let mut pins = vec![command.version.clone()];
    let mut path = vec![command.version.clone()];
    pin_calls(state, &mut pins, &mut path)?;
    Ok(pins)
}

fn pin_calls(
    state: &State,
    pins: &mut Vec<String>,
    path: &mut Vec<String>,
) -> std::result::Result<(), Refusal> {
    let Some(caller) = path.last().and_then(|hash| state.definitions.get(hash)).cloned() else {
        return Ok(());
    };
    for call in caller.plan.calls() {
        let hash = resolve(state, call).ok_or_else(|| {
            let version = call.version.as_deref().unwrap_or("any version");
            let message = format!(
                "workflow `{}` calls `{}` ({version}), which is not registered; register it first",
                caller.plan.name, call.name
            );
            refused(RefusalKind::NotFound, message)
        })?;
        if path.contains(&hash) {
            let message = format!("workflow `{}` calls itself, through `{}`", call.name, caller.plan.name);
            return Err(refused(RefusalKind::LimitExceeded, message));
        }
        if pins.contains(&hash) {
            continue;
        }
        if pins.len() >= PINS_MAX {
            let message = format!("a run may use {PINS_MAX} definitions by calling workflows");
            return Err(refused(RefusalKind::LimitExceeded, message));
        }
        pins.push(hash.clone());
        path.push(hash);
        pin_calls(state, pins, path)?;
        path.pop();
    }
    Ok(())
}

fn resolve(state: &State, call: &Subworkflow) -> Option<String> {
    let versions = state.workflows.get(&call.name)?;
    match &call.version {
        Some(version) => versions.iter().map(|known| &known.hash).find(|hash| *hash == version).cloned(),
        None => versions.last().map(|newest| newest.hash.clone()),
    }
}
