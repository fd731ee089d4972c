//! Names and ids: which texts may be one, what a run's id looks like, and what somebody who mistyped may have meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits;

/// The id of a run: the Raft group that holds it and a ULID, as `g0-01jd2k3m4n5p6q7r8s9t0v1w2x`. Ids of one group order
/// by the time they were made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId {
    group: u32,
    ulid: String,
}

/// A text that is no run id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a run id; one looks like `g0-01jd2k3m4n5p6q7r8s9t0v1w2x`")]
pub struct ParseRunIdError(String);

const ULID_CHARS: usize = 26;

impl RunId {
    /// The id made of a group and a ULID; the ULID's letters may have either case.
    pub fn new(group: u32, ulid: &str) -> Result<RunId, ParseRunIdError> {
        let lower = ulid.to_ascii_lowercase();
        if is_ulid(&lower) { Ok(RunId { group, ulid: lower }) } else { Err(ParseRunIdError(ulid.to_owned())) }
    }

    /// The Raft group that holds the run.
    pub fn group(&self) -> u32 {
        self.group
    }

    /// The ULID part, in lowercase.
    pub fn ulid(&self) -> &str {
        &self.ulid
    }
}

/// 26 characters of Crockford's alphabet; the first is at most `7`, since a ULID has 128 bits.
fn is_ulid(text: &str) -> bool {
    text.len() == ULID_CHARS
        && text.starts_with(|c: char| ('0'..='7').contains(&c))
        && text.chars().all(|c| c.is_ascii_digit() || (c.is_ascii_lowercase() && !"ilou".contains(c)))
}

impl FromStr for RunId {
    type Err = ParseRunIdError;
    fn from_str(text: &str) -> Result<Self, ParseRunIdError> {
        let refused = || ParseRunIdError(text.to_owned());
        let (group, ulid) =
            text.strip_prefix('g').and_then(|rest| rest.split_once('-')).ok_or_else(refused)?;
        // One text form per id: no sign, no leading zeros, no capitals.
        let number: u32 = group.parse().map_err(|_| refused())?;
        if number.to_string() != group || !is_ulid(ulid) {
            return Err(refused());
        }
        Ok(RunId { group: number, ulid: ulid.to_owned() })
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}-{}", self.group, self.ulid)
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Whether a text can be a workflow's name: lowercase letters, digits, `_` and `-`, starting with a letter.
pub fn is_workflow_name(text: &str) -> bool {
    text.len() <= limits::WORKFLOW_NAME_CHARS
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
}

/// Whether a text can be a node's id or a signal's name: letters, digits, `_` and `-`, starting with a letter.
pub fn is_node_id(text: &str) -> bool {
    text.len() <= limits::NAME_CHARS
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Whether a text can name a parameter, an output, an item or a state: letters, digits and `_`, starting with a letter
/// or `_`, so that expressions can say it.
pub fn is_variable_name(text: &str) -> bool {
    text.len() <= limits::NAME_CHARS
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a text can name an environment variable: as POSIX has it.
pub fn is_environment_name(text: &str) -> bool {
    text.len() <= 4 * limits::NAME_CHARS
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a text can name a secret: a path that cannot leave the directory it is looked for in.
pub fn is_secret_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    text.len() <= limits::SECRET_NAME_CHARS
        && text.split('/').all(|part| !matches!(part, "" | "." | "..") && part.chars().all(is_plain))
}

/// The candidate nearest to a mistyped name, if one is near enough to be worth a question.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer names are left alone: no valid name is that long, and the distance costs their product.
    if name.len() > 2 * limits::WORKFLOW_NAME_CHARS {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let distance = |candidate: &str| {
        let other = candidate.to_ascii_lowercase();
        if other == lower || other.replace('-', "_") == lower.replace('-', "_") {
            return 0;
        }
        strsim::damerau_levenshtein(&lower, &other)
    };
    let reach = match name.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        6..=8 => 3,
        _ => 4,
    };
    candidates
        .into_iter()
        // Enough for any list that a person knows; a graph of 10,000 nodes shall not make a mistake expensive.
        .take(1_000)
        .filter(|candidate| *candidate != name && candidate.len().abs_diff(name.len()) <= reach)
        .map(|candidate| (distance(candidate), candidate))
        // A distance as long as the name itself shares nothing with it.
        .filter(|(distance, candidate)| *distance <= reach && *distance < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_have_one_text_form() {
        let text = "g3-01jd2k3m4n5p6q7r8s9t0v1w2x";
        let id: RunId = text.parse().unwrap();
        assert_eq!((id.group(), id.to_string().as_str()), (3, text));
        assert_eq!(RunId::new(3, "01JD2K3M4N5P6Q7R8S9T0V1W2X").unwrap(), id);
        for wrong in [
            "",
            "g3",
            "g03-01jd2k3m4n5p6q7r8s9t0v1w2x",
            "g+3-01jd2k3m4n5p6q7r8s9t0v1w2x",
            "3-x",
            "g3-x",
            "g3-01JD2K3M4N5P6Q7R8S9T0V1W2X",
            "g3-81jd2k3m4n5p6q7r8s9t0v1w2x",
            "g99999999999-01jd2k3m4n5p6q7r8s9t0v1w2x",
        ] {
            assert!(wrong.parse::<RunId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        assert_eq!(did_you_mean("need", ["needs", "nodes"]), Some("needs"));
        assert_eq!(did_you_mean("maxIterations", ["max_iterations"]), Some("max_iterations"));
        assert_eq!(did_you_mean("Shell", ["shell", "python"]), Some("shell"));
        assert_eq!(did_you_mean("x", ["shell", "python"]), None);
        assert_eq!(did_you_mean("ab", ["c"]), None);
    }
}
