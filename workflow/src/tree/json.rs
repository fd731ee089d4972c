//! JSON text and JSON values to trees.

use serde_json::Value;

use super::{Data, Key, Tree, from_yaml};
use crate::limits;
use crate::problem::{Location, Problem, Problems};

/// Parses JSON text. serde_json says what it means; places come from reading the same text as YAML, of which JSON is all
/// but a subset. Should the two ever differ, the tree has no places but the right values.
pub(crate) fn from_json(text: &str, problems: &mut Problems) -> Option<Tree> {
    if text.len() > limits::DEFINITION_BYTES {
        // The same refusal, in the same words.
        return from_yaml(text, problems);
    }
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            problems.push(syntax(&error));
            return None;
        }
    };
    let mut found = Problems::default();
    match from_yaml(text, &mut found) {
        Some(tree) if tree.to_value().as_ref() == Some(&value) => Some(tree),
        // A name given twice: JSON's reader keeps the last one, YAML's the first one and a problem.
        Some(tree) if !found.is_empty() => {
            found.into_iter().for_each(|problem| problems.push(problem));
            Some(tree)
        }
        _ => Some(from_value(&value)),
    }
}

fn syntax(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or_default();
    Problem {
        location: Some(Location { line: error.line(), column: error.column().max(1) }),
        path: String::new(),
        node: None,
        message: format!("not valid JSON: {message}"),
        remedy: "check commas, quotes and brackets near this place".to_owned(),
    }
}

/// The tree of a JSON value, without places.
pub(crate) fn from_value(value: &Value) -> Tree {
    let data = match value {
        Value::Null => Data::Null,
        Value::Bool(value) => Data::Boolean(*value),
        Value::Number(number) => Data::Number(number.clone()),
        Value::String(text) => Data::Text(text.clone()),
        Value::Array(items) => Data::List(items.iter().map(from_value).collect()),
        Value::Object(entries) => Data::Map(
            entries
                .iter()
                .map(|(name, value)| (Key { at: None, name: name.clone() }, from_value(value)))
                .collect(),
        ),
    };
    Tree { at: None, data }
}
