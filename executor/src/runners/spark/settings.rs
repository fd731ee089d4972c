//! What a `spark` step may say.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::runners::{Rejected, texts};
use crate::units;

pub(super) const ONE_PROGRAM: &str =
    "a spark step needs one of `script`, `code`, and `jar` with `main_class`";

/// The step's configuration.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Config {
    /// Path or URI of a Python program.
    pub script: Option<String>,
    /// The Python program itself.
    pub code: Option<String>,
    /// Path or URI of a jar, with the name of a class in it.
    pub jar: Option<String>,
    pub main_class: Option<String>,
    #[serde(deserialize_with = "texts")]
    pub args: Vec<String>,
    /// Interpreter of Python.
    pub interpreter: Option<String>,
    /// The master, as Spark names it; `local` runs as many tasks at once as the step has cores.
    pub master: Option<String>,
    /// Web interface of a standalone master.
    pub master_ui: Option<String>,
    /// Gateway for drivers in cluster mode.
    pub gateway: Option<String>,
    pub deploy_mode: Mode,
    /// Properties of Spark.
    #[serde(deserialize_with = "properties")]
    pub conf: BTreeMap<String, String>,
    #[serde(deserialize_with = "texts")]
    pub jars: Vec<String>,
    #[serde(deserialize_with = "texts")]
    pub py_files: Vec<String>,
    #[serde(deserialize_with = "texts")]
    pub files: Vec<String>,
    /// Maven coordinates.
    #[serde(deserialize_with = "texts")]
    pub packages: Vec<String>,
    pub executors: Option<Executors>,
    pub dynamic_allocation: Option<Dynamic>,
    pub stall: Option<Stall>,
}

/// Where the application's driver runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// In the attempt.
    #[default]
    Client,
    /// On the cluster.
    Cluster,
}

/// How many executors of which size.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Executors {
    pub count: Option<u32>,
    pub cores: Option<u32>,
    /// A size, e.g. `2GiB`.
    pub memory: Option<String>,
}

/// As many executors as there is work for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dynamic {
    #[serde(default)]
    pub min: u32,
    pub max: u32,
}

/// What becomes of an application that makes no progress.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stall {
    /// A duration, e.g. `10m`.
    pub after: String,
    #[serde(default)]
    pub then: OnStall,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnStall {
    /// The attempt fails, as if it had timed out.
    #[default]
    Fail,
    /// It is only said.
    Report,
}

impl Stall {
    /// None only when the text is no duration, which `check` refuses.
    pub fn after(&self) -> Option<Duration> {
        units::parse_duration(&self.after)
    }
}

impl Config {
    pub fn check(&self) -> Result<(), Rejected> {
        let refuse = |message: String| Err(Rejected(message));
        match (&self.script, &self.code, &self.jar, &self.main_class) {
            (Some(_), None, None, None) | (None, Some(_), None, None) | (None, None, Some(_), Some(_)) => {}
            _ => return refuse(ONE_PROGRAM.to_owned()),
        }
        if self.main_class.as_ref().is_some_and(|name| name.starts_with('-')) {
            return refuse("`main_class` is the name of a class".to_owned());
        }
        if self.deploy_mode == Mode::Cluster && self.jar.is_none() {
            let message =
                "cluster mode takes a `jar` with `main_class`: a Python program runs in client mode";
            return refuse(message.to_owned());
        }
        for (name, list) in [
            ("jars", &self.jars),
            ("py_files", &self.py_files),
            ("files", &self.files),
            ("packages", &self.packages),
        ] {
            if let Some(bad) = list.iter().find(|item| item.contains(',') || item.is_empty()) {
                return refuse(format!("`{bad}` in `{name}`: one item each, without a comma"));
            }
        }
        for name in self.conf.keys() {
            if !name.starts_with("spark.") || name.contains(char::is_whitespace) {
                return refuse(format!("`{name}` in `conf`: properties of Spark begin with `spark.`"));
            }
            if name.starts_with("spark.meson.") {
                return refuse(format!("`{name}` in `conf` is Meson's own"));
            }
        }
        if self.stall.as_ref().is_some_and(|stall| stall.after().is_none_or(|after| after.is_zero())) {
            return refuse("`stall.after` is no duration, e.g. 10m".to_owned());
        }
        let memory = self.executors.as_ref().and_then(|executors| executors.memory.as_ref());
        if let Some(bad) = memory.filter(|text| units::parse_bytes(text).is_none_or(|bytes| bytes < MIB)) {
            return refuse(format!("`{bad}` in `executors.memory` is no size, e.g. 2GiB"));
        }
        if self.dynamic_allocation.is_some() && self.executors.as_ref().is_some_and(|own| own.count.is_some())
        {
            return refuse("`executors.count` and `dynamic_allocation` exclude each other".to_owned());
        }
        Ok(())
    }
}

pub(super) const MIB: u64 = 1 << 20;

/// Properties; numbers and truth values become text.
fn properties<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let given = BTreeMap::<String, Value>::deserialize(deserializer)?;
    let text = |(name, value)| match value {
        Value::String(text) => Ok((name, text)),
        Value::Number(number) => Ok((name, number.to_string())),
        Value::Bool(truth) => Ok((name, truth.to_string())),
        other => Err(D::Error::custom(format!("`{other}` of `{name}` is no text"))),
    };
    given.into_iter().map(text).collect()
}
