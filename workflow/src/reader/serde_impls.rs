//! `Deserialize` through the reader, for the types that have rules serde's derive cannot say exactly.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Reader;
use crate::definition::{Definition, Node, Retry};
use crate::problem::Problems;
use crate::tree::{Tree, from_value};

macro_rules! through_reader {
    ($type:ty, $read:ident) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                read(&from_value(&Value::deserialize(deserializer)?), |reader, tree| reader.$read(tree))
                    .map_err(D::Error::custom)
            }
        }
    };
}

through_reader!(Definition, definition);
through_reader!(Node, node);
through_reader!(Retry, retry);

fn read<T>(tree: &Tree, read: impl FnOnce(&mut Reader<'_>, &Tree) -> Option<T>) -> Result<T, Problems> {
    let mut problems = Problems::default();
    let value = read(&mut Reader::new(&mut problems), tree);
    match value {
        Some(value) => problems.or(value),
        None => Err(problems),
    }
}
