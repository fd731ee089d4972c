//! Expressions and templates of definitions, in a sandbox: no files, no other templates, no clock; work and memory are
//! bounded by fuel, names that are not there are errors, and what comes out is JSON of bounded size.
//!
//! ```
//! use meson_workflow::expression::{Context, evaluate, render_value};
//! use serde_json::json;
//!
//! let context = Context::new()
//!     .params(json!({"rounds": 3}).as_object().unwrap().clone())
//!     .output("split", json!({"regions": ["US", "BR"]}).as_object().unwrap().clone());
//! assert_eq!(evaluate("outputs.split.regions | length < params.rounds", &context)?, json!(true));
//! let config = json!({"args": ["--rounds", "{{ params.rounds }}", "n={{ params.rounds }}"]});
//! assert_eq!(render_value(&config, &context)?, json!({"args": ["--rounds", 3, "n=3"]}));
//! # Ok::<(), meson_workflow::expression::EvalError>(())
//! ```

mod check;
mod context;
mod convert;
mod error;
mod references;

pub use check::{check_expression, check_template, is_template};
pub use context::Context;
pub use error::EvalError;
pub use references::{Reference, references, template_references};

use std::sync::OnceLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::Value;

use crate::limits;

/// Functions an expression can call.
pub(crate) const FUNCTIONS: [&str; 3] = ["range", "dict", "namespace"];

/// Evaluates an expression (text without braces) to a JSON value.
pub fn evaluate(expression: &str, context: &Context) -> Result<Value, EvalError> {
    let fail = |error: minijinja::Error| EvalError::engine(expression, &error);
    check::length(expression, limits::EXPRESSION_BYTES)?;
    let compiled = environment().compile_expression_owned(expression).map_err(fail)?;
    let value = compiled.eval(context.root()).map_err(fail)?;
    convert::to_json(&value).map_err(|error| error.within(expression))
}

/// Evaluates an expression that must give true or false.
pub fn evaluate_bool(expression: &str, context: &Context) -> Result<bool, EvalError> {
    match evaluate(expression, context)? {
        Value::Bool(value) => Ok(value),
        other => Err(EvalError::new(
            expression,
            format!("it gives {}, not true or false", convert::describe(&other)),
            "compare it with something, like `… > 0`",
        )),
    }
}

/// Renders every string inside a value that is a template. A string that is one `{{ expression }}` and nothing else
/// becomes the expression's value with its JSON type; any other becomes text.
pub fn render_value(value: &Value, context: &Context) -> Result<Value, EvalError> {
    let mut budget = limits::EVALUATED_BYTES;
    render(value, context, 0, &mut budget)
}

/// Renders one template to text, whatever it gives: what an environment variable or a URI needs.
pub fn render_text(template: &str, context: &Context) -> Result<String, EvalError> {
    if !is_template(template) {
        return Ok(template.to_owned());
    }
    match render_template(template, context)? {
        Value::String(text) => Ok(text),
        other => Ok(other.to_string()),
    }
}

fn render(value: &Value, context: &Context, depth: usize, budget: &mut usize) -> Result<Value, EvalError> {
    if depth > limits::VALUE_DEPTH {
        return Err(EvalError::new("", "the value is nested too deeply", "nest it less deeply"));
    }
    let rendered = match value {
        Value::String(text) if is_template(text) => render_template(text, context)?,
        Value::Array(items) => {
            items.iter().map(|item| render(item, context, depth + 1, budget)).collect::<Result<_, _>>()?
        }
        Value::Object(entries) => {
            let entries = entries.iter().map(|(name, value)| {
                let value = render(value, context, depth + 1, budget).map_err(|error| error.at(name))?;
                Ok((name.clone(), value))
            });
            Value::Object(entries.collect::<Result<_, EvalError>>()?)
        }
        other => other.clone(),
    };
    // Each template is bounded on its own; this bounds them together.
    if let Value::String(text) = &rendered {
        *budget = budget.checked_sub(text.len()).ok_or_else(EvalError::too_large)?;
    }
    Ok(rendered)
}

fn render_template(template: &str, context: &Context) -> Result<Value, EvalError> {
    check::length(template, limits::TEMPLATE_BYTES)?;
    if let Some(expression) = check::whole_expression(template) {
        return evaluate(expression, context);
    }
    let fail = |error: minijinja::Error| EvalError::engine(template, &error);
    let rendered = environment().render_str(template, context.root()).map_err(fail)?;
    if rendered.len() > limits::EVALUATED_BYTES {
        return Err(EvalError::too_large().within(template));
    }
    Ok(Value::String(rendered))
}

/// The one environment: strict, fuelled, without loader, so that no template can reach another or a file.
fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(limits::EVALUATION_FUEL));
        environment.set_recursion_limit(100);
        // Keeps the byte ranges of errors; the context itself is never printed.
        environment.set_debug(true);
        environment.remove_global("debug");
        environment.set_syntax(syntax());
        environment
    })
}

/// Jinja's own delimiters but for comments: `{#` is how shell scripts take a length (`${#name}`), so a comment here is
/// `{## … ##}`. Line ends at the end of a text are kept.
fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder()
        .comment_delimiters("{##", "##}")
        .keep_trailing_newline(true)
        .build()
        .expect("three pairs of delimiters that differ are always accepted")
}
