//! What an expression can see. JSON is shared, not copied: it is turned into the engine's values when an expression first
//! asks for it, node by node, and kept for the next one.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use minijinja::Value as Seen;
use minijinja::value::{Enumerator, Object};
use serde_json::{Map, Value};

use super::convert::from_json;

/// The names of an evaluation and their values. A builder; clones are cheap and share what was converted.
#[derive(Debug, Clone, Default)]
pub struct Context {
    root: Arc<Root>,
}

#[derive(Debug, Clone, Default)]
struct Root {
    names: BTreeMap<String, Arc<Lazy>>,
    outputs: Arc<Outputs>,
}

#[derive(Debug, Clone, Default)]
struct Outputs(BTreeMap<String, Arc<Lazy>>);

#[derive(Debug)]
struct Lazy {
    json: Json,
    seen: OnceLock<Seen>,
}

#[derive(Debug)]
enum Json {
    Object(Arc<Map<String, Value>>),
    Value(Arc<Value>),
}

impl Lazy {
    fn new(json: Json) -> Arc<Self> {
        Arc::new(Lazy { json, seen: OnceLock::new() })
    }

    fn get(&self) -> Seen {
        let convert = || match &self.json {
            Json::Object(object) => super::convert::from_object(object),
            Json::Value(value) => from_json(value),
        };
        self.seen.get_or_init(convert).clone()
    }
}

impl Context {
    /// A context that sees nothing but an empty `params` and `outputs`.
    pub fn new() -> Self {
        Context::default().params(Map::new())
    }

    /// Sets `params`: the run's parameters.
    #[must_use]
    pub fn params(self, params: impl Into<Arc<Map<String, Value>>>) -> Self {
        self.name("params", Json::Object(params.into()))
    }

    /// Adds `outputs.<node>`: what a node that succeeded gave.
    #[must_use]
    pub fn output(mut self, node: impl Into<String>, outputs: impl Into<Arc<Map<String, Value>>>) -> Self {
        let root = Arc::make_mut(&mut self.root);
        Arc::make_mut(&mut root.outputs).0.insert(node.into(), Lazy::new(Json::Object(outputs.into())));
        self
    }

    /// Sets the item of a for_each, under its name, and `index`. In loops inside loops call it from the outermost in:
    /// outer items stay visible under their own names, `index` is the innermost one's.
    #[must_use]
    pub fn item(self, name: &str, item: impl Into<Arc<Value>>, index: u64) -> Self {
        self.name(name, Json::Value(item.into())).name("index", Json::Value(Arc::new(index.into())))
    }

    /// Sets `state`: the state of a repeat's iteration.
    #[must_use]
    pub fn state(self, state: impl Into<Arc<Map<String, Value>>>) -> Self {
        self.name("state", Json::Object(state.into()))
    }

    /// Sets `iteration`: a repeat's iteration, from 1.
    #[must_use]
    pub fn iteration(self, iteration: u64) -> Self {
        self.name("iteration", Json::Value(Arc::new(iteration.into())))
    }

    /// Sets `run.id` and `run.workflow`.
    #[must_use]
    pub fn run(self, id: &str, workflow: &str) -> Self {
        let run = serde_json::json!({ "id": id, "workflow": workflow });
        self.name("run", Json::Value(Arc::new(run)))
    }

    /// Sets `attempt`: the attempt of a step, from 1.
    #[must_use]
    pub fn attempt(self, attempt: u64) -> Self {
        self.name("attempt", Json::Value(Arc::new(attempt.into())))
    }

    fn name(mut self, name: &str, json: Json) -> Self {
        Arc::make_mut(&mut self.root).names.insert(name.to_owned(), Lazy::new(json));
        self
    }

    /// The context as the engine takes it.
    pub(super) fn root(&self) -> Seen {
        Seen::from_dyn_object(self.root.clone())
    }
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Seen) -> Option<Seen> {
        match key.as_str()? {
            "outputs" => Some(Seen::from_dyn_object(self.outputs.clone())),
            name => self.names.get(name).map(|lazy| lazy.get()),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let names = self.names.keys().map(String::as_str).chain(["outputs"]);
        Enumerator::Values(names.map(Seen::from).collect())
    }
}

impl Object for Outputs {
    fn get_value(self: &Arc<Self>, key: &Seen) -> Option<Seen> {
        self.0.get(key.as_str()?).map(|lazy| lazy.get())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|node| Seen::from(node.as_str())).collect())
    }
}
