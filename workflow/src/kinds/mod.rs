//! The kinds of steps this crate knows: what each is for and how its `config` is checked. A new kind is one file here and
//! one line in `KINDS`.

mod docker;
mod hive;
mod noop;
mod plugin;
mod python;
mod r;
mod scala;
mod shell;
mod spark;

use serde_json::{Map, Value};

use crate::expression::is_template;
use crate::ids::did_you_mean;
use crate::limits;
use crate::problem::{Problem, Problems};
use crate::reader::quoted;
use crate::tree::{path_text, shorten};
use crate::units::Bytes;

pub use crate::tree::Segment;
pub use plugin::{Plugin, Plugins, Stage, is_plugin_kind};

/// All kinds, in alphabetical order.
pub const KINDS: [&Kind; 8] = [
    &docker::KIND,
    &hive::KIND,
    &noop::KIND,
    &python::KIND,
    &r::KIND,
    &scala::KIND,
    &shell::KIND,
    &spark::KIND,
];

/// A kind of step.
#[derive(Debug)]
pub struct Kind {
    /// Its name in `kind`.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// The names its config may hold.
    pub fields: &'static [&'static str],
    /// Memory without which no step of such a config can run.
    pub least_mem: fn(&Map<String, Value>) -> Bytes,
    /// Checks a config whose names are all known.
    check: fn(&mut ConfigCheck<'_>),
}

/// The kind of a name.
pub fn find(name: &str) -> Option<&'static Kind> {
    KINDS.into_iter().find(|kind| kind.name == name)
}

/// The names of all kinds.
pub fn names() -> [&'static str; KINDS.len()] {
    KINDS.map(|kind| kind.name)
}

/// Checks a config once its templates are rendered: what validation could not know, a run must. Knows no plugins: see
/// [`Plugins::check_rendered`].
pub fn check_rendered(kind: &str, config: &Map<String, Value>) -> Result<(), Problems> {
    Plugins::default().check_rendered(kind, config)
}

/// Problems of a config that has no text.
fn problems_of(found: Vec<ConfigProblem>) -> Result<(), Problems> {
    let mut problems = Problems::default();
    for ConfigProblem { mut path, message, remedy } in found {
        path.insert(0, Segment::Name("config".to_owned()));
        problems.push(Problem { location: None, path: path_text(&path), node: None, message, remedy });
    }
    problems.or(())
}

/// One thing wrong with a config: where in it, what, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The way from the config to the value; empty for the whole.
    pub path: Vec<Segment>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl ConfigProblem {
    /// A problem of the whole.
    fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        ConfigProblem { path: Vec::new(), message: message.into(), remedy: remedy.into() }
    }
}

impl Kind {
    /// Everything wrong with a config of this kind. A string that holds a template passes every type check: what it gives
    /// is known only at run time.
    pub(crate) fn check_config(&self, config: &Map<String, Value>) -> Vec<ConfigProblem> {
        let mut check = ConfigCheck { kind: self.name, config, mistyped: false, problems: Vec::new() };
        for name in config.keys().filter(|name| !self.fields.contains(&name.as_str())) {
            let remedy = match did_you_mean(name, self.fields.iter().copied()) {
                Some(near) => {
                    check.mistyped = true;
                    format!("did you mean `{near}`?")
                }
                None => format!("kind `{}` takes {}", self.name, quoted(self.fields)),
            };
            check.report(&[name], format!("unknown field `{name}`"), remedy);
        }
        (self.check)(&mut check);
        check.problems
    }
}

/// A config under check.
pub(crate) struct ConfigCheck<'a> {
    kind: &'static str,
    config: &'a Map<String, Value>,
    /// Whether a name is known to be mistyped, so that the right one need not be missed.
    mistyped: bool,
    problems: Vec<ConfigProblem>,
}

impl<'a> ConfigCheck<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.config.get(name)
    }

    fn report(&mut self, path: &[&str], message: impl Into<String>, remedy: impl Into<String>) {
        // More are not shown; this one more tells that there are.
        if self.problems.len() > limits::PROBLEMS {
            return;
        }
        let path = path.iter().map(|name| Segment::Name((*name).to_owned())).collect();
        self.problems.push(ConfigProblem { path, message: message.into(), remedy: remedy.into() });
    }

    /// Exactly one of these must be given.
    fn exactly_one(&mut self, names: &[&str], example: &str) {
        let given: Vec<&str> = names.iter().copied().filter(|name| self.config.contains_key(*name)).collect();
        let kind = self.kind;
        match given[..] {
            [_] => {}
            [] if self.mistyped => {}
            [] => {
                let wanted = quoted(names).replace(" and ", " or ");
                self.report(
                    &[],
                    format!("kind `{kind}` needs {wanted} in `config`"),
                    format!("add `{example}`"),
                );
            }
            _ => {
                let message = format!("kind `{kind}` takes only one of {}", quoted(&given));
                self.report(&[given[1]], message, "keep one of them");
            }
        }
    }

    /// This must be given.
    fn required(&mut self, name: &str, example: &str) {
        if self.config.get(name).is_none() && !self.mistyped {
            let message = format!("kind `{}` needs `{name}` in `config`", self.kind);
            self.report(&[], message, format!("add `{example}`"));
        }
    }

    /// The value, if given, must be one of these words.
    fn choice(&mut self, name: &str, words: &[&str]) {
        let Some(value) = self.get(name).filter(|value| !is_whole_template(value)) else { return };
        let Some(word) = value.as_str() else {
            let message = format!("`{name}` must be one of {}, not {}", quoted(words), describe(value));
            return self.report(&[name], message, "write one of these words");
        };
        if !words.contains(&word) {
            let remedy = match did_you_mean(word, words.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write one of {}", quoted(words)),
            };
            self.report(&[name], format!("`{name}` cannot be `{}`", shorten(word)), remedy);
        }
    }

    /// The value, if given, must be text, and not empty.
    fn text(&mut self, name: &str) {
        match self.get(name) {
            None => {}
            Some(Value::String(text)) if text.trim().is_empty() => {
                self.report(&[name], format!("`{name}` is empty"), "write something, or remove it");
            }
            Some(Value::String(_)) => {}
            Some(other) => {
                let message = format!("`{name}` must be text, not {}", describe(other));
                let is_plain = matches!(other, Value::Number(_) | Value::Bool(_));
                self.report(
                    &[name],
                    message,
                    if is_plain { "put it in quotes" } else { "write one piece of text" },
                );
            }
        }
    }

    /// The value, if given, must be a list of texts; numbers and truth values are fine, they become text.
    fn texts(&mut self, name: &str) {
        let Some(value) = self.get(name) else { return };
        if is_whole_template(value) {
            return;
        }
        let Value::Array(items) = value else {
            let message = format!("`{name}` must be a list of texts, not {}", describe(value));
            return self.report(&[name], message, "write `[\"a\", \"b\"]`");
        };
        for (index, item) in items.iter().enumerate() {
            if matches!(item, Value::Array(_) | Value::Object(_) | Value::Null) {
                let message = format!("`{name}[{index}]` must be text, not {}", describe(item));
                self.report(&[name], message, "write one piece of text for each item");
            }
        }
    }
}

/// Whether a value is a string with a template in it, whose type shows only at run time.
fn is_whole_template(value: &Value) -> bool {
    value.as_str().is_some_and(is_template)
}

fn describe(value: &Value) -> String {
    crate::tree::from_value(value).describe()
}
