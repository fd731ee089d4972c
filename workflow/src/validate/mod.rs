//! The meaning of a definition whose shape is right: graphs without cycles, names that are in scope, amounts that make
//! sense, limits kept. Goes on after a problem, so that one look shows them all.

mod composite;
mod graph;
mod params;
mod scope;
mod step;
mod text;

use crate::definition::{Definition, Node, Work};
use crate::kinds::Plugins;
use crate::problem::{Location, Problem, Problems};
use crate::tree::{Segment, Tree, field_text, path_text};
use crate::units::Millis;
use crate::{ids, limits};

use graph::Shape;
use scope::{Frame, Scope};

/// Everything wrong with a definition; empty if it can be run. Nothing is asked of kinds that plugins bring.
pub fn validate(definition: &Definition) -> Problems {
    Check::new(None, &Plugins::default()).run(definition)
}

/// The same, with places in the text that the definition came from.
pub(crate) fn validate_tree(definition: &Definition, tree: &Tree, plugins: &Plugins) -> Problems {
    Check::new(Some(tree), plugins).run(definition)
}

/// Where the check is, and what it found wrong on the way.
pub(crate) struct Check<'t> {
    tree: Option<&'t Tree>,
    plugins: &'t Plugins,
    path: Vec<Segment>,
    nodes: Vec<String>,
    node_count: usize,
    problems: Problems,
}

impl<'t> Check<'t> {
    fn new(tree: Option<&'t Tree>, plugins: &'t Plugins) -> Self {
        let problems = Problems::default();
        Check { tree, plugins, path: Vec::new(), nodes: Vec::new(), node_count: 0, problems }
    }

    fn run(mut self, definition: &Definition) -> Problems {
        self.definition(definition);
        self.problems
    }

    fn definition(&mut self, definition: &Definition) {
        if !ids::is_workflow_name(&definition.name) {
            self.at("name", |check| {
                let message = format!("`{}` cannot be a workflow's name", crate::tree::shorten(&definition.name));
                let most = limits::WORKFLOW_NAME_CHARS;
                let remedy = format!(
                    "use lowercase letters, digits, `_` and `-`, starting with a letter, at most {most} characters"
                );
                check.report(message, remedy);
            });
        }
        self.at("description", |check| check.description(&definition.description));
        self.at("params", |check| check.params(definition));
        self.at("timeout", |check| check.timeout(definition.timeout));
        let root = Scope::root(&definition.params, &definition.name);
        let shape = self.graph(&definition.nodes, &root, 1);
        self.outputs(&definition.outputs, &root.enter(Frame::Graph { shape: &shape, node: None }));
        // Only worth saying when nothing else explains it: every part has its own limits.
        let size = if self.problems.is_empty() { definition.canonical_json().len() } else { 0 };
        if size > limits::DEFINITION_BYTES {
            let message =
                format!("the workflow has {size} bytes as JSON; the limit is {}", limits::DEFINITION_BYTES);
            self.report(message, "split it into subworkflows");
        }
    }

    /// Checks the nodes of a graph, each in the scope of what it needs.
    fn graph<'a>(&mut self, nodes: &'a [Node], scope: &Scope<'_>, depth: usize) -> Shape<'a> {
        let shape = self.at("nodes", |check| check.shape(nodes));
        self.node_count += nodes.len();
        if self.node_count > limits::NODES && self.node_count - nodes.len() <= limits::NODES {
            let message = format!("the workflow has more than {} nodes", limits::NODES);
            self.at("nodes", |check| check.report(message, "use `for_each`, or split it into subworkflows"));
        }
        for (index, node) in nodes.iter().enumerate() {
            if self.problems.is_full() {
                break;
            }
            let scope = scope.enter(Frame::Graph { shape: &shape, node: Some(index) });
            self.path.extend([Segment::Name("nodes".to_owned()), Segment::Index(index)]);
            self.nodes.push(crate::tree::shorten(&node.id));
            self.node(node, &scope, depth);
            self.nodes.pop();
            self.path.truncate(self.path.len() - 2);
        }
        shape
    }

    fn node(&mut self, node: &Node, scope: &Scope<'_>, depth: usize) {
        self.node_basics(node);
        self.at("timeout", |check| check.timeout(node.timeout));
        if depth > limits::NESTING_DEPTH
            && !matches!(node.work, Work::Step(_) | Work::Wait { .. } | Work::Subworkflow { .. })
        {
            let message = format!("composites are nested more than {} deep", limits::NESTING_DEPTH);
            return self.report(message, "move the inner graphs into a subworkflow");
        }
        match &node.work {
            Work::Step(step) => self.step(step, scope),
            Work::ForEach { for_each } => self.at("for_each", |check| check.for_each(for_each, scope, depth)),
            Work::Repeat { repeat } => self.at("repeat", |check| check.repeat(repeat, scope, depth)),
            Work::Switch { switch } => self.at("switch", |check| check.switch(switch, scope, depth)),
            Work::Subworkflow { subworkflow } => {
                self.at("subworkflow", |check| check.subworkflow(subworkflow, scope));
            }
            Work::Wait { wait } => self.at("wait", |check| check.wait(wait)),
        }
    }

    fn timeout(&mut self, timeout: Option<Millis>) {
        match timeout {
            Some(Millis(0)) => {
                self.report("a timeout of zero leaves no time at all", "give more, or remove it for no limit")
            }
            Some(timeout) => self.duration(timeout),
            None => {}
        }
    }

    fn duration(&mut self, duration: Millis) {
        if duration.0 > limits::DURATION_MS {
            let message =
                format!("`{}` is longer than the limit of {}", self.field(), Millis(limits::DURATION_MS));
            self.report(message, "give less");
        }
    }

    fn description(&mut self, text: &str) {
        if text.chars().count() > limits::DESCRIPTION_CHARS {
            let message = format!("the description has more than {} characters", limits::DESCRIPTION_CHARS);
            self.report(message, "make it shorter");
        }
    }

    fn report(&mut self, message: impl Into<String>, remedy: impl Into<String>) {
        let location = self.location();
        self.problems.push(Problem {
            location,
            path: path_text(&self.path),
            node: (!self.nodes.is_empty()).then(|| self.nodes.join("/")),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    fn location(&self) -> Option<Location> {
        self.tree.and_then(|tree| tree.locate(&self.path))
    }

    fn field(&self) -> String {
        field_text(&self.path)
    }

    fn at<T>(&mut self, name: &str, check: impl FnOnce(&mut Self) -> T) -> T {
        self.within(Segment::Name(name.to_owned()), check)
    }

    fn at_index<T>(&mut self, index: usize, check: impl FnOnce(&mut Self) -> T) -> T {
        self.within(Segment::Index(index), check)
    }

    fn within<T>(&mut self, segment: Segment, check: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(segment);
        let value = check(self);
        self.path.pop();
        value
    }
}
