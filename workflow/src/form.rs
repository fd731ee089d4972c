//! A definition's forms: YAML and JSON text in, YAML and canonical JSON out, and the hash that names its version.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::definition::Definition;
use crate::kinds::Plugins;
use crate::problem::{Problem, Problems};
use crate::tree::{self, Tree};
use crate::{reader, validate};

impl Definition {
    /// Reads and validates YAML. All problems come with their places. Nothing is asked of kinds that plugins bring.
    pub fn from_yaml(text: &str) -> Result<Definition, Problems> {
        from_text(text, tree::from_yaml, &Plugins::default())
    }

    /// The same where it is known which kinds plugins bring: their steps' configs are checked, other kinds refused.
    pub fn from_yaml_with(text: &str, plugins: &Plugins) -> Result<Definition, Problems> {
        from_text(text, tree::from_yaml, plugins)
    }

    /// Reads and validates JSON, as `from_yaml` does YAML.
    pub fn from_json(text: &str) -> Result<Definition, Problems> {
        from_text(text, tree::from_json, &Plugins::default())
    }

    /// The definition as YAML, fields in reading order and defaults left out. Reading it gives an equal definition.
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self)
            .expect("a definition holds only text, numbers, lists and maps with text keys")
    }

    /// The definition as JSON with sorted keys, without white space, defaults left out: equal for equal definitions.
    pub fn canonical_json(&self) -> String {
        let value = serde_json::to_value(self).expect("a definition's maps have text keys");
        let mut text = String::new();
        write_sorted(&value, &mut text);
        text
    }

    /// What names this version of the workflow: the hash of its canonical JSON.
    pub fn content_hash(&self) -> ContentHash {
        let digest = Sha256::digest(self.canonical_json().as_bytes());
        ContentHash(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

fn from_text(
    text: &str,
    parse: fn(&str, &mut Problems) -> Option<Tree>,
    plugins: &Plugins,
) -> Result<Definition, Problems> {
    let mut problems = Problems::default();
    let tree = parse(text, &mut problems);
    let definition = tree.as_ref().and_then(|tree| reader::read_definition(tree, &mut problems));
    // What a broken shape means cannot be judged; its meaning is looked at when the shape is right.
    if let (Some(definition), Some(tree), true) = (&definition, &tree, problems.is_empty()) {
        problems = validate::validate_tree(definition, tree, plugins);
    }
    problems.sort();
    match definition {
        Some(definition) => problems.or(definition),
        None if problems.is_empty() => Err(not_read()),
        None => Err(problems),
    }
}

/// Said when a definition could not be read and nothing says why, which the reader's tests rule out.
fn not_read() -> Problems {
    let mut problems = Problems::default();
    problems.push(Problem {
        location: None,
        path: String::new(),
        node: None,
        message: "the workflow could not be read".to_owned(),
        remedy: "compare it with the reference".to_owned(),
    });
    problems
}

/// serde_json's map may keep insertion order, if any crate of the build asks for that; a hash must not depend on it.
fn write_sorted(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                write_sorted(item, text);
            }
            text.push(']');
        }
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_unstable_by_key(|(name, _)| name.as_str());
            text.push('{');
            for (index, (name, value)) in entries.into_iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_sorted(value, text);
            }
            text.push('}');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

/// The SHA-256 of a definition's canonical JSON, as 64 lowercase hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(String);

/// A text that is no content hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a content hash; one is 64 lowercase hexadecimal digits")]
pub struct ParseContentHashError(String);

impl ContentHash {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContentHash {
    type Err = ParseContentHashError;
    fn from_str(text: &str) -> Result<Self, ParseContentHashError> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(is_hex) {
            Ok(ContentHash(text.to_owned()))
        } else {
            Err(ParseContentHashError(tree::shorten(text)))
        }
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
