//! Outputs of nodes. A for_each's lists are put together when somebody asks, so that the state holds each value once.

use meson_engine::State;
use meson_engine::ids::NodeNo;
use meson_engine::plan::PlanWork;
use meson_engine::record::{Node, Run};
use meson_engine::status::NodeStatus;
use serde_json::{Map, Value};

use super::context::object;

/// Outputs of a for_each longer than this are not shown in lists of nodes, in bytes of JSON.
const SHOWN_BYTES_MAX: usize = 256 << 10;

/// What a node that succeeded gave.
pub(super) fn outputs(state: &State, run: &Run, no: NodeNo, node: &Node) -> Option<Map<String, Value>> {
    let PlanWork::ForEach { body, .. } = &state.planned(run, no)?.work else {
        return Some(object(&node.outputs));
    };
    let scope = run.scopes.get(&node.scope())?;
    let names = &state.plan(run, scope.pin)?.bodies.get(*body as usize)?.outputs;
    let total = node.composite.as_ref().map_or(0, |composite| composite.total);
    let mut items: Vec<Map<String, Value>> = (0..total)
        .map(|index| run.scopes.get(&(no, index)).map(|scope| object(&scope.outputs)).unwrap_or_default())
        .collect();
    let mut take = |name: &String| {
        Value::Array(items.iter_mut().map(|item| item.remove(name).unwrap_or_default()).collect())
    };
    Some(names.keys().map(|name| (name.clone(), take(name))).collect())
}

/// A node's outputs as JSON text; empty when it has none (yet), or too many to show.
pub fn outputs_json(state: &State, run: &Run, no: NodeNo) -> String {
    let Some(node) = run.nodes.get(&no).filter(|node| node.status() == NodeStatus::Succeeded) else {
        return String::new();
    };
    match outputs(state, run, no, node) {
        Some(outputs) if !outputs.is_empty() => {
            let text = Value::Object(outputs).to_string();
            if text.len() <= SHOWN_BYTES_MAX { text } else { String::new() }
        }
        _ => String::new(),
    }
}
