//! Expressions and templates: syntax, then the names they use.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Check;
use super::scope::Scope;
use crate::definition::Expression;
use crate::expression::{
    EvalError, Reference, check_expression, check_template, is_template, references, template_references,
};
use crate::ids::is_variable_name;
use crate::limits;
use crate::params::depth;
use crate::tree::{Segment, shorten};

/// Words that mean something else in expressions.
const RESERVED: [&str; 25] = [
    "params",
    "outputs",
    "run",
    "index",
    "state",
    "iteration",
    "attempt",
    "loop",
    "self",
    "range",
    "dict",
    "namespace",
    "true",
    "false",
    "none",
    "True",
    "False",
    "None",
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
];

impl Check<'_> {
    pub(super) fn expression(&mut self, expression: &str, scope: &Scope<'_>) {
        let found = check_expression(expression).and_then(|()| references(expression));
        self.names_used(found, "an expression", scope);
    }

    pub(super) fn template(&mut self, template: &str, scope: &Scope<'_>) {
        if is_template(template) {
            let found = check_template(template).and_then(|()| template_references(template));
            self.names_used(found, "a template", scope);
        }
    }

    /// A JSON value: its depth, then the templates anywhere inside it.
    pub(super) fn value(&mut self, value: &Value, scope: &Scope<'_>) {
        if self.depth(value) {
            self.templates(value, scope);
        }
    }

    /// Whether a value is no deeper than the limit; reported if it is.
    pub(super) fn depth(&mut self, value: &Value) -> bool {
        let fits = depth(value) <= limits::VALUE_DEPTH;
        if !fits {
            let message =
                format!("`{}` is nested more than {} levels deep", self.field(), limits::VALUE_DEPTH);
            self.report(message, "nest it less deeply");
        }
        fits
    }

    fn templates(&mut self, value: &Value, scope: &Scope<'_>) {
        match value {
            Value::String(text) => self.template(text, scope),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.at_index(index, |check| check.templates(item, scope));
                }
            }
            Value::Object(entries) => {
                for (name, entry) in entries {
                    self.within(Segment::Name(name.clone()), |check| check.templates(entry, scope));
                }
            }
            _ => {}
        }
    }

    fn names_used(&mut self, found: Result<BTreeSet<Reference>, EvalError>, what: &str, scope: &Scope<'_>) {
        match found {
            Ok(references) => {
                for reference in references {
                    if let Err((message, remedy)) = scope.check(&reference) {
                        self.report(format!("in `{}`: {message}", self.field()), remedy);
                    }
                }
            }
            Err(error) => {
                let message = format!("`{}` is not {what}: {}", self.field(), error.brief());
                self.report(message, error.remedy);
            }
        }
    }

    /// Outputs of a graph: names to expressions.
    pub(super) fn outputs(&mut self, outputs: &BTreeMap<String, Expression>, scope: &Scope<'_>) {
        self.at("outputs", |check| {
            check.names(outputs.keys(), "an output");
            for (name, expression) in outputs {
                check.at(name, |check| check.expression(expression, scope));
            }
        });
    }

    /// Names that expressions shall be able to say.
    pub(super) fn names<'n>(&mut self, names: impl ExactSizeIterator<Item = &'n String>, what: &str) {
        if names.len() > limits::NAMES {
            let message =
                format!("`{}` has {} names; the limit is {}", self.field(), names.len(), limits::NAMES);
            self.report(message, "put them together into fewer objects");
        }
        for name in names {
            self.at(name, |check| check.name(name, what));
        }
    }

    pub(super) fn name(&mut self, name: &str, what: &str) {
        if !is_variable_name(name) {
            let message = format!("`{}` cannot name {what}", shorten(name));
            let most = limits::NAME_CHARS;
            self.report(
                message,
                format!("use letters, digits and `_`, not starting with a digit, at most {most} characters"),
            );
        }
    }

    /// The name of a loop's item, which stands alone in expressions.
    pub(super) fn item_name(&mut self, name: &str) {
        if RESERVED.contains(&name) {
            let message = format!("`{name}` has a meaning of its own in expressions");
            return self.report(message, "choose another name for the item");
        }
        self.name(name, "an item");
    }
}
