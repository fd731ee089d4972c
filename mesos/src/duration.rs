//! Lengths of time as Mesos writes them: a number and a unit, like `15mins`, `2.5secs` or `250ms`.

use std::time::Duration;

/// Units, the longest first, with their nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("weeks", 604_800_000_000_000),
    ("days", 86_400_000_000_000),
    ("hrs", 3_600_000_000_000),
    ("mins", 60_000_000_000),
    ("secs", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Why a text is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a length of time like `15mins`: {reason}")]
pub struct Error {
    text: String,
    reason: &'static str,
}

/// Reads a length of time. Units are `ns`, `us`, `ms`, `secs`, `mins`, `hrs`, `days` and `weeks`.
pub fn parse(text: &str) -> Result<Duration, Error> {
    let wrong = |reason| Error { text: text.to_owned(), reason };
    let trimmed = text.trim();
    let split = trimmed.find(|letter: char| letter.is_ascii_alphabetic()).ok_or_else(|| wrong("no unit"))?;
    let (number, unit) = trimmed.split_at(split);
    let (_, nanoseconds) =
        UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(|| wrong("the unit is not known"))?;
    if let Ok(whole) = number.parse::<u64>() {
        // Whole numbers keep all their digits.
        let total = whole.checked_mul(nanoseconds).ok_or_else(|| wrong("too long"))?;
        return Ok(Duration::from_nanos(total));
    }
    let number: f64 = number.parse().map_err(|_| wrong("the number cannot be read"))?;
    if number < 0.0 {
        return Err(wrong("negative"));
    }
    Duration::try_from_secs_f64(number * nanoseconds as f64 / 1e9).map_err(|_| wrong("too long"))
}

/// Writes a length of time in the longest unit that needs no fraction.
pub fn format(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let (name, unit) = UNITS
        .into_iter()
        .find(|(_, unit)| nanoseconds >= u128::from(*unit) && nanoseconds.is_multiple_of(u128::from(*unit)))
        .unwrap_or(("ns", 1));
    format!("{}{name}", nanoseconds / u128::from(unit))
}

/// A length of time of the contract, none if it is negative.
pub fn of_contract(info: &crate::v1::DurationInfo) -> Option<Duration> {
    u64::try_from(info.nanoseconds).ok().map(Duration::from_nanos)
}

/// A length of time for the contract, which ends at 292 years.
pub fn to_contract(duration: Duration) -> crate::v1::DurationInfo {
    crate::v1::DurationInfo { nanoseconds: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX) }
}
