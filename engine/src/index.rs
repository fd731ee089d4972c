//! Builds the indexes from the records: on the way in from a snapshot, and to check that the ones kept up step by step
//! are right.

use std::sync::Arc;

use imbl::OrdSet;

use crate::ids::{Evaluation, NodeNo, ReadyKey};
use crate::plan::PlanWork;
use crate::record::{Node, Run};
use crate::state::{Index, State};
use crate::status::{NodeStatus, Phase};

/// Replaces the indexes, and each run's list of waiting nodes, by ones built anew.
pub(crate) fn rebuild(state: &mut State) {
    state.index = build(state);
    let numbers: Vec<_> = state.runs.keys().copied().collect();
    for no in numbers {
        let Some(run) = state.runs.get(&no) else { continue };
        let waits = waits(state, run);
        if let Some(run) = state.runs.get_mut(&no).filter(|run| run.waits != waits) {
            Arc::make_mut(run).waits = waits;
        }
    }
}

/// What the indexes must be.
pub(crate) fn build(state: &State) -> Index {
    let mut index = Index::default();
    for run in state.runs.values() {
        add_run(&mut index, run);
        for (no, node) in &run.nodes {
            add_node(&mut index, state, run, *no, node);
        }
    }
    index
}

fn add_run(index: &mut Index, run: &Run) {
    let (no, head) = (run.number(), &run.head);
    if head.timer_ms != 0 {
        index.timers.insert((head.timer_ms, no, 0));
    }
    if head.archived != 0 || head.sweep != 0 {
        index.continuing.insert((no, 0));
    } else if head.status().is_terminal() {
        index.ended.insert((head.ended_ms, no));
    }
    for (key, scope) in &run.scopes {
        if scope.phase() == Phase::Closing {
            index.evaluating.insert((no, Evaluation::Close { scope: *key }));
        }
    }
}

fn add_node(index: &mut Index, state: &State, run: &Run, no: NodeNo, node: &Node) {
    let key = (run.number(), no);
    if node.timer_ms != 0 {
        index.timers.insert((node.timer_ms, key.0, no));
    }
    match node.status() {
        NodeStatus::Evaluating => {
            index.evaluating.insert((key.0, Evaluation::Open { node: no }));
        }
        NodeStatus::Ready if node.position != 0 => {
            let rank = priority(state, run, no).saturating_neg();
            index.ready.insert(ReadyKey { rank, position: node.position, run: key.0, node: no });
        }
        NodeStatus::Placed | NodeStatus::Running => {
            let agent = node.attempt.as_ref().map(|attempt| attempt.agent.clone()).unwrap_or_default();
            let mut live = index.live.get(&agent).cloned().unwrap_or_default();
            live.insert(key);
            index.live.insert(agent, live);
        }
        NodeStatus::Active if node.composite.as_ref().is_some_and(|composite| composite.expanding) => {
            index.continuing.insert(key);
        }
        _ => {}
    }
}

fn priority(state: &State, run: &Run, no: NodeNo) -> i32 {
    state.planned(run, no).and_then(|planned| planned.step()).map_or(0, |step| step.priority)
}

pub(crate) fn waits(state: &State, run: &Run) -> imbl::OrdMap<String, OrdSet<NodeNo>> {
    let mut waits = imbl::OrdMap::new();
    for (no, _) in run.nodes.iter().filter(|(_, node)| node.status() == NodeStatus::Waiting) {
        if let Some(PlanWork::Wait(signal)) = state.planned(run, *no).map(|planned| &planned.work) {
            let mut nodes: OrdSet<NodeNo> = waits.get(signal).cloned().unwrap_or_default();
            nodes.insert(*no);
            waits.insert(signal.clone(), nodes);
        }
    }
    waits
}
