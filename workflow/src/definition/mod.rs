//! The model: what a workflow definition is made of. These types are the YAML form, the JSON form and what the DSL
//! builds; all three are the same types, so equal definitions have equal canonical JSON and content hash.
//!
//! Nothing here checks anything: `reader` checks the shape (and is what `Deserialize` of a definition or a node runs),
//! `validate` the meaning.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::units::Millis;

mod composite;
mod step;

pub use composite::{Branch, ForEach, Graph, Items, Repeat, Subworkflow, Switch, Wait};
pub use step::{Constraint, ConstraintOperator, Fetch, MemoryGrowth, Resources, Retry, RetryPolicy, Step};

/// A workflow: a named graph with typed parameters. Immutable once registered; its version is its content hash.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Name: lowercase letters, digits, `_` and `-`, starting with a letter; at most 128 characters.
    pub name: String,
    /// What the workflow is for, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Typed parameters of a run, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Param>,
    /// The whole run must end within this time; none means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// The graph.
    pub nodes: Vec<Node>,
    /// Outputs of the run: name to expression, evaluated when the graph has ended.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Expression>,
}

/// An expression of the template language, without braces: `outputs.validate.rmse < 0.9`.
pub type Expression = String;

/// Type, default and limits of a parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// The type of its values.
    #[serde(rename = "type")]
    pub kind: ParamType,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Value when a run gives none; without a default the parameter is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Least value (integer, number).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// Greatest value (integer, number).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// Least length (string: characters; list: items).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_length: Option<u64>,
    /// Greatest length (string: characters; list: items).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
    /// The only values allowed.
    #[serde(default, rename = "enum", skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<Value>>,
}

/// The types a parameter can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParamType {
    /// UTF-8 text.
    String,
    /// A whole number of 64 bits.
    Integer,
    /// A number.
    Number,
    /// true or false.
    Boolean,
    /// A JSON array.
    List,
    /// A JSON object.
    Object,
}

/// A vertex of a graph: a step, or a composite that holds graphs of its own.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(transform = crate::schema::one_work)]
pub struct Node {
    /// Unique within its graph: letters, digits, `_` and `-`, starting with a letter; at most 64 characters.
    pub id: String,
    /// Nodes of the same graph that come before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// When the needs allow this node to start.
    #[serde(default, skip_serializing_if = "is_default")]
    pub trigger: TriggerRule,
    /// What a final failure of this node does to the graph that holds it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: FailureMode,
    /// Longest time: for a step, of one attempt, counted from its placement; for a composite, of the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// The work.
    #[serde(flatten)]
    pub work: Work,
}

/// What a node does. In YAML, exactly one of `kind`, `for_each`, `repeat`, `switch`, `subworkflow` and `wait` is given.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Work {
    /// Runs the graph once for each item of a list.
    ForEach {
        /// The loop.
        for_each: ForEach,
    },
    /// Runs the graph until an expression holds.
    Repeat {
        /// The loop.
        repeat: Repeat,
    },
    /// Runs the first branch whose expression holds.
    Switch {
        /// The branches.
        switch: Switch,
    },
    /// Runs another workflow as a part of this run.
    Subworkflow {
        /// Which one.
        subworkflow: Subworkflow,
    },
    /// Waits for a signal sent to the run.
    Wait {
        /// Which one.
        wait: Wait,
    },
    /// Does work on an agent.
    Step(Step),
}

/// When a node's needs allow it to start. A node whose rule can no longer be met is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerRule {
    /// All needs succeeded.
    #[default]
    AllSucceeded,
    /// All needs ended, whatever the end.
    AllDone,
    /// At least one succeeded; starts as soon as one has.
    AnySucceeded,
    /// All needs ended and none failed (skipped is well).
    NoneFailed,
}

/// What a node's final failure does to the graph that holds it. A graph that fails makes its composite fail, whose own
/// mode then decides one level up; at the top the run fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureMode {
    /// Starts nothing new in the graph, lets running attempts end, then fails it.
    #[default]
    AfterRunning,
    /// Kills the graph's running attempts and fails it.
    Now,
    /// The graph goes on; later nodes see the failure through their trigger rule.
    Ignore,
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
