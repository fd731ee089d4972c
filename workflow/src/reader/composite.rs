//! Composites: loops, choices, calls and waits.

use super::Reader;
use crate::definition::{Branch, ForEach, Graph, Items, Repeat, Subworkflow, Switch, Wait};
use crate::tree::{Data, Tree};

const FOR_EACH: [&str; 5] = ["items", "as", "concurrency", "nodes", "outputs"];
const REPEAT: [&str; 6] = ["until", "max_iterations", "state", "carry", "nodes", "outputs"];
const SWITCH: [&str; 2] = ["branches", "default"];
const BRANCH: [&str; 3] = ["when", "nodes", "outputs"];
const GRAPH: [&str; 2] = ["nodes", "outputs"];
const SUBWORKFLOW: [&str; 3] = ["name", "version", "params"];
const WAIT: [&str; 1] = ["signal"];

impl Reader<'_> {
    pub(super) fn for_each(&mut self, tree: &Tree) -> Option<ForEach> {
        let fields = self.fields(tree, "a for_each", &FOR_EACH)?;
        let items = self.required(&fields, "items", "items: outputs.split.regions", Self::items);
        let item = self.optional(&fields, "as", Self::text).unwrap_or_else(|| "item".to_owned());
        let concurrency = self.optional(&fields, "concurrency", Self::unsigned_32);
        let nodes = self.required(&fields, "nodes", "nodes: [{ id: a, kind: noop }]", Self::nodes);
        let outputs = self.optional(&fields, "outputs", Self::expressions).unwrap_or_default();
        Some(ForEach { items: items?, item, concurrency, nodes: nodes?, outputs })
    }

    fn items(&mut self, tree: &Tree) -> Option<Items> {
        match &tree.data {
            Data::List(_) => self.list(tree, Self::value).map(Items::Literal),
            Data::Text(text) => Some(Items::Expression(text.clone())),
            _ => self.expected(
                tree,
                "a list or an expression",
                "write `[a, b]`, or like `outputs.split.regions`",
            ),
        }
    }

    pub(super) fn repeat(&mut self, tree: &Tree) -> Option<Repeat> {
        let fields = self.fields(tree, "a repeat", &REPEAT)?;
        let until = self.required(&fields, "until", "until: outputs.validate.stable", Self::expression);
        let max_iterations =
            self.required(&fields, "max_iterations", "max_iterations: 10", Self::unsigned_32);
        let state =
            self.optional(&fields, "state", |reader, tree| reader.map(tree, Self::value)).unwrap_or_default();
        let carry = self.optional(&fields, "carry", Self::expressions).unwrap_or_default();
        let nodes = self.required(&fields, "nodes", "nodes: [{ id: a, kind: noop }]", Self::nodes);
        let outputs = self.optional(&fields, "outputs", Self::expressions).unwrap_or_default();
        Some(Repeat { until: until?, max_iterations: max_iterations?, state, carry, nodes: nodes?, outputs })
    }

    pub(super) fn switch(&mut self, tree: &Tree) -> Option<Switch> {
        let fields = self.fields(tree, "a switch", &SWITCH)?;
        let branches = self.required(
            &fields,
            "branches",
            "branches: [{ when: params.x, nodes: […] }]",
            |reader, tree| reader.list(tree, Self::branch),
        );
        let default = self.optional(&fields, "default", Self::graph);
        Some(Switch { branches: branches?, default })
    }

    fn branch(&mut self, tree: &Tree) -> Option<Branch> {
        let fields = self.fields(tree, "a branch", &BRANCH)?;
        let when = self.required(&fields, "when", "when: outputs.check.ok", Self::expression);
        let nodes = self.required(&fields, "nodes", "nodes: [{ id: a, kind: noop }]", Self::nodes);
        let outputs = self.optional(&fields, "outputs", Self::expressions).unwrap_or_default();
        Some(Branch { when: when?, nodes: nodes?, outputs })
    }

    fn graph(&mut self, tree: &Tree) -> Option<Graph> {
        let fields = self.fields(tree, "a graph", &GRAPH)?;
        let nodes = self.required(&fields, "nodes", "nodes: [{ id: a, kind: noop }]", Self::nodes);
        let outputs = self.optional(&fields, "outputs", Self::expressions).unwrap_or_default();
        Some(Graph { nodes: nodes?, outputs })
    }

    pub(super) fn subworkflow(&mut self, tree: &Tree) -> Option<Subworkflow> {
        let fields = self.fields(tree, "a subworkflow", &SUBWORKFLOW)?;
        let name = self.required(&fields, "name", "name: other-workflow", Self::text);
        let version = self.optional(&fields, "version", Self::text);
        let params = self
            .optional(&fields, "params", |reader, tree| reader.map(tree, Self::value))
            .unwrap_or_default();
        Some(Subworkflow { name: name?, version, params })
    }

    pub(super) fn wait(&mut self, tree: &Tree) -> Option<Wait> {
        let fields = self.fields(tree, "a wait", &WAIT)?;
        let signal = self.required(&fields, "signal", "signal: approved", Self::text)?;
        Some(Wait { signal })
    }
}
