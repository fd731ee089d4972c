//! What an expression can see at its place: a chain of frames from the innermost out.

use std::collections::BTreeMap;

use super::graph::Shape;
use crate::definition::{Node, Param, Work};
use crate::expression::Reference;
use crate::ids::did_you_mean;
use crate::reader::quoted;

/// One level of what is visible.
pub(super) enum Frame<'a> {
    Root {
        params: &'a BTreeMap<String, Param>,
        workflow: &'a str,
    },
    /// The outputs of a graph's nodes: of those before a node, or of all when the graph has ended.
    Graph {
        shape: &'a Shape<'a>,
        node: Option<usize>,
    },
    Item(&'a str),
    State(Vec<&'a str>),
    Attempt,
}

pub(super) struct Scope<'a> {
    frame: Frame<'a>,
    outer: Option<&'a Scope<'a>>,
}

/// What is wrong with a reference and what to do about it.
type Wrong = (String, String);

impl<'a> Scope<'a> {
    pub fn root(params: &'a BTreeMap<String, Param>, workflow: &'a str) -> Self {
        Scope { frame: Frame::Root { params, workflow }, outer: None }
    }

    pub fn enter<'b>(&'b self, frame: Frame<'b>) -> Scope<'b>
    where
        'a: 'b,
    {
        Scope { frame, outer: Some(self) }
    }

    fn frames(&self) -> impl Iterator<Item = &Frame<'_>> {
        std::iter::successors(Some(self), |scope| scope.outer).map(|scope| &scope.frame)
    }

    /// The name of the workflow that all this belongs to.
    pub fn workflow(&self) -> &str {
        self.frames()
            .find_map(|frame| match frame {
                Frame::Root { workflow, .. } => Some(*workflow),
                _ => None,
            })
            .unwrap_or_default()
    }

    pub fn check(&self, reference: &Reference) -> Result<(), Wrong> {
        match reference.root.as_str() {
            "params" => self.param(reference.name.as_deref()),
            "outputs" => self.output(reference),
            "run" => known(&["id", "workflow"], "run", reference.name.as_deref()),
            "state" => match self.frames().find_map(|frame| match frame {
                Frame::State(names) => Some(names),
                _ => None,
            }) {
                Some(names) => known(names, "state", reference.name.as_deref()),
                None => Err(self.unknown(reference)),
            },
            root if self.names().contains(&root) => Ok(()),
            _ => Err(self.unknown(reference)),
        }
    }

    /// Every first part of a name that is in scope.
    fn names(&self) -> Vec<&str> {
        let mut names = vec!["params", "outputs", "run"];
        for frame in self.frames() {
            match frame {
                Frame::Item(item) => names.extend([*item, "index"]),
                Frame::State(_) => names.extend(["state", "iteration"]),
                Frame::Attempt => names.push("attempt"),
                Frame::Root { .. } | Frame::Graph { .. } => {}
            }
        }
        names
    }

    fn unknown(&self, reference: &Reference) -> Wrong {
        let root = reference.root.as_str();
        let elsewhere = match root {
            "item" | "index" => Some("it is known only inside a `for_each`"),
            "state" | "iteration" => Some("it is known only inside a `repeat`"),
            "attempt" => Some("it is known only in the settings of a step"),
            _ => None,
        };
        let names = self.names();
        let remedy = match (did_you_mean(root, names.iter().copied()), elsewhere) {
            (_, Some(elsewhere)) => elsewhere.to_owned(),
            (Some(near), None) => format!("did you mean `{near}`?"),
            (None, None) => match self.nearest_holder(root) {
                Some(holder) => format!("did you mean `{holder}.{root}`?"),
                None => format!("the names here are {}; put text in quotes", quoted(&names)),
            },
        };
        (format!("`{root}` is not known here"), remedy)
    }

    /// Whether a bare name is a parameter or a node, that is, misses its prefix.
    fn nearest_holder(&self, name: &str) -> Option<&'static str> {
        self.frames().find_map(|frame| match frame {
            Frame::Root { params, .. } if params.contains_key(name) => Some("params"),
            Frame::Graph { shape, .. } if shape.index.contains_key(name) => Some("outputs"),
            Frame::State(names) if names.contains(&name) => Some("state"),
            _ => None,
        })
    }

    fn param(&self, name: Option<&str>) -> Result<(), Wrong> {
        let Some(name) = name else { return Ok(()) };
        let params = self.frames().find_map(|frame| match frame {
            Frame::Root { params, .. } => Some(*params),
            _ => None,
        });
        let Some(params) = params.filter(|params| !params.contains_key(name)) else { return Ok(()) };
        let remedy = match did_you_mean(name, params.keys().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "add it to the workflow's `params`".to_owned(),
        };
        Err((format!("there is no parameter `{name}`"), remedy))
    }

    fn output(&self, reference: &Reference) -> Result<(), Wrong> {
        let Some(name) = reference.name.as_deref() else { return Ok(()) };
        for frame in self.frames() {
            let Frame::Graph { shape, node } = frame else { continue };
            let Some(&place) = shape.index.get(name) else { continue };
            return match node {
                Some(node) if *node == place => Err((
                    format!("`outputs.{name}` is this node's own output"),
                    "use the outputs of nodes before it".to_owned(),
                )),
                Some(node) if !shape.comes_before(place, *node) => Err((
                    format!("`outputs.{name}` may not be there yet: nothing here needs `{name}`"),
                    format!("add `{name}` to the `needs` of `{}`", shape.nodes[*node].id),
                )),
                _ => output_name(&shape.nodes[place], reference.field.as_deref()),
            };
        }
        Err((format!("there is no node `{name}` before this place"), self.output_remedy(name)))
    }

    fn output_remedy(&self, name: &str) -> String {
        let nodes: Vec<&str> = self
            .frames()
            .filter_map(|frame| match frame {
                Frame::Graph { shape, .. } => Some(shape.nodes.iter().map(|node| node.id.as_str())),
                _ => None,
            })
            .flatten()
            .collect();
        // `outputs.my-node` is a subtraction to the expression language.
        if let Some(id) =
            nodes.iter().find(|id| id.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')))
        {
            return format!("an id with `-` is written `outputs['{id}']`");
        }
        match did_you_mean(name, nodes.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "outputs are seen from nodes that this one needs, and from around the graph it is in"
                .to_owned(),
        }
    }
}

fn known(names: &[&str], root: &str, name: Option<&str>) -> Result<(), Wrong> {
    let Some(name) = name.filter(|name| !names.contains(name)) else { return Ok(()) };
    let remedy = match did_you_mean(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => format!("there are no names in `{root}`"),
        None => format!("the names in `{root}` are {}", quoted(names)),
    };
    Err((format!("there is no `{root}.{name}`"), remedy))
}

/// Checks the name of a composite's output, since these are declared. What a step will give is not known before it runs.
fn output_name(node: &Node, field: Option<&str>) -> Result<(), Wrong> {
    let names: Vec<&str> = match &node.work {
        Work::Step(_) | Work::Subworkflow { .. } => return Ok(()),
        Work::ForEach { for_each } => for_each.outputs.keys().map(String::as_str).collect(),
        Work::Repeat { repeat } => repeat.outputs.keys().map(String::as_str).collect(),
        Work::Wait { .. } => vec!["payload"],
        Work::Switch { switch } => {
            let branches = switch.branches.iter().map(|branch| &branch.outputs);
            let default = switch.default.iter().map(|graph| &graph.outputs);
            branches.chain(default).flat_map(|outputs| outputs.keys().map(String::as_str)).collect()
        }
    };
    match known(&names, &format!("outputs.{}", node.id), field) {
        Err((message, _)) if names.is_empty() => {
            Err((message, format!("declare it under `outputs` in `{}`", node.id)))
        }
        result => result,
    }
}
