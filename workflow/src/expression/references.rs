//! Which names an expression uses, without evaluating it.

use std::collections::BTreeSet;

use super::{EvalError, FUNCTIONS, environment};

/// A name that an expression uses: `outputs.train.rmse` is root `outputs`, name `train`, field `rmse`. Parts that are
/// computed (`outputs[params.node]`) are not seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The first part.
    pub root: String,
    /// The second part.
    pub name: Option<String>,
    /// The third part.
    pub field: Option<String>,
}

/// The names that an expression uses.
pub fn references(expression: &str) -> Result<BTreeSet<Reference>, EvalError> {
    let (rewritten, quoted) = rewrite_subscripts(expression);
    let compiled = environment()
        .compile_expression_owned(rewritten)
        .map_err(|error| EvalError::engine(expression, &error))?;
    Ok(parse(compiled.undeclared_variables(true), &quoted))
}

/// The names that a template uses.
pub fn template_references(template: &str) -> Result<BTreeSet<Reference>, EvalError> {
    let (rewritten, quoted) = rewrite_subscripts(template);
    let compiled =
        environment().template_from_str(&rewritten).map_err(|error| EvalError::engine(template, &error))?;
    Ok(parse(compiled.undeclared_variables(true), &quoted))
}

fn parse(names: impl IntoIterator<Item = String>, quoted: &[String]) -> BTreeSet<Reference> {
    let original = |part: &str| {
        let index = part.strip_prefix(PLACEHOLDER).and_then(|index| index.parse::<usize>().ok());
        index.and_then(|index| quoted.get(index)).cloned().unwrap_or_else(|| part.to_owned())
    };
    names
        .into_iter()
        .map(|name| {
            let mut parts = name.split('.').map(original);
            Reference { root: parts.next().unwrap_or_default(), name: parts.next(), field: parts.next() }
        })
        .filter(|reference| !FUNCTIONS.contains(&reference.root.as_str()))
        .collect()
}

const PLACEHOLDER: &str = "__quoted_";

/// Writes `x['my-node']` as `x.__quoted_0`, since the engine tells only dotted names. Inside a string literal this
/// changes the literal, which is of no matter here: nothing is evaluated.
fn rewrite_subscripts(text: &str) -> (String, Vec<String>) {
    let mut rewritten = String::with_capacity(text.len());
    let mut quoted = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        let (before, after) = rest.split_at(at);
        rewritten.push_str(before);
        let follows_value = before.ends_with(|c: char| c.is_ascii_alphanumeric() || "_])".contains(c));
        match quoted_subscript(&after[1..])
            .filter(|_| follows_value || (before.is_empty() && !quoted.is_empty()))
        {
            Some((name, remainder)) => {
                rewritten.push_str(&format!(".{PLACEHOLDER}{}", quoted.len()));
                quoted.push(name.to_owned());
                rest = remainder;
            }
            None => {
                rewritten.push('[');
                rest = &after[1..];
            }
        }
    }
    rewritten.push_str(rest);
    (rewritten, quoted)
}

/// `'name']…` as the name and what follows the bracket.
fn quoted_subscript(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|c| *c == '\'' || *c == '"')?;
    let (name, rest) = text[1..].split_once(quote)?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let rest = rest.trim_start().strip_prefix(']')?;
    is_name.then_some((name, rest))
}
