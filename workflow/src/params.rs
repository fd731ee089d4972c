//! The parameters of a run: given values and defaults, checked against the definition.

use serde_json::{Map, Value};

use crate::definition::{Definition, Param, ParamType};
use crate::ids::did_you_mean;
use crate::limits;
use crate::problem::{Problem, Problems};
use crate::reader::quoted;
use crate::tree::{from_value, shorten};

/// The parameters that a run sees: the given ones and, for those not given, the defaults.
pub fn bind_params(
    definition: &Definition,
    given: Map<String, Value>,
) -> Result<Map<String, Value>, Problems> {
    let mut problems = Problems::default();
    for name in given.keys().filter(|name| !definition.params.contains_key(*name)) {
        problems.push(unknown(definition, name));
    }
    let mut bound = Map::new();
    for (name, param) in &definition.params {
        match given.get(name).or(param.default.as_ref()) {
            Some(value) => {
                check_value(param, value)
                    .into_iter()
                    .for_each(|(message, remedy)| problems.push(problem(name, message, remedy)));
                bound.insert(name.clone(), value.clone());
            }
            None => {
                let message = format!("the parameter `{name}` is missing");
                problems.push(problem(name, message, format!("give {}", type_name(param.kind))));
            }
        }
    }
    let size = serde_json::to_string(&bound).map_or(usize::MAX, |text| text.len());
    if size > limits::PARAMS_BYTES {
        let message = format!("the parameters have {size} bytes; the limit is {}", limits::PARAMS_BYTES);
        problems.push(Problem {
            path: "params".to_owned(),
            ..problem("", message, "hand large data over as a file or URI")
        });
    }
    problems.or(bound)
}

fn problem(name: &str, message: impl Into<String>, remedy: impl Into<String>) -> Problem {
    Problem {
        location: None,
        path: format!("params.{}", shorten(name)),
        node: None,
        message: message.into(),
        remedy: remedy.into(),
    }
}

fn unknown(definition: &Definition, name: &str) -> Problem {
    let known: Vec<&str> = definition.params.keys().map(String::as_str).collect();
    let remedy = match did_you_mean(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "it takes no parameters: remove it".to_owned(),
        None => format!("its parameters are {}", quoted(&known)),
    };
    problem(name, format!("workflow `{}` has no parameter `{}`", definition.name, shorten(name)), remedy)
}

/// A value's type in words, with an example's worth of hint.
pub(crate) fn type_name(kind: ParamType) -> &'static str {
    match kind {
        ParamType::String => "text",
        ParamType::Integer => "a whole number",
        ParamType::Number => "a number",
        ParamType::Boolean => "true or false",
        ParamType::List => "a list",
        ParamType::Object => "a map",
    }
}

/// What is wrong with a value of a parameter, each with a remedy.
pub(crate) fn check_value(param: &Param, value: &Value) -> Vec<(String, String)> {
    if depth(value) > limits::VALUE_DEPTH {
        return vec![(
            format!("the value is nested more than {} levels deep", limits::VALUE_DEPTH),
            "nest it less deeply".to_owned(),
        )];
    }
    let fits = match param.kind {
        ParamType::String => value.is_string(),
        ParamType::Integer => value.is_i64() || value.is_u64(),
        ParamType::Number => value.is_number(),
        ParamType::Boolean => value.is_boolean(),
        ParamType::List => value.is_array(),
        ParamType::Object => value.is_object(),
    };
    if !fits {
        let wanted = type_name(param.kind);
        return vec![(
            format!("it must be {wanted}, not {}", from_value(value).describe()),
            format!("give {wanted}"),
        )];
    }
    let mut found = Vec::new();
    check_range(param, value, &mut found);
    check_length(param, value, &mut found);
    if let Some(allowed) =
        param.allowed.as_ref().filter(|allowed| !allowed.iter().any(|other| same(other, value)))
    {
        let words: Vec<String> = allowed.iter().map(|value| from_value(value).describe()).collect();
        found.push((
            format!("{} is not one of the allowed values", from_value(value).describe()),
            format!("give one of: {}", words.join(", ")),
        ));
    }
    found
}

/// Equality that does not tell `1` from `1.0`.
fn same(one: &Value, other: &Value) -> bool {
    one == other || (one.is_number() && other.is_number() && one.as_f64() == other.as_f64())
}

fn check_range(param: &Param, value: &Value, found: &mut Vec<(String, String)>) {
    let Some(number) = value.as_f64() else { return };
    if let Some(minimum) = param.minimum.filter(|minimum| number < *minimum) {
        found
            .push((format!("{value} is less than the minimum {minimum}"), format!("give {minimum} or more")));
    }
    if let Some(maximum) = param.maximum.filter(|maximum| number > *maximum) {
        found
            .push((format!("{value} is more than the maximum {maximum}"), format!("give {maximum} or less")));
    }
}

fn check_length(param: &Param, value: &Value, found: &mut Vec<(String, String)>) {
    let (length, unit) = match value {
        Value::String(text) => (text.chars().count() as u64, "characters"),
        Value::Array(items) => (items.len() as u64, "items"),
        _ => return,
    };
    if let Some(least) = param.min_length.filter(|least| length < *least) {
        found.push((format!("it has {length} {unit}, fewer than {least}"), format!("give {least} or more")));
    }
    if let Some(most) = param.max_length.filter(|most| length > *most) {
        found.push((format!("it has {length} {unit}, more than {most}"), format!("give {most} or fewer")));
    }
}

/// How many lists and objects stand inside each other, the value itself counted.
pub(crate) fn depth(value: &Value) -> usize {
    // Without recursion: the depth is what is in doubt.
    let mut deepest = 0;
    let mut open = vec![(value, 1)];
    while let Some((value, depth)) = open.pop() {
        deepest = deepest.max(depth);
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(entries) => open.extend(entries.values().map(|entry| (entry, depth + 1))),
            _ => {}
        }
    }
    deepest
}
