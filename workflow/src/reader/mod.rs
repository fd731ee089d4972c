//! Tree to model. Checks the shape only: which fields there are and what type each has. Goes on after a problem, so that
//! one look shows them all. This is the only way a definition or a node is deserialised, so YAML, JSON and the engine's
//! stored form are judged by the same code with the same words.

mod composite;
mod definition;
mod fields;
mod node;
mod serde_impls;
mod step;

pub(crate) use fields::quoted;

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::definition::Definition;
use crate::problem::{Location, Problem, Problems};
use crate::tree::{Data, Segment, Tree, field_text, path_text};

/// Reads a definition; `None` if its shape is wrong, with the problems collected.
pub(crate) fn read_definition(tree: &Tree, problems: &mut Problems) -> Option<Definition> {
    Reader::new(problems).definition(tree)
}

/// Where the reader is, and what it found wrong on the way.
pub(crate) struct Reader<'p> {
    path: Vec<Segment>,
    nodes: Vec<String>,
    problems: &'p mut Problems,
}

impl<'p> Reader<'p> {
    pub fn new(problems: &'p mut Problems) -> Self {
        Reader { path: Vec::new(), nodes: Vec::new(), problems }
    }

    fn report(&mut self, at: Option<Location>, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem {
            location: at,
            path: path_text(&self.path),
            node: (!self.nodes.is_empty()).then(|| self.nodes.join("/")),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    /// The name of the value at hand as a person would say it: its field, with the place in a list.
    fn field(&self) -> String {
        field_text(&self.path)
    }

    /// Reports a value of the wrong type.
    fn expected<T>(&mut self, tree: &Tree, wanted: &str, remedy: &str) -> Option<T> {
        let message = format!("`{}` must be {wanted}, not {}", self.field(), tree.describe());
        self.report(tree.at, message, remedy);
        None
    }

    fn within<T>(&mut self, segment: Segment, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(segment);
        let value = read(self);
        self.path.pop();
        value
    }

    fn text(&mut self, tree: &Tree) -> Option<String> {
        match &tree.data {
            Data::Text(text) => Some(text.clone()),
            Data::Number(_) | Data::Boolean(_) | Data::NotFinite(_) => {
                self.expected(tree, "text", "put it in quotes")
            }
            _ => self.expected(tree, "text", "write one piece of text"),
        }
    }

    fn whole<T: TryFrom<i128>>(&mut self, tree: &Tree, wanted: &str) -> Option<T> {
        let number = match &tree.data {
            Data::Number(number) => {
                number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
            }
            _ => None,
        };
        match number.map(T::try_from) {
            Some(Ok(number)) => Some(number),
            Some(Err(_)) => self.expected(tree, wanted, "give one in this range"),
            None => self.expected(tree, wanted, "write it in digits, without quotes, point or unit"),
        }
    }

    fn unsigned_32(&mut self, tree: &Tree) -> Option<u32> {
        self.whole(tree, "a whole number from 0 to 4294967295")
    }

    fn unsigned_64(&mut self, tree: &Tree) -> Option<u64> {
        self.whole(tree, "a whole number from 0")
    }

    fn signed_32(&mut self, tree: &Tree) -> Option<i32> {
        self.whole(tree, "a whole number")
    }

    fn number(&mut self, tree: &Tree) -> Option<f64> {
        match &tree.data {
            Data::Number(number) if number.as_f64().is_some() => number.as_f64(),
            Data::NotFinite(_) => self.expected(tree, "a finite number", "write a number in digits"),
            _ => self.expected(tree, "a number", "write it in digits, without quotes or unit"),
        }
    }

    fn boolean(&mut self, tree: &Tree) -> Option<bool> {
        match tree.data {
            Data::Boolean(value) => Some(value),
            _ => self.expected(tree, "true or false", "write `true` or `false`, without quotes"),
        }
    }

    /// A text with a unit, like `90s`.
    fn amount<T: FromStr<Err: ToString>>(&mut self, tree: &Tree, wanted: &str, unit: &str) -> Option<T> {
        match &tree.data {
            Data::Text(text) => match text.parse() {
                Ok(amount) => Some(amount),
                Err(_) if is_too_large::<T>(text) => {
                    self.expected(tree, wanted, "it is too large: give less")
                }
                Err(_) => self.expected(tree, wanted, &format!("write a whole number and a unit, {unit}")),
            },
            Data::Number(number) => {
                let unit = format!("add the unit, {}", unit.replace("90", &number.to_string()));
                self.expected(tree, wanted, &unit)
            }
            _ => self.expected(tree, wanted, &format!("write a whole number and a unit, {unit}")),
        }
    }

    fn millis(&mut self, tree: &Tree) -> Option<crate::units::Millis> {
        self.amount(tree, "a duration", "one of ms, s, m, h and d, like `90s`")
    }

    fn bytes(&mut self, tree: &Tree) -> Option<crate::units::Bytes> {
        self.amount(tree, "a size", "one of B, KiB, MiB, GiB, TiB, kB, MB, GB and TB, like `90MiB`")
    }

    /// One of a few words.
    fn word<T: Copy>(&mut self, tree: &Tree, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(tree)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let remedy = match fields::suggestion(&text, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of {}", quoted(&known)),
        };
        let message = format!("`{}` cannot be `{}`", self.field(), crate::tree::shorten(&text));
        self.report(tree.at, message, remedy);
        None
    }

    /// A list; what cannot be read is reported and left out.
    fn list<T>(
        &mut self,
        tree: &Tree,
        mut read: impl FnMut(&mut Self, &Tree) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Data::List(items) = &tree.data else {
            return self.expected(
                tree,
                "a list",
                "write `[a, b]`, or each item on a line of its own after `- `",
            );
        };
        let mut values = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            values.extend(self.within(Segment::Index(index), |reader| read(reader, item)));
        }
        Some(values)
    }

    fn texts(&mut self, tree: &Tree) -> Option<Vec<String>> {
        self.list(tree, Self::text)
    }

    /// A map from free names; what cannot be read is reported and left out.
    fn map<T>(
        &mut self,
        tree: &Tree,
        mut read: impl FnMut(&mut Self, &Tree) -> Option<T>,
    ) -> Option<BTreeMap<String, T>> {
        let Data::Map(entries) = &tree.data else {
            return self.expected(tree, "a map", "write `name: value` lines below it");
        };
        let mut values = BTreeMap::new();
        for (key, value) in entries {
            let value = self.within(Segment::Name(key.name.clone()), |reader| read(reader, value));
            values.extend(value.map(|value| (key.name.clone(), value)));
        }
        Some(values)
    }

    fn expressions(&mut self, tree: &Tree) -> Option<BTreeMap<String, String>> {
        self.map(tree, Self::expression)
    }

    /// An expression; YAML's own true, false and numbers are expressions too.
    fn expression(&mut self, tree: &Tree) -> Option<String> {
        match &tree.data {
            Data::Boolean(value) => Some(value.to_string()),
            Data::Number(number) => Some(number.to_string()),
            Data::Text(text) => Some(text.clone()),
            _ => self.expected(tree, "an expression", "write it as text, like `outputs.train.rmse < 0.9`"),
        }
    }

    fn value(&mut self, tree: &Tree) -> Option<Value> {
        let value = tree.to_value();
        if let Some(found) = value.is_none().then(|| tree.not_finite()).flatten() {
            let message = format!("`{}` holds {}, which JSON does not have", self.field(), found.describe());
            self.report(found.at, message, "write a finite number, or text in quotes");
        }
        value
    }

    fn object(&mut self, tree: &Tree) -> Option<Map<String, Value>> {
        match self.value(tree) {
            Some(Value::Object(object)) => Some(object),
            Some(_) => self.expected(tree, "a map", "write `name: value` lines below it"),
            None => None,
        }
    }
}

/// Whether a text is an amount in all but its size.
fn is_too_large<T: FromStr>(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < text.len() && format!("1{unit}").parse::<T>().is_ok()
}
