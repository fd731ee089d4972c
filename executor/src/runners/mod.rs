//! The step technologies this executor knows: one file each, and one line each in [`REGISTRY`]. Beside them stand the kinds
//! that plugins bring, in [`plugin`].

mod docker;
mod hive;
mod noop;
pub mod plugin;
mod python;
mod r;
mod scala;
mod shell;
mod spark;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use meson_proto::v1::Launch;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize as _, Deserializer};
use serde_json::{Map, Value};

use crate::config::Config;
use crate::drive::{Job, Stop, Verdict, Voice};
use crate::task::dirs::AttemptDir;

/// All runners. A new technology is a file and a line here.
pub const REGISTRY: &[&dyn Runner] = &[
    &docker::Docker,
    &hive::Hive,
    &noop::Noop,
    &python::Python,
    &r::R,
    &scala::Scala,
    &shell::Shell,
    &spark::Spark,
];

/// One step technology.
pub trait Runner: Sync {
    /// The step kind.
    fn kind(&self) -> &'static str;

    /// Whether this machine has what such steps need.
    fn is_available(&self, _: &Config) -> bool {
        true
    }

    /// Turns a launch into what is to be done. Pure: nothing is written or started.
    ///
    /// # Errors
    /// When the step's configuration is wrong; the attempt then fails as rejected.
    fn prepare(&self, launch: &Launch, place: &Place<'_>) -> Result<Plan, Rejected>;

    /// Follows the work that an engine does for the attempt, in a process of its own; gives an exit status. Only for those
    /// whose plan is a [`crate::drive::program`].
    fn drive<'a>(&'a self, job: &'a Job, _: &'a Voice, _: Stop) -> BoxFuture<'a, Result<i32, Verdict>> {
        let verdict = Verdict::rejected("not_driven", format!("steps of kind `{}` have no driver", job.kind));
        std::future::ready(Err(verdict)).boxed()
    }

    /// Ends what `drive` began outside of its process. It may never have begun, or have ended long ago.
    fn clean_up<'a>(&'a self, _: &'a Job) -> BoxFuture<'a, Result<(), Verdict>> {
        std::future::ready(Ok(())).boxed()
    }
}

/// Where a step will run.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The executor's settings.
    pub config: &'a Config,
    /// The attempt's files; not yet created.
    pub dir: &'a AttemptDir,
}

/// What is to be done for an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Run a child process.
    Process(Program),
    /// Wait and say how it ended, without any process or file.
    InProcess(Ending),
}

/// A child process to run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Program {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables beside the task contract's.
    pub env: Vec<(String, String)>,
    /// Files to write before the start.
    pub files: Vec<(PathBuf, String)>,
    /// Run when its process tree is gone: ends what it began outside of it.
    pub cleanup: Vec<String>,
}

/// How an in-process attempt ends.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ending {
    /// After how long.
    pub after: Duration,
    /// What it hands to later steps.
    pub outputs: Map<String, Value>,
    /// Set when it fails.
    pub fail: Option<String>,
}

/// A wrong configuration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Rejected(pub String);

/// The runner of a kind.
pub fn find(kind: &str) -> Option<&'static dyn Runner> {
    REGISTRY.iter().copied().find(|runner| runner.kind() == kind)
}

/// The kinds that this machine can run.
pub fn kinds(config: &Config) -> Vec<String> {
    let available = REGISTRY.iter().filter(|runner| runner.is_available(config));
    available.map(|runner| runner.kind().to_owned()).collect()
}

/// Whether a program is there, by its path or on the search path.
fn is_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    name.contains('/') && Path::new(name).is_file()
        || std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// A file as an argument: one whose name begins like an option is none.
fn path_argument(path: String) -> String {
    if path.starts_with('-') { format!("./{path}") } else { path }
}

/// Reads a step's configuration; an empty text is an empty object.
fn read<T: DeserializeOwned>(launch: &Launch) -> Result<T, Rejected> {
    let text = if launch.config_json.is_empty() { "{}" } else { &launch.config_json };
    serde_json::from_str(text)
        .map_err(|error| Rejected(format!("configuration of the {} step: {error}", launch.kind)))
}

/// A list of texts. A template that is a whole item gives a number or a truth value as such; as an argument it is text.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    some_texts(deserializer).map(Option::unwrap_or_default)
}

/// The same, if there is one.
fn some_texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let text = |item| match item {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        other => Err(D::Error::custom(format!("`{other}` is no text"))),
    };
    let items = Option::<Vec<Value>>::deserialize(deserializer)?;
    items.map(|items| items.into_iter().map(text).collect()).transpose()
}

#[cfg(test)]
mod testing {
    use super::*;

    /// What the runner of `kind` makes of a configuration.
    pub fn plan(kind: &str, config_json: &str) -> Result<Plan, Rejected> {
        let launch =
            Launch { kind: kind.to_owned(), config_json: config_json.to_owned(), ..Launch::default() };
        let dir = AttemptDir::new(PathBuf::from("/attempt"));
        find(kind).unwrap().prepare(&launch, &Place { config: &Config::default(), dir: &dir })
    }

    /// The arguments it would run.
    pub fn argv(kind: &str, config_json: &str) -> Vec<String> {
        match plan(kind, config_json).unwrap() {
            Plan::Process(program) => program.argv,
            other => panic!("no process: {other:?}"),
        }
    }

    #[test]
    fn kinds_are_distinct() {
        let mut kinds: Vec<_> = REGISTRY.iter().map(|runner| runner.kind()).collect();
        kinds.dedup();
        assert_eq!(kinds.len(), REGISTRY.len());
    }
}
