//! Maps with known fields: required, optional and unknown ones.

use super::Reader;
use crate::ids::did_you_mean;
use crate::problem::Location;
use crate::tree::{Data, Key, Segment, Tree};

/// What people who know other systems write, and what it is called here.
const SYNONYMS: [(&str, &str); 28] = [
    ("float", "number"),
    ("int", "integer"),
    ("bool", "boolean"),
    ("str", "string"),
    ("array", "list"),
    ("dict", "object"),
    ("map", "object"),
    ("stop", "now"),
    ("fail_fast", "now"),
    ("continue", "ignore"),
    ("depends_on", "needs"),
    ("dependencies", "needs"),
    ("after", "needs"),
    ("upstream", "needs"),
    ("type", "kind"),
    ("uses", "kind"),
    ("trigger_rule", "trigger"),
    ("parameters", "params"),
    ("inputs", "params"),
    ("steps", "nodes"),
    ("tasks", "nodes"),
    ("jobs", "nodes"),
    ("environment", "env"),
    ("memory", "mem"),
    ("while", "until"),
    ("if", "when"),
    ("cases", "branches"),
    ("parallelism", "concurrency"),
];

/// The fields of a map.
pub(crate) struct Fields<'t> {
    pub entries: &'t [(Key, Tree)],
    pub at: Option<Location>,
}

impl<'t> Fields<'t> {
    pub fn get(&self, name: &str) -> Option<(&'t Key, &'t Tree)> {
        self.entries.iter().find(|(key, _)| key.name == name).map(|(key, tree)| (key, tree))
    }
}

/// The known word that an unknown one most likely means.
pub(super) fn suggestion<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let synonym = SYNONYMS.iter().find(|(other, _)| *other == name).map(|(_, ours)| *ours);
    let synonym = synonym.and_then(|ours| known.iter().find(|field| **field == ours).copied());
    synonym.or_else(|| did_you_mean(name, known.iter().copied()))
}

impl Reader<'_> {
    /// The fields of a map of which only these are known.
    pub(super) fn fields<'t>(&mut self, tree: &'t Tree, what: &str, known: &[&str]) -> Option<Fields<'t>> {
        let fields = self.any_fields(tree, what)?;
        for (key, _) in fields.entries {
            if !known.contains(&key.name.as_str()) {
                self.unknown_field(key, known, known);
            }
        }
        Some(fields)
    }

    /// The fields of a map, unknown ones included.
    pub(super) fn any_fields<'t>(&mut self, tree: &'t Tree, what: &str) -> Option<Fields<'t>> {
        let Data::Map(entries) = &tree.data else {
            let name = self.field();
            let name = if name.is_empty() { what.to_owned() } else { format!("`{name}`") };
            self.report(
                tree.at,
                format!("{name} must be a map, not {}", tree.describe()),
                "write `name: value` lines",
            );
            return None;
        };
        Some(Fields { entries, at: tree.at })
    }

    /// Reports a field that is not among those known; `listed` are those that make sense where it stands.
    pub(super) fn unknown_field(&mut self, key: &Key, known: &[&str], listed: &[&str]) {
        let remedy = match suggestion(&key.name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the fields here are {}", quoted(listed)),
        };
        let name = Segment::Name(key.name.clone());
        self.within(name, |reader| reader.report(key.at, format!("unknown field `{}`", key.name), remedy));
    }

    pub(super) fn optional<'t, T>(
        &mut self,
        fields: &Fields<'t>,
        name: &str,
        read: impl FnOnce(&mut Self, &'t Tree) -> Option<T>,
    ) -> Option<T> {
        let (key, tree) = fields.get(name)?;
        self.within(Segment::Name(name.to_owned()), |reader| {
            if tree.data == Data::Null {
                reader.report(key.at, format!("`{name}` has no value"), "give it one, or remove it");
                return None;
            }
            read(reader, tree)
        })
    }

    pub(super) fn required<'t, T>(
        &mut self,
        fields: &Fields<'t>,
        name: &str,
        example: &str,
        read: impl FnOnce(&mut Self, &'t Tree) -> Option<T>,
    ) -> Option<T> {
        if fields.get(name).is_none() {
            self.report(fields.at, format!("`{name}` is missing"), format!("add `{example}`"));
            return None;
        }
        if let Some((key, Tree { data: Data::Null, .. })) = fields.get(name) {
            let remedy = format!("give it one, like `{example}`");
            self.within(Segment::Name(name.to_owned()), |reader| {
                reader.report(key.at, format!("`{name}` has no value"), remedy);
            });
            return None;
        }
        self.optional(fields, name, read)
    }
}

/// Names as a list for people: `a`, `b` and `c`.
pub(crate) fn quoted<T: AsRef<str>>(names: &[T]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.join(", "),
    }
}
