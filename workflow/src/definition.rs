//! The model: what a workflow definition is made of. These types are the YAML form, the JSON form and what the DSL
//! builds; all three are the same serde types, so equal definitions have equal canonical JSON and content hash.
//!
//! Nothing here checks anything beyond the shape; `validate` does.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::units::{Bytes, Millis};

/// A workflow: a named graph with typed parameters. Immutable once registered; its version is its content hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// Work for an executor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// The technology: `shell`, `python`, `noop`, …
    pub kind: String,
    /// The kind's own settings. Strings in it are templates.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub config: serde_json::Map<String, Value>,
    /// Environment variables; the values are templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Files to bring into the attempt's directory before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fetch: Vec<Fetch>,
    /// What an attempt holds of its agent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: Resources,
    /// Which agents will do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// Steps of higher priority are placed first. −1000 to 1000.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    /// Retries, by failure class.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: Retry,
}

/// A dependency of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// `http(s)://…`, `file:///…` or an absolute path. A template.
    pub uri: String,
    /// File name or relative path in the attempt's directory; default: the last part of the URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Expected SHA-256, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Unpack a .tar, .tar.gz, .tgz or .zip archive.
    #[serde(default, skip_serializing_if = "is_default")]
    pub extract: bool,
    /// Set the executable bit.
    #[serde(default, skip_serializing_if = "is_default")]
    pub executable: bool,
}

/// Amounts of an agent's resources.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Processor cores; three decimals count.
    pub cpus: f64,
    /// Memory.
    pub mem: Bytes,
    /// Disk.
    #[serde(skip_serializing_if = "is_default")]
    pub disk: Bytes,
    /// Graphics processors.
    #[serde(skip_serializing_if = "is_default")]
    pub gpus: u32,
}

impl Default for Resources {
    /// A tenth of a core and 64 MiB.
    fn default() -> Self {
        Resources { cpus: 0.1, mem: Bytes(64 << 20), disk: Bytes(0), gpus: 0 }
    }
}

/// A condition on an attribute of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Constraint {
    /// The attribute's name.
    pub attribute: String,
    /// How it is compared.
    pub operator: ConstraintOperator,
    /// What with; for `in` and `not_in` one of these, else exactly one; none for `exists`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// How a constraint compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConstraintOperator {
    /// The attribute has this value.
    Equals,
    /// The attribute is absent or has another value.
    NotEquals,
    /// The attribute has one of these values.
    In,
    /// The attribute is absent or has none of these values.
    NotIn,
    /// The attribute is there.
    Exists,
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

/// Retries of a step, one policy for each failure class that is retried at all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// The step's code failed. Default: no retry.
    pub user: RetryPolicy,
    /// Agent, executor or network were lost. Default: 10 retries.
    pub platform: RetryPolicy,
    /// The attempt took longer than its timeout. Default: no retry.
    pub timeout: RetryPolicy,
}

impl Default for Retry {
    fn default() -> Self {
        let none = RetryPolicy::default();
        Retry { user: none, platform: RetryPolicy { retries: 10, ..none }, timeout: none }
    }
}

/// How often and after what pause a step is tried again. The pause before retry n is
/// `min(delay · factor^(n−1), max_delay)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// Retries after the first attempt. At most 1,000.
    pub retries: u32,
    /// Pause before the first retry. Default 1 s.
    pub delay: Millis,
    /// Growth of the pause. Default 2.
    pub factor: f64,
    /// Longest pause. Default 5 min.
    pub max_delay: Millis,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy { retries: 0, delay: Millis(1_000), factor: 2.0, max_delay: Millis(300_000) }
    }
}

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

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
