//! JSON to the template engine's values and back. Whole numbers stay whole and floats stay floats.

use minijinja::Value as Seen;
use minijinja::value::ValueKind;
use serde_json::{Map, Number, Value};

use super::EvalError;
use crate::limits;

pub(super) fn from_json(value: &Value) -> Seen {
    match value {
        Value::Null => Seen::from(()),
        Value::Bool(value) => Seen::from(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Seen::from(number),
            (_, Some(number), _) => Seen::from(number),
            (_, _, number) => Seen::from(number.unwrap_or(f64::NAN)),
        },
        Value::String(text) => Seen::from(text.as_str()),
        Value::Array(items) => Seen::from(items.iter().map(from_json).collect::<Vec<_>>()),
        Value::Object(object) => from_object(object),
    }
}

pub(super) fn from_object(object: &Map<String, Value>) -> Seen {
    Seen::from_pairs(object.iter().map(|(name, value)| (name.as_str(), from_json(value))))
}

/// The JSON of what an evaluation gave, bounded in size and depth.
pub(super) fn to_json(value: &Seen) -> Result<Value, EvalError> {
    let mut budget = limits::EVALUATED_BYTES;
    convert(value, 0, &mut budget)
}

fn convert(value: &Seen, depth: usize, budget: &mut usize) -> Result<Value, EvalError> {
    let fail = |reason: String, remedy: &str| Err(EvalError::new("", reason, remedy));
    if depth > limits::VALUE_DEPTH {
        return fail("the value is nested too deeply".to_owned(), "nest it less deeply");
    }
    let size = value.as_str().map_or(8, |text| text.len() + 2);
    *budget = budget.checked_sub(size).ok_or_else(EvalError::too_large)?;
    match value.kind() {
        ValueKind::Undefined => fail(
            "it gives nothing: a name in it is not there".to_owned(),
            "check the names, or give a default: `… | default(0)`",
        ),
        ValueKind::None => Ok(Value::Null),
        ValueKind::Bool => Ok(Value::Bool(value.is_true())),
        ValueKind::Number => number(value),
        ValueKind::String => Ok(Value::String(value.as_str().unwrap_or_default().to_owned())),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|error| EvalError::engine("", &error))?;
            let items = items.checked().map(|item| {
                let item = item.map_err(|error| EvalError::engine("", &error))?;
                convert(&item, depth + 1, budget)
            });
            Ok(Value::Array(items.collect::<Result<_, _>>()?))
        }
        ValueKind::Map => object(value, depth, budget),
        kind => {
            fail(format!("it gives a value that JSON does not have: {kind}"), "give text, a number or a list")
        }
    }
}

fn number(value: &Seen) -> Result<Value, EvalError> {
    let number = if value.is_integer() {
        let signed = i64::try_from(value.clone()).ok().map(Number::from);
        signed.or_else(|| u64::try_from(value.clone()).ok().map(Number::from))
    } else {
        f64::try_from(value.clone()).ok().and_then(Number::from_f64)
    };
    number.map(Value::Number).ok_or_else(|| {
        EvalError::new(
            "",
            format!("it gives {value}, which is no JSON number"),
            "keep numbers within 64 bits and finite",
        )
    })
}

fn object(value: &Seen, depth: usize, budget: &mut usize) -> Result<Value, EvalError> {
    let keys = value.try_iter().map_err(|error| EvalError::engine("", &error))?;
    let mut entries = Map::new();
    for key in keys.checked() {
        let key = key.map_err(|error| EvalError::engine("", &error))?;
        let Some(name) = key.as_str() else {
            let reason = format!("it gives an object with the key {key}, but JSON's keys are text");
            return Err(EvalError::new("", reason, "put the keys in quotes"));
        };
        *budget = budget.checked_sub(name.len() + 4).ok_or_else(EvalError::too_large)?;
        let entry = value.get_item(&key).map_err(|error| EvalError::engine("", &error))?;
        entries.insert(name.to_owned(), convert(&entry, depth + 1, budget)?);
    }
    Ok(Value::Object(entries))
}

/// A value for people, short.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("a list of {} items", items.len()),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => format!("the text `{}`", crate::tree::shorten(text)),
        other => format!("`{other}`"),
    }
}
