//! Readers of settings and step configuration that people write in more than one way: sizes, durations, lists.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

/// A number of bytes, or text like `512MiB`.
///
/// # Errors
/// When it is neither.
pub fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match NumberOrText::deserialize(deserializer)? {
        NumberOrText::Number(number) => Ok(number),
        NumberOrText::Text(text) => {
            parse_bytes(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is no size, e.g. 512MiB")))
        }
    }
}

/// `12`, `12B`, `12KiB`, `12MiB`, `12GiB`, `12TiB`, or decimal `12KB`, `12MB`, `12GB`.
pub fn parse_bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 10] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
        ("", 1),
    ];
    let (number, unit) =
        UNITS.iter().find_map(|(name, unit)| Some((text.trim().strip_suffix(name)?, *unit)))?;
    number.trim().parse::<u64>().ok()?.checked_mul(unit)
}

/// `250ms`, `2s`, `1.5s`, `3m`, `1h`, `1d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 5] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0)];
    let (number, unit) =
        UNITS.iter().find_map(|(name, unit)| Some((text.trim().strip_suffix(name)?, *unit)))?;
    Duration::try_from_secs_f64(number.trim().parse::<f64>().ok()? * unit).ok()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ListOrText {
    List(Vec<String>),
    Text(String),
}

/// A list, or text with commas between the items.
///
/// # Errors
/// When it is neither.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match ListOrText::deserialize(deserializer)? {
        ListOrText::List(list) => list,
        ListOrText::Text(text) => {
            text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
        }
    })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MapOrText {
    Map(BTreeMap<String, String>),
    Text(String),
}

/// A table, or text like `zone=a,disk=ssd`.
///
/// # Errors
/// When it is neither.
pub fn map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let text = match MapOrText::deserialize(deserializer)? {
        MapOrText::Map(map) => return Ok(map),
        MapOrText::Text(text) => text,
    };
    let pair = |item: &str| {
        let (name, value) =
            item.split_once('=').ok_or_else(|| D::Error::custom(format!("`{item}` is no name=value")))?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    text.split(',').filter(|item| !item.trim().is_empty()).map(pair).collect()
}

/// Text; TOML and variables may have read `off` as a boolean.
///
/// # Errors
/// When it is neither text nor a boolean.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum TextOrFlag {
        Text(String),
        Flag(bool),
    }
    Ok(match TextOrFlag::deserialize(deserializer)? {
        TextOrFlag::Text(text) => text,
        TextOrFlag::Flag(true) => "auto".to_owned(),
        TextOrFlag::Flag(false) => "off".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations() {
        assert_eq!(parse_bytes("512 MiB"), Some(512 << 20));
        assert_eq!(parse_bytes("7"), Some(7));
        assert_eq!(parse_bytes("1GB"), Some(1_000_000_000));
        assert_eq!(parse_bytes("much"), None);
        assert_eq!(parse_duration("10ms"), Some(Duration::from_millis(10)));
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1_500)));
        assert_eq!(parse_duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(parse_duration("-1s"), None);
        assert_eq!(parse_duration("soon"), None);
    }
}
