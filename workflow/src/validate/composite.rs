//! Composites: the expressions that drive them and the graphs inside.

use serde_json::Value;

use super::Check;
use super::scope::{Frame, Scope};
use crate::definition::{ForEach, Items, Repeat, Subworkflow, Switch, Wait};
use crate::expression::is_template;
use crate::form::ContentHash;
use crate::ids::{is_node_id, is_workflow_name};
use crate::limits;
use crate::tree::shorten;

impl Check<'_> {
    pub(super) fn for_each(&mut self, for_each: &ForEach, scope: &Scope<'_>, depth: usize) {
        self.at("items", |check| match &for_each.items {
            Items::Expression(expression) => check.expression(expression, scope),
            Items::Literal(items) => check.literal(items),
        });
        self.at("as", |check| check.item_name(&for_each.item));
        if let Some(concurrency) = for_each.concurrency {
            self.at("concurrency", |check| {
                check.count(concurrency, limits::CONCURRENCY, "remove it for no cap")
            });
        }
        let inside = scope.enter(Frame::Item(&for_each.item));
        let shape = self.graph(&for_each.nodes, &inside, depth + 1);
        self.outputs(&for_each.outputs, &inside.enter(Frame::Graph { shape: &shape, node: None }));
    }

    fn literal(&mut self, items: &[Value]) {
        if items.len() > limits::LITERAL_ITEMS {
            let message =
                format!("the list has {} items; the limit is {}", items.len(), limits::LITERAL_ITEMS);
            self.report(message, "let a step give the list, and write `items: outputs.<node>.<name>`");
        }
        for (index, item) in items.iter().enumerate() {
            self.at_index(index, |check| check.depth(item));
        }
        if let Some(index) = items.iter().position(|item| item.as_str().is_some_and(is_template)) {
            self.at_index(index, |check| {
                let remedy = "make the whole of `items` an expression, like `[params.a, params.b]` in quotes";
                check.report("templates are not rendered in a literal list", remedy);
            });
        }
    }

    fn count(&mut self, count: u32, most: u32, without: &str) {
        let field = self.field();
        if count == 0 {
            self.report(
                format!("`{field}` is zero, so nothing would ever run"),
                format!("give 1 or more, or {without}"),
            );
        } else if count > most {
            self.report(format!("`{field}` is {count}; the limit is {most}"), "give less");
        }
    }

    pub(super) fn repeat(&mut self, repeat: &Repeat, scope: &Scope<'_>, depth: usize) {
        self.at("max_iterations", |check| {
            check.count(repeat.max_iterations, limits::ITERATIONS, "remove the loop")
        });
        self.at("state", |check| {
            check.names(repeat.state.keys(), "a state");
            for (name, value) in &repeat.state {
                check.at(name, |check| check.value(value, scope));
            }
        });
        let inside = scope.enter(Frame::State(repeat.state.keys().map(String::as_str).collect()));
        let shape = self.graph(&repeat.nodes, &inside, depth + 1);
        let ended = inside.enter(Frame::Graph { shape: &shape, node: None });
        self.at("until", |check| check.expression(&repeat.until, &ended));
        self.at("carry", |check| {
            for (name, expression) in &repeat.carry {
                check.at(name, |check| {
                    if !repeat.state.contains_key(name) {
                        let message = format!("`{}` is carried on but has no first value", shorten(name));
                        check.report(message, format!("add `{}` to `state`", shorten(name)));
                    }
                    check.expression(expression, &ended);
                });
            }
        });
        self.outputs(&repeat.outputs, &ended);
    }

    pub(super) fn switch(&mut self, switch: &Switch, scope: &Scope<'_>, depth: usize) {
        if switch.branches.is_empty() {
            self.at("branches", |check| {
                check.report("the switch has no branches", "add one, with `when` and `nodes`")
            });
        }
        for (index, branch) in switch.branches.iter().enumerate() {
            self.at("branches", |check| {
                check.at_index(index, |check| {
                    check.at("when", |check| check.expression(&branch.when, scope));
                    let shape = check.graph(&branch.nodes, scope, depth + 1);
                    check.outputs(&branch.outputs, &scope.enter(Frame::Graph { shape: &shape, node: None }));
                });
            });
        }
        if let Some(graph) = &switch.default {
            self.at("default", |check| {
                let shape = check.graph(&graph.nodes, scope, depth + 1);
                check.outputs(&graph.outputs, &scope.enter(Frame::Graph { shape: &shape, node: None }));
            });
        }
    }

    pub(super) fn subworkflow(&mut self, call: &Subworkflow, scope: &Scope<'_>) {
        self.at("name", |check| {
            if !is_workflow_name(&call.name) {
                let message = format!("`{}` cannot be a workflow's name", shorten(&call.name));
                check.report(message, "use lowercase letters, digits, `_` and `-`, starting with a letter");
            } else if call.name == scope.workflow() && call.version.is_none() {
                check.report("the workflow calls itself, without end", "use `repeat` to do something again");
            }
        });
        if let Some(version) = call.version.as_ref().filter(|version| version.parse::<ContentHash>().is_err())
        {
            let message = format!("`{}` is not a content hash", shorten(version));
            self.at("version", |check| check.report(message, "write its 64 lowercase hexadecimal digits"));
        }
        self.at("params", |check| {
            check.names(call.params.keys(), "a parameter");
            for (name, value) in &call.params {
                check.at(name, |check| check.value(value, scope));
            }
        });
    }

    pub(super) fn wait(&mut self, wait: &Wait) {
        if !is_node_id(&wait.signal) {
            let message = format!("`{}` cannot be a signal's name", shorten(&wait.signal));
            self.at("signal", |check| {
                check.report(message, "use letters, digits, `_` and `-`, starting with a letter");
            });
        }
    }
}
