//! Checks before any evaluation: is a text a template, and is its syntax right.

use super::{EvalError, environment};
use crate::limits;

/// Statements of Jinja that reach for other templates.
const OTHER_TEMPLATES: [&str; 5] = ["include", "import", "from", "extends", "block"];

/// Whether a string is a template rather than plain text.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// Checks an expression's length and syntax.
pub fn check_expression(expression: &str) -> Result<(), EvalError> {
    length(expression, limits::EXPRESSION_BYTES)?;
    let trimmed = expression.trim();
    if trimmed.is_empty() {
        return Err(EvalError::new(
            expression,
            "the expression is empty",
            "write one, like `outputs.train.rmse < 0.9`",
        ));
    }
    // `{{ x }}` would parse, as a set of a set, and fail later in strange words.
    if trimmed.starts_with("{{") && trimmed.ends_with("}}") {
        return Err(EvalError::new(
            expression,
            "an expression stands without braces",
            "remove `{{` and `}}`",
        ));
    }
    environment()
        .compile_expression_owned(expression)
        .map(drop)
        .map_err(|error| EvalError::engine(expression, &error))
}

/// Checks a template's length and syntax; plain text is always right.
pub fn check_template(template: &str) -> Result<(), EvalError> {
    if !is_template(template) {
        return Ok(());
    }
    length(template, limits::TEMPLATE_BYTES)?;
    if let Some(word) = other_template(template) {
        return Err(EvalError::new(
            template,
            format!("`{{% {word} %}}` is not possible here"),
            "write the text out",
        ));
    }
    environment().template_from_str(template).map(drop).map_err(|error| EvalError::engine(template, &error))
}

pub(super) fn length(text: &str, limit: usize) -> Result<(), EvalError> {
    if text.len() <= limit {
        return Ok(());
    }
    let reason = format!("it has {} bytes; the limit is {limit}", text.len());
    Err(EvalError::new(
        crate::tree::shorten(text).as_str(),
        reason,
        "make it shorter, or do the work in a step",
    ))
}

/// The expression of a template that is one `{{ expression }}` and nothing else but white space around it.
pub(super) fn whole_expression(template: &str) -> Option<&str> {
    let inner = template.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner);
    // `{{ a }} and {{ b }}` also begins and ends with braces, but what is between them is no expression.
    environment().compile_expression_owned(inner).ok().map(|_| inner)
}

fn other_template(template: &str) -> Option<&'static str> {
    template.split("{%").skip(1).find_map(|tag| {
        let tag = tag.trim_start_matches(['-', '+']).trim_start();
        OTHER_TEMPLATES.into_iter().find(|word| {
            tag.strip_prefix(word)
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        })
    })
}
