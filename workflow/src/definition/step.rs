//! Steps: work for an executor, what it needs of an agent, and how it is tried again.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::is_default;
use crate::limits;
use crate::units::{Bytes, Millis};

/// Work for an executor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Step {
    /// The technology: `shell`, `python`, `r`, `scala`, `docker`, `hive`, `spark`, `noop`.
    pub kind: String,
    /// The kind's own settings. Strings in it are templates.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub config: serde_json::Map<String, Value>,
    /// Environment variables; the values are templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Environment variables that hold secrets, and the names by which the executor knows these. No templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
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
    /// `http(s)://…`, `hdfs://…`, `s3://…`, `file:///…` or an absolute path. A template.
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

/// Retries of a step, one policy for each failure class that is retried at all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// The step's code failed. Default: no retry.
    pub user: RetryPolicy,
    /// Agent, executor or network were lost. Default: 10 retries.
    pub platform: RetryPolicy,
    /// The attempt took longer than its timeout. Default: no retry.
    pub timeout: RetryPolicy,
    /// The attempt was killed for using more memory than it had: tried again with more. Default: a failure of class user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryGrowth>,
}

impl Default for Retry {
    fn default() -> Self {
        let none = RetryPolicy::default();
        Retry { user: none, platform: RetryPolicy { retries: 10, ..none }, timeout: none, memory: None }
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

/// More memory for the next attempt, up to a most, after one that was killed for using too much. The attempt after n such
/// kills holds `min(mem · factor^n, max)`. These retries do not count as those of other failures; when an attempt with the
/// most was killed too, that is a failure of class user.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryGrowth {
    /// Growth from attempt to attempt; above 1. Default 2.
    #[serde(default = "MemoryGrowth::default_factor")]
    pub factor: f64,
    /// The most that an attempt gets.
    pub max: Bytes,
    /// Retries with more memory. Default: as many as it takes to reach `max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Pause before each. Default 1 s.
    #[serde(default = "MemoryGrowth::default_delay")]
    pub delay: Millis,
}

impl MemoryGrowth {
    /// Doubles the memory up to this.
    pub fn up_to(max: Bytes) -> Self {
        let (factor, delay) = (Self::default_factor(), Self::default_delay());
        MemoryGrowth { factor, max, retries: None, delay }
    }

    fn default_factor() -> f64 {
        2.0
    }

    fn default_delay() -> Millis {
        RetryPolicy::default().delay
    }

    /// The sizes that attempts get one after the other, the step's own first. Each is larger than the one before, and the
    /// last is the last that is tried.
    pub fn sizes(&self, mem: Bytes) -> impl Iterator<Item = Bytes> + use<> {
        let MemoryGrowth { factor, max, retries, .. } = *self;
        // By one product after the other, which every machine computes alike; a power may differ in its last bit.
        let next = move |size: &Bytes| {
            // A float beyond the range is brought to the greatest number.
            let grown = (size.0 as f64 * factor).ceil() as u64;
            (*size < max).then(|| Bytes(grown.max(size.0.saturating_add(1)).min(max.0)))
        };
        let retries = retries.unwrap_or(limits::RETRIES) as usize;
        std::iter::successors(Some(mem), next).take(retries.saturating_add(1))
    }

    /// What an attempt gets after so many were killed for using too much.
    pub fn size_after(&self, mem: Bytes, kills: u32) -> Bytes {
        self.sizes(mem).take(kills as usize + 1).last().unwrap_or(mem)
    }
}
