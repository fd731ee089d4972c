//! Composites: nodes that hold graphs of their own, call another workflow or wait for a signal.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Expression, Node};

/// A loop over a list; items run side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForEach {
    /// A literal list, or an expression that gives one.
    pub items: Items,
    /// Name under which the graph sees its item; `index` is its place, from 0. Default `item`.
    #[serde(default = "default_item", rename = "as", skip_serializing_if = "is_default_item")]
    pub item: String,
    /// Most items under way at once; none means no cap of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// The graph of one item.
    pub nodes: Vec<Node>,
    /// Outputs of one item; the composite's output of that name is the list of all items' values, in item order (null
    /// for an item that failed).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Expression>,
}

/// Where a loop's items come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Items {
    /// The items themselves.
    Literal(Vec<Value>),
    /// An expression that gives a list.
    Expression(Expression),
}

/// A loop that runs its graph again until it is content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// Ends the loop when true; sees the outputs of the iteration that just ended, `state` and `iteration` (from 1).
    pub until: Expression,
    /// Most iterations; when they are used up the node fails.
    pub max_iterations: u32,
    /// State of the first iteration; strings are templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub state: BTreeMap<String, Value>,
    /// State of the next iteration: name to expression over the one that ended. Names not given keep their value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub carry: BTreeMap<String, Expression>,
    /// The graph of one iteration.
    pub nodes: Vec<Node>,
    /// Outputs, taken from the last iteration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Expression>,
}

/// A choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// Tried in order.
    pub branches: Vec<Branch>,
    /// Run when no branch's expression holds; without it the node then succeeds with no outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Graph>,
}

/// A branch of a choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    /// The condition.
    pub when: Expression,
    /// The graph.
    pub nodes: Vec<Node>,
    /// Outputs when this branch ran.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Expression>,
}

/// A graph with outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Outputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Expression>,
}

/// A call of another registered workflow. Its version is pinned when the run starts; its outputs become the node's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subworkflow {
    /// Its name.
    pub name: String,
    /// Its content hash; default: the latest version when the run starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its parameters; strings are templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
}

/// A wait for a signal. The signal's payload becomes the output `payload`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// The signal's name.
    pub signal: String,
}

fn default_item() -> String {
    "item".to_owned()
}

fn is_default_item(name: &str) -> bool {
    name == "item"
}
