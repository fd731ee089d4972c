//! A definition's text as a tree that remembers where each value stood. YAML, JSON and plain JSON values all become this
//! tree, and one reader turns it into the model.

mod json;
mod scalar;
mod yaml;

pub(crate) use json::{from_json, from_value};
pub(crate) use yaml::from_yaml;

use serde_json::{Number, Value};

use crate::problem::Location;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tree {
    pub at: Option<Location>,
    pub data: Data,
}

/// What a tree's vertex holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    Null,
    Boolean(bool),
    Number(Number),
    /// `.nan` and `.inf`, which JSON does not have; with the text as written.
    NotFinite(String),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(Key, Tree)>),
}

/// A name in a map and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub at: Option<Location>,
    pub name: String,
}

/// A step on the way from a definition to one of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// A field, or a name in a map.
    Name(String),
    /// A place in a list, from 0.
    Index(usize),
}

impl Tree {
    /// What it is, for people: `the number 3`.
    pub fn describe(&self) -> String {
        match &self.data {
            Data::Null => "nothing".to_owned(),
            Data::Boolean(value) => format!("`{value}`"),
            Data::Number(number) => format!("the number {number}"),
            Data::NotFinite(text) => format!("`{text}`"),
            Data::Text(text) => format!("the text `{}`", shorten(text)),
            Data::List(_) => "a list".to_owned(),
            Data::Map(_) => "a map".to_owned(),
        }
    }

    /// The tree as a JSON value; `None` where JSON has no such value.
    pub fn to_value(&self) -> Option<Value> {
        Some(match &self.data {
            Data::Null => Value::Null,
            Data::Boolean(value) => Value::Bool(*value),
            Data::Number(number) => Value::Number(number.clone()),
            Data::NotFinite(_) => return None,
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => Value::Array(items.iter().map(Tree::to_value).collect::<Option<_>>()?),
            Data::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| Some((key.name.clone(), value.to_value()?)))
                    .collect::<Option<_>>()?,
            ),
        })
    }

    /// The first part that JSON has no value for.
    pub fn not_finite(&self) -> Option<&Tree> {
        match &self.data {
            Data::NotFinite(_) => Some(self),
            Data::List(items) => items.iter().find_map(Tree::not_finite),
            Data::Map(entries) => entries.iter().find_map(|(_, value)| value.not_finite()),
            _ => None,
        }
    }

    /// The place of a part, or of the nearest part on the way to it that is there. A map entry's place is its name's,
    /// unless the way ends there and it holds a plain value.
    pub fn locate(&self, path: &[Segment]) -> Option<Location> {
        let mut here = self;
        let mut at = self.at;
        for (depth, segment) in path.iter().enumerate() {
            let last = depth + 1 == path.len();
            let (place, next) = match (segment, &here.data) {
                (Segment::Name(name), Data::Map(entries)) => {
                    let Some((key, value)) = entries.iter().find(|(key, _)| key.name == *name) else {
                        return at;
                    };
                    let plain = !matches!(value.data, Data::List(_) | Data::Map(_));
                    (if last && plain { value.at } else { key.at }, value)
                }
                (Segment::Index(index), Data::List(items)) => {
                    let Some(item) = items.get(*index) else { return at };
                    (item.at, item)
                }
                _ => return at,
            };
            at = place;
            here = next;
        }
        at
    }
}

/// A path as text: `nodes[2].for_each.nodes[0].config`.
pub(crate) fn path_text(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Index(index) => text.push_str(&format!("[{index}]")),
            Segment::Name(name) if text.is_empty() => text.push_str(name),
            Segment::Name(name) => text.push_str(&format!(".{name}")),
        }
    }
    text
}

/// The first line of a text, at most 40 characters of it.
pub(crate) fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The last name of a path and its places in lists: `needs[0]`.
pub(crate) fn field_text(path: &[Segment]) -> String {
    let named = path.iter().rposition(|segment| matches!(segment, Segment::Name(_))).unwrap_or(0);
    path_text(&path[named..])
}
