//! Checks before any evaluation: is a text a template, and is its syntax right.

use super::{EvalError, environment};
use crate::ids::did_you_mean;
use crate::limits;
use crate::reader::quoted;

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
        .map_err(|error| EvalError::engine(expression, &error))?;
    filters(expression, expression, 0)
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
    environment().template_from_str(template).map_err(|error| EvalError::engine(template, &error))?;
    let mut from = 0;
    while let Some((start, end)) = next_tag(template, from) {
        filters(template, &template[start..end], start)?;
        from = end;
    }
    Ok(())
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

/// Where the inside of the next `{{ … }}` or `{% … %}` begins and ends.
fn next_tag(template: &str, from: usize) -> Option<(usize, usize)> {
    let rest = &template[from..];
    let (open, close) = match (rest.find("{{"), rest.find("{%")) {
        (Some(value), Some(statement)) if statement < value => (statement, "%}"),
        (Some(value), _) => (value, "}}"),
        (None, Some(statement)) => (statement, "%}"),
        (None, None) => return None,
    };
    let start = from + open + 2;
    let end = template[start..].find(close).map_or(template.len(), |length| start + length);
    Some((start, end))
}

/// The engine looks filters up only when it meets them; a typing error shall be found before a run does.
fn filters(whole: &str, expression: &str, offset: usize) -> Result<(), EvalError> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in expression.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '|' => filter(whole, expression, offset, at + 1)?,
            None => {}
        }
    }
    Ok(())
}

fn filter(whole: &str, expression: &str, offset: usize, at: usize) -> Result<(), EvalError> {
    let rest = &expression[at..];
    let name = rest.trim_start();
    let start = offset + at + rest.len() - name.len();
    let name = name.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    if name.is_empty() || FILTERS.contains(&name) {
        return Ok(());
    }
    let remedy = match did_you_mean(name, FILTERS) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the filters are {}", quoted(&FILTERS)),
    };
    let position = Some(whole[..start].chars().count() + 1);
    Err(EvalError { position, ..EvalError::new(whole, format!("there is no filter `{name}`"), &remedy) })
}

/// The engine's filters.
const FILTERS: [&str; 48] = [
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "zip",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_listed_are_those_of_the_engine() {
        let mut state = environment().empty_state();
        for name in FILTERS {
            assert!(state.perform_test("filter", &[name.into()]).unwrap(), "{name}");
        }
    }
}
