//! Composites: loops, choices, calls and waits.

use serde_json::Value;

use super::expr::{Expr, State};
use super::flow::{Flow, IntoFlow, operators};
use super::node::{Draft, NodeOptions};
use crate::definition::{Branch, Expression, ForEach, Graph, Items, Repeat, Subworkflow, Switch, Wait, Work};

/// Runs a graph once for each item of a list, side by side. The closure is given the item's handle, named `item`.
pub fn for_each<F: IntoFlow>(
    id: impl Into<String>,
    items: impl Into<Items>,
    graph: impl FnOnce(Expr) -> F,
) -> ForEachBuilder {
    for_each_as(id, "item", items, graph)
}

/// The same, with a name for the item.
pub fn for_each_as<F: IntoFlow>(
    id: impl Into<String>,
    item: &str,
    items: impl Into<Items>,
    graph: impl FnOnce(Expr) -> F,
) -> ForEachBuilder {
    let (nodes, outputs, faults) = graph(Expr::new(item)).into_flow().into_parts();
    let for_each = ForEach { items: items.into(), item: item.to_owned(), concurrency: None, nodes, outputs };
    ForEachBuilder(Draft { faults, ..Draft::new(id, Work::ForEach { for_each }) })
}

/// Runs a graph again until an expression over its outputs holds, at most so many times.
pub fn repeat_until<F: IntoFlow>(
    id: impl Into<String>,
    until: impl Into<Expression>,
    max_iterations: u32,
    graph: impl FnOnce(State) -> F,
) -> RepeatBuilder {
    let (nodes, outputs, faults) = graph(State(())).into_flow().into_parts();
    let (state, carry) = Default::default();
    let repeat = Repeat { until: until.into(), max_iterations, state, carry, nodes, outputs };
    RepeatBuilder(Draft { faults, ..Draft::new(id, Work::Repeat { repeat }) })
}

/// Runs the first branch whose expression holds.
pub fn switch(id: impl Into<String>) -> SwitchBuilder {
    let switch = Switch { branches: Vec::new(), default: None };
    SwitchBuilder(Draft::new(id, Work::Switch { switch }))
}

/// Runs another registered workflow.
pub fn subworkflow(id: impl Into<String>, name: impl Into<String>) -> SubworkflowBuilder {
    let subworkflow = Subworkflow { name: name.into(), version: None, params: Default::default() };
    SubworkflowBuilder(Draft::new(id, Work::Subworkflow { subworkflow }))
}

/// Waits for a signal sent to the run.
pub fn wait(id: impl Into<String>, signal: impl Into<String>) -> WaitBuilder {
    WaitBuilder(Draft::new(id, Work::Wait { wait: Wait { signal: signal.into() } }))
}

impl From<&str> for Items {
    fn from(expression: &str) -> Self {
        Items::Expression(expression.to_owned())
    }
}

impl From<Expr> for Items {
    fn from(expression: Expr) -> Self {
        Items::Expression(expression.into())
    }
}

impl<T: Into<Value>> From<Vec<T>> for Items {
    fn from(items: Vec<T>) -> Self {
        Items::Literal(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>, const N: usize> From<[T; N]> for Items {
    fn from(items: [T; N]) -> Self {
        Items::Literal(items.into_iter().map(Into::into).collect())
    }
}

macro_rules! builders {
    ($($(#[$doc:meta])* $type:ident),*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $type(Draft);

        impl NodeOptions for $type {
            fn draft(&mut self) -> &mut Draft {
                &mut self.0
            }
        }

        impl IntoFlow for $type {
            fn into_flow(self) -> Flow {
                Flow::of(self.0.node, self.0.faults)
            }
        }

        operators!($type);
    )* };
}

builders!(
    /// A loop over a list, under construction.
    ForEachBuilder,
    /// A loop with a condition, under construction.
    RepeatBuilder,
    /// A choice, under construction.
    SwitchBuilder,
    /// A call of another workflow, under construction.
    SubworkflowBuilder,
    /// A wait for a signal, under construction.
    WaitBuilder
);

impl ForEachBuilder {
    fn edit(mut self, edit: impl FnOnce(&mut ForEach)) -> Self {
        if let Work::ForEach { for_each } = &mut self.0.node.work {
            edit(for_each);
        }
        self
    }

    /// Caps the items under way at once.
    #[must_use]
    pub fn concurrency(self, most: u32) -> Self {
        self.edit(|for_each| for_each.concurrency = Some(most))
    }

    /// Adds an output: the list of this expression's values, one of each item.
    #[must_use]
    pub fn output(self, name: &str, expression: impl Into<Expression>) -> Self {
        self.edit(|for_each| drop(for_each.outputs.insert(name.to_owned(), expression.into())))
    }
}

impl RepeatBuilder {
    fn edit(mut self, edit: impl FnOnce(&mut Repeat)) -> Self {
        if let Work::Repeat { repeat } = &mut self.0.node.work {
            edit(repeat);
        }
        self
    }

    /// Sets a state of the first iteration.
    #[must_use]
    pub fn state(self, name: &str, value: impl Into<Value>) -> Self {
        self.edit(|repeat| drop(repeat.state.insert(name.to_owned(), value.into())))
    }

    /// Sets how a state of the next iteration follows from the one that ended.
    #[must_use]
    pub fn carry(self, name: &str, expression: impl Into<Expression>) -> Self {
        self.edit(|repeat| drop(repeat.carry.insert(name.to_owned(), expression.into())))
    }

    /// Adds an output, taken from the last iteration.
    #[must_use]
    pub fn output(self, name: &str, expression: impl Into<Expression>) -> Self {
        self.edit(|repeat| drop(repeat.outputs.insert(name.to_owned(), expression.into())))
    }
}

impl SwitchBuilder {
    fn edit(mut self, graph: impl IntoFlow, edit: impl FnOnce(&mut Switch, Graph)) -> Self {
        let (nodes, outputs, faults) = graph.into_flow().into_parts();
        self.0.faults.extend(faults);
        if let Work::Switch { switch } = &mut self.0.node.work {
            edit(switch, Graph { nodes, outputs });
        }
        self
    }

    /// Adds a branch; branches are tried in order.
    #[must_use]
    pub fn when(self, condition: impl Into<Expression>, graph: impl IntoFlow) -> Self {
        let when = condition.into();
        self.edit(graph, |switch, Graph { nodes, outputs }| {
            switch.branches.push(Branch { when, nodes, outputs })
        })
    }

    /// Sets what runs when no branch's condition holds.
    #[must_use]
    pub fn otherwise(self, graph: impl IntoFlow) -> Self {
        self.edit(graph, |switch, graph| switch.default = Some(graph))
    }
}

impl SubworkflowBuilder {
    fn edit(mut self, edit: impl FnOnce(&mut Subworkflow)) -> Self {
        if let Work::Subworkflow { subworkflow } = &mut self.0.node.work {
            edit(subworkflow);
        }
        self
    }

    /// Pins the version by its content hash.
    #[must_use]
    pub fn version(self, hash: impl Into<String>) -> Self {
        self.edit(|subworkflow| subworkflow.version = Some(hash.into()))
    }

    /// Gives a parameter. Strings are templates.
    #[must_use]
    pub fn param(self, name: &str, value: impl Into<Value>) -> Self {
        self.edit(|subworkflow| drop(subworkflow.params.insert(name.to_owned(), value.into())))
    }
}
