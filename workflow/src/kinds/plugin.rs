//! Kinds that plugins bring. What was declared of them is handed in as a value: this crate reads no plugin and knows no
//! schema. Where nothing was declared, such kinds are accepted by their name alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{ConfigProblem, Kind, find, names, problems_of};
use crate::definition::{Definition, Node, Work};
use crate::ids::{did_you_mean, is_node_id};
use crate::problem::Problems;
use crate::reader::quoted;
use crate::tree::shorten;
use crate::units::Bytes;

/// What stands between the two parts of such a name; no kind of this crate has it.
const SEPARATOR: char = '/';

/// When a config is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// As written: what a string with a template gives is not known yet, and passes every check of type.
    Written,
    /// With its templates filled in.
    Rendered,
}

type Check = dyn Fn(&Map<String, Value>, Stage) -> Vec<ConfigProblem> + Send + Sync;

/// A kind that a plugin brings.
#[derive(Clone)]
pub struct Plugin {
    /// Its name in `kind`, like `acme/notify`.
    pub name: String,
    /// What it does, in one sentence.
    pub summary: String,
    /// Memory without which no such step can run.
    pub least_mem: Bytes,
    check: Arc<Check>,
}

impl Plugin {
    /// A kind whose configs are checked by this function.
    pub fn new(
        name: impl Into<String>,
        summary: impl Into<String>,
        least_mem: Bytes,
        check: impl Fn(&Map<String, Value>, Stage) -> Vec<ConfigProblem> + Send + Sync + 'static,
    ) -> Plugin {
        Plugin { name: name.into(), summary: summary.into(), least_mem, check: Arc::new(check) }
    }

    /// Checks a config once its templates are rendered.
    ///
    /// # Errors
    /// Everything wrong with it, with the places.
    pub fn check_rendered(&self, config: &Map<String, Value>) -> Result<(), Problems> {
        problems_of((self.check)(config, Stage::Rendered))
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whether a text can name a kind of a plugin: two names of lowercase letters, digits, `_` and `-` with a `/` between.
pub fn is_plugin_kind(text: &str) -> bool {
    let is_part = |part: &str| is_node_id(part) && !part.contains(|c: char| c.is_ascii_uppercase());
    text.split_once(SEPARATOR).is_some_and(|(vendor, name)| is_part(vendor) && is_part(name))
}

/// The kinds of plugins that are known here. By default nothing is known of them.
#[derive(Debug, Clone, Default)]
pub struct Plugins(Option<Declared>);

#[derive(Debug, Clone)]
struct Declared {
    place: String,
    kinds: BTreeMap<String, Plugin>,
}

/// A kind by its name.
pub(crate) enum Found<'a> {
    BuiltIn(&'static Kind),
    Plugin(&'a Plugin),
    /// A plugin's, of which nothing is known here.
    Unseen,
}

impl Plugins {
    /// These and no others. `place` says for people where they are declared, like "the setting `plugins`".
    pub fn declared(place: impl Into<String>, kinds: impl IntoIterator<Item = Plugin>) -> Plugins {
        let kinds = kinds.into_iter().map(|kind| (kind.name.clone(), kind)).collect();
        Plugins(Some(Declared { place: place.into(), kinds }))
    }

    /// Checks a config once its templates are rendered: what validation could not know, a run must. Of a kind that is
    /// not declared here nothing is asked: only executors that have it are given its steps, and they check again.
    ///
    /// # Errors
    /// Everything wrong with it, with the places.
    pub fn check_rendered(&self, kind: &str, config: &Map<String, Value>) -> Result<(), Problems> {
        if let Some(declared) = &self.0
            && let Some(plugin) = declared.kinds.get(kind)
        {
            return plugin.check_rendered(config);
        }
        match Plugins::default().find(kind) {
            Ok(Found::BuiltIn(kind)) => problems_of(kind.check_config(config)),
            Ok(Found::Plugin(_) | Found::Unseen) => Ok(()),
            Err(problem) => problems_of(vec![problem]),
        }
    }

    /// The kind of this name.
    pub(crate) fn find(&self, name: &str) -> Result<Found<'_>, ConfigProblem> {
        if let Some(kind) = find(name) {
            return Ok(Found::BuiltIn(kind));
        }
        if !name.contains(SEPARATOR) {
            return Err(self.no_kind(name));
        }
        if !is_plugin_kind(name) {
            let message = format!("`{}` cannot name a kind of a plugin", shorten(name));
            let remedy =
                "write two names with `/` between them, each of lowercase letters, digits, `_` and `-`";
            return Err(ConfigProblem::new(message, remedy));
        }
        let Some(declared) = &self.0 else { return Ok(Found::Unseen) };
        match declared.kinds.get(name) {
            Some(plugin) => Ok(Found::Plugin(plugin)),
            None => Err(declared.no_plugin(name)),
        }
    }

    fn no_kind(&self, name: &str) -> ConfigProblem {
        let plugins = self.0.iter().flat_map(|declared| declared.kinds.keys()).map(String::as_str);
        let known: Vec<&str> = names().into_iter().chain(plugins).collect();
        let remedy = match did_you_mean(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? The kinds are {}", quoted(&known)),
            None => format!("the kinds are {}", quoted(&known)),
        };
        ConfigProblem::new(format!("there is no kind `{}`", shorten(name)), remedy)
    }
}

impl Declared {
    fn no_plugin(&self, name: &str) -> ConfigProblem {
        let known: Vec<&str> = self.kinds.keys().map(String::as_str).collect();
        let place = &self.place;
        let remedy = match did_you_mean(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => format!("add the plugin's folder to {place}, which names none"),
            None => format!("add the plugin's folder to {place}, which has {}", quoted(&known)),
        };
        ConfigProblem::new(format!("no plugin declares the kind `{}`", shorten(name)), remedy)
    }
}

impl Found<'_> {
    pub fn name(&self) -> &str {
        match self {
            Found::BuiltIn(kind) => kind.name,
            Found::Plugin(plugin) => &plugin.name,
            Found::Unseen => "",
        }
    }

    pub fn least_mem(&self, config: &Map<String, Value>) -> Bytes {
        match self {
            Found::BuiltIn(kind) => (kind.least_mem)(config),
            Found::Plugin(plugin) => plugin.least_mem,
            Found::Unseen => Bytes(0),
        }
    }

    /// Everything wrong with a config as it is written.
    pub fn check_config(&self, config: &Map<String, Value>) -> Vec<ConfigProblem> {
        match self {
            Found::BuiltIn(kind) => kind.check_config(config),
            Found::Plugin(plugin) => (plugin.check)(config, Stage::Written),
            Found::Unseen => Vec::new(),
        }
    }
}

impl Definition {
    /// The kinds of plugins that its steps have, at any depth.
    pub fn plugin_kinds(&self) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&[Node]> = vec![&self.nodes];
        while let Some(nodes) = open.pop() {
            for node in nodes {
                match &node.work {
                    Work::Step(step) if step.kind.contains(SEPARATOR) => {
                        found.insert(step.kind.as_str());
                    }
                    Work::ForEach { for_each } => open.push(&for_each.nodes),
                    Work::Repeat { repeat } => open.push(&repeat.nodes),
                    Work::Switch { switch } => {
                        open.extend(switch.branches.iter().map(|branch| branch.nodes.as_slice()));
                        open.extend(switch.default.iter().map(|graph| graph.nodes.as_slice()));
                    }
                    Work::Step(_) | Work::Subworkflow { .. } | Work::Wait { .. } => {}
                }
            }
        }
        found
    }
}
