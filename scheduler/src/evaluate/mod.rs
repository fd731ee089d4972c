//! Expressions and templates, evaluated by the leader against the state; the results go into the log, so that replicas
//! never evaluate. Functions of values: what they need is in the state, what they find goes into a command.

mod context;
mod outputs;
mod render;

use bytes::Bytes;
use meson_engine::State;
use meson_engine::command::Evaluated;
use meson_engine::ids::{Evaluation, NodeNo, RunNo, ScopeKey};
use meson_engine::limits::OUTPUT_BYTES_MAX;
use meson_engine::plan::{Body, PlanWork};
use meson_engine::record::{Failure, Run};
use meson_engine::status::FailureClass;
use meson_workflow::definition::{Items, Subworkflow};
use meson_workflow::expression::{self, EvalError};
use serde_json::{Map, Value};

pub use outputs::outputs_json;
pub use render::{Rendered, render};

use context::Visible;

/// Why an evaluation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The record is gone: the run moved on.
    #[error("the node is gone")]
    Gone,
    /// The expression failed.
    #[error("`{place}`: {error}")]
    Expression {
        /// Which field.
        place: String,
        /// Why.
        error: EvalError,
    },
    /// The value is not what is wanted there.
    #[error("`{place}`: {message}")]
    Value {
        /// Which field.
        place: String,
        /// What is wanted.
        message: String,
    },
}

type Result<T> = std::result::Result<T, Error>;

fn at(place: &str) -> impl Fn(EvalError) -> Error + '_ {
    move |error| Error::Expression { place: place.to_owned(), error }
}

fn wrong(place: &str, message: impl Into<String>) -> Error {
    Error::Value { place: place.to_owned(), message: message.into() }
}

/// Evaluates what a composite or scope waits for. A failure of the evaluation is part of the command; none means that
/// nobody waits any more.
pub fn evaluate(state: &State, run: RunNo, evaluation: Evaluation) -> Option<Evaluated> {
    let record = state.runs.get(&run)?;
    let result = match evaluation {
        Evaluation::Open { node } => open(state, record, node),
        Evaluation::Close { scope } => close(state, record, scope),
    };
    let mut command = match result {
        Ok(command) => command,
        Err(Error::Gone) => return None,
        Err(error) => {
            let failure = Failure::new(FailureClass::Rejected, "evaluation_failed", error.to_string());
            Evaluated { failure: Some(failure), ..Evaluated::default() }
        }
    };
    command.run = run;
    (command.close, command.node, command.index) = match evaluation {
        Evaluation::Open { node } => (false, node, 0),
        Evaluation::Close { scope } => (true, scope.0, scope.1),
    };
    Some(command)
}

fn open(state: &State, run: &Run, no: NodeNo) -> Result<Evaluated> {
    let node = run.nodes.get(&no).ok_or(Error::Gone)?;
    let planned = state.planned(run, no).ok_or(Error::Gone)?;
    let visible = Visible { state, run, scope: node.scope() };
    match &planned.work {
        PlanWork::ForEach { items, .. } => open_for_each(&visible, items),
        PlanWork::Repeat { state: first, .. } => open_repeat(&visible, first),
        PlanWork::Switch { branches, .. } => open_switch(&visible, branches),
        PlanWork::Subworkflow(call) => open_subworkflow(&visible, call),
        PlanWork::Step(_) | PlanWork::Wait(_) => Err(Error::Gone),
    }
}

fn open_for_each(visible: &Visible<'_>, items: &Items) -> Result<Evaluated> {
    let items = match items {
        Items::Literal(items) => items.clone(),
        Items::Expression(source) => {
            let context = visible.context_of(&[source])?;
            match expression::evaluate(source, &context).map_err(at("for_each.items"))? {
                Value::Array(items) => items,
                other => {
                    let message = format!("it must give a list, but gave {}", kind_of(&other));
                    return Err(wrong("for_each.items", message));
                }
            }
        }
    };
    let items = items.iter().map(|item| item.to_string().into()).collect();
    Ok(Evaluated { items, ..Evaluated::default() })
}

fn open_repeat(
    visible: &Visible<'_>,
    first: &std::collections::BTreeMap<String, Value>,
) -> Result<Evaluated> {
    let first = Value::Object(first.clone().into_iter().collect());
    let context = visible.context_of_value(&first)?;
    let first = expression::render_value(&first, &context).map_err(at("repeat.state"))?;
    Ok(Evaluated { variables: bounded("repeat.state", &first)?, ..Evaluated::default() })
}

fn open_switch(visible: &Visible<'_>, branches: &[(String, u32)]) -> Result<Evaluated> {
    for (place, (when, _)) in branches.iter().enumerate() {
        let field = format!("switch.branches[{place}].when");
        let context = visible.context_of(&[when])?;
        if expression::evaluate_bool(when, &context).map_err(at(&field))? {
            return Ok(Evaluated { branch: Some(place as u32), ..Evaluated::default() });
        }
    }
    Ok(Evaluated::default())
}

fn open_subworkflow(visible: &Visible<'_>, call: &Subworkflow) -> Result<Evaluated> {
    let given = Value::Object(call.params.clone().into_iter().collect());
    let context = visible.context_of_value(&given)?;
    let given = expression::render_value(&given, &context).map_err(at("subworkflow.params"))?;
    let Value::Object(given) = given else { return Err(Error::Gone) };
    let json = visible.called_definition(call).ok_or(Error::Gone)?;
    let definition: meson_workflow::Definition =
        serde_json::from_str(&json).map_err(|error| wrong("subworkflow.name", error.to_string()))?;
    let bound = meson_workflow::bind_params(&definition, given)
        .map_err(|problems| wrong("subworkflow.params", problems.to_string()))?;
    let variables = bounded("subworkflow.params", &Value::Object(bound))?;
    Ok(Evaluated { variables, ..Evaluated::default() })
}

fn close(state: &State, run: &Run, key: ScopeKey) -> Result<Evaluated> {
    let scope = run.scopes.get(&key).ok_or(Error::Gone)?;
    let plan = state.plan(run, scope.pin).ok_or(Error::Gone)?;
    let body = &plan.bodies[scope.body as usize];
    let visible = Visible { state, run, scope: key };
    let mut command = Evaluated { outputs: close_outputs(&visible, body)?, ..Evaluated::default() };
    if let Some((until, carry)) = visible.repeat_of(key) {
        let context = visible.context_of(&[until])?;
        command.until = expression::evaluate_bool(until, &context).map_err(at("repeat.until"))?;
        if !command.until {
            let mut next = context::object(&scope.variables);
            for (name, source) in carry {
                let context = visible.context_of(&[source])?;
                let value =
                    expression::evaluate(source, &context).map_err(at(&format!("repeat.carry.{name}")))?;
                next.insert(name.clone(), value);
            }
            command.variables = bounded("repeat.carry", &Value::Object(next))?;
        }
    }
    Ok(command)
}

fn close_outputs(visible: &Visible<'_>, body: &Body) -> Result<Bytes> {
    if body.outputs.is_empty() {
        return Ok(Bytes::new());
    }
    let sources: Vec<&String> = body.outputs.values().collect();
    let context = visible.context_of(&sources)?;
    let mut outputs = Map::new();
    for (name, source) in &body.outputs {
        let place = format!("outputs.{name}");
        outputs.insert(name.clone(), expression::evaluate(source, &context).map_err(at(&place))?);
    }
    bounded("outputs", &Value::Object(outputs))
}

fn bounded(place: &str, value: &Value) -> Result<Bytes> {
    let text = value.to_string();
    if text.len() > OUTPUT_BYTES_MAX {
        let message = format!(
            "{} bytes of JSON; {OUTPUT_BYTES_MAX} are allowed: publish large data as an artifact",
            text.len()
        );
        return Err(wrong(place, message));
    }
    Ok(text.into())
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
