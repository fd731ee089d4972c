//! How applications are marked as Meson's before they start: by properties of their configuration, which their driver's
//! REST API shows, and in their name, which the master shows. A program may give itself another name; the properties stay.

use std::fmt;

/// The property with the attempt's id.
pub const ATTEMPT_ID: &str = "spark.meson.attempt_id";
/// The property that tells how the driver runs: `client` or `cluster`.
pub const MODE: &str = "spark.meson.mode";

const OPEN: &str = " [meson:";
const CLUSTER: &str = ":cluster";

/// Whose an application is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The attempt that began it.
    pub attempt_id: String,
    /// Whether its driver runs on the cluster, and so may outlive that attempt.
    pub on_cluster: bool,
}

impl Tag {
    /// The tag in an application's name.
    pub fn of_name(name: &str) -> Option<Tag> {
        let (_, tag) = name.rsplit_once(OPEN)?;
        let tag = tag.strip_suffix(']')?;
        let (attempt_id, on_cluster) = match tag.strip_suffix(CLUSTER) {
            Some(attempt_id) => (attempt_id, true),
            None => (tag, false),
        };
        (!attempt_id.is_empty()).then(|| Tag { attempt_id: attempt_id.to_owned(), on_cluster })
    }

    /// The tag among the properties that a driver shows.
    pub fn of_properties(properties: &[(String, String)]) -> Option<Tag> {
        let find = |wanted: &str| properties.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
        let attempt_id = find(ATTEMPT_ID).filter(|id| !id.is_empty())?.clone();
        Some(Tag { attempt_id, on_cluster: find(MODE).is_some_and(|mode| mode == "cluster") })
    }

    /// Whether the application belongs to the same step as this attempt. Ids are `<run>.<node>.<attempt>`.
    pub fn is_of_step(&self, attempt_id: &str) -> bool {
        let step = |id: &str| id.rsplit_once('.').map(|(step, _)| step.to_owned());
        step(&self.attempt_id).is_some_and(|own| step(attempt_id) == Some(own))
    }

    /// Whether the application belongs to an attempt of the same step that came before this one.
    pub fn is_before(&self, attempt_id: &str) -> bool {
        let number = |id: &str| id.rsplit_once('.').and_then(|(_, number)| number.parse::<u64>().ok());
        self.is_of_step(attempt_id) && number(&self.attempt_id) < number(attempt_id)
    }

    /// A name for the application that shows the tag.
    pub fn name(&self, title: &str) -> String {
        format!("{title}{self}")
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.on_cluster { CLUSTER } else { "" };
        write!(f, "{OPEN}{}{mode}]", self.attempt_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_tags() {
        for on_cluster in [false, true] {
            let tag = Tag { attempt_id: "1-01J.7.2".into(), on_cluster };
            assert_eq!(Tag::of_name(&tag.name("w [meson:x]/train")), Some(tag.clone()));
            let before = ["1-01J.7.10", "1-01J.7.2", "1-01J.7.1", "1-01J.8.3"].map(|id| tag.is_before(id));
            assert_eq!(before, [true, false, false, false]);
            assert!(tag.is_of_step("1-01J.7.9") && !tag.is_of_step("1-01J.70.2") && !tag.is_of_step("x"));
        }
        for foreign in ["", "shell", "a [meson:]", "a [meson:b", "[meson:b]"] {
            assert_eq!(Tag::of_name(foreign), None, "{foreign}");
        }
    }
}
