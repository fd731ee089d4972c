//! The whole workflow.

use super::flow::{Flow, IntoFlow};
use crate::definition::{Definition, Expression, Param};
use crate::problem::{Problem, Problems};
use crate::validate;

/// A workflow under construction.
#[derive(Debug, Clone)]
pub struct Workflow {
    definition: Definition,
    timeout: Option<String>,
    flow: Flow,
}

impl Workflow {
    /// A workflow of this name, without parameters and nodes so far.
    pub fn new(name: impl Into<String>) -> Self {
        let definition = Definition {
            name: name.into(),
            description: String::new(),
            params: Default::default(),
            timeout: None,
            nodes: Vec::new(),
            outputs: Default::default(),
        };
        Workflow { definition, timeout: None, flow: Flow::new() }
    }

    /// Says what it is for.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.definition.description = text.into();
        self
    }

    /// Declares a parameter.
    #[must_use]
    pub fn param(mut self, name: &str, param: impl Into<Param>) -> Self {
        self.definition.params.insert(name.to_owned(), param.into());
        self
    }

    /// Limits the time of the whole run, like `2h`.
    #[must_use]
    pub fn timeout(mut self, duration: &str) -> Self {
        self.timeout = Some(duration.to_owned());
        self
    }

    /// Adds a graph, side by side with those added before.
    #[must_use]
    pub fn graph(mut self, graph: impl IntoFlow) -> Self {
        self.flow = self.flow.and(graph);
        self
    }

    /// Adds an output of the run.
    #[must_use]
    pub fn output(mut self, name: &str, expression: impl Into<Expression>) -> Self {
        self.definition.outputs.insert(name.to_owned(), expression.into());
        self
    }

    /// The definition, if nothing is wrong with it.
    pub fn build(self) -> Result<Definition, Problems> {
        let Workflow { mut definition, timeout, flow } = self;
        let mut problems = Problems::default();
        match timeout.map(|text| text.parse()).transpose() {
            Ok(timeout) => definition.timeout = timeout,
            Err(error) => problems.push(Problem {
                location: None,
                path: "timeout".to_owned(),
                node: None,
                message: error.to_string(),
                remedy: String::new(),
            }),
        }
        let (nodes, outputs, faults) = flow.into_parts();
        definition.nodes = nodes;
        definition.outputs.extend(outputs);
        faults.into_iter().chain(validate(&definition)).for_each(|problem| problems.push(problem));
        problems.or(definition)
    }
}
