//! Amounts with units, as people write them: `1500ms`, `90s`, `2h`, `512MiB`. Serialised in one normal form, so that
//! `60s` and `1m` give the same content hash.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Bytes(pub u64);

/// A text that is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}; write {example}")]
pub struct ParseError {
    text: String,
    what: &'static str,
    example: &'static str,
}

const MILLIS_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const BYTES_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

impl FromStr for Millis {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let what = "a duration";
        parse(text, &MILLIS_UNITS).map(Millis).ok_or_else(|| ParseError {
            text: text.into(),
            what,
            example: "a whole number and a unit of ms, s, m, h or d, like `90s`",
        })
    }
}

impl FromStr for Bytes {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text, &BYTES_UNITS).map(Bytes).ok_or_else(|| ParseError {
            text: text.into(),
            what: "a size",
            example: "a whole number and a unit of B, KiB, MiB, GiB, TiB, kB, MB, GB or TB, like `512MiB`",
        })
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = largest(self.0, &MILLIS_UNITS);
        write!(f, "{}{unit}", self.0 / scale)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = largest(self.0, &BYTES_UNITS[..5]);
        write!(f, "{}{unit}", self.0 / scale)
    }
}

/// The largest unit that divides the amount without remainder.
fn largest(amount: u64, units: &[(&'static str, u64)]) -> (&'static str, u64) {
    units
        .iter()
        .copied()
        .rev()
        .find(|(_, scale)| amount != 0 && amount.is_multiple_of(*scale))
        .unwrap_or(units[0])
}

macro_rules! as_text {
    ($type:ty, $name:literal, $pattern:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

as_text!(Millis, "Duration", r"^[0-9]+ ?(ms|s|m|h|d)$");
as_text!(Bytes, "Size", r"^[0-9]+ ?(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_one_normal_form() {
        for (text, normal) in
            [("60s", "1m"), ("1 m", "1m"), ("1500ms", "1500ms"), ("24h", "1d"), ("0s", "0ms")]
        {
            assert_eq!(text.parse::<Millis>().unwrap().to_string(), normal);
        }
        for (text, normal) in [("1024KiB", "1MiB"), ("1kB", "1000B"), ("0GB", "0B"), ("3 GiB", "3GiB")] {
            assert_eq!(text.parse::<Bytes>().unwrap().to_string(), normal);
        }
        for text in
            ["", "s", "5", "-1s", "1.5s", "1S", "1 0s", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(text.parse::<Millis>().is_err(), "{text}");
        }
    }
}
