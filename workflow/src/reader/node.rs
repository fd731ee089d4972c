//! Nodes: the fields all of them share, and which work each does.

use super::Reader;
use super::fields::{Fields, quoted, suggestion};
use crate::definition::{FailureMode, Node, TriggerRule, Work};
use crate::kinds;
use crate::tree::{Data, Key, Tree};

const COMMON: [&str; 5] = ["id", "needs", "trigger", "on_failure", "timeout"];
const WORKS: [&str; 6] = ["kind", "for_each", "repeat", "switch", "subworkflow", "wait"];
pub(super) const STEP: [&str; 9] =
    ["kind", "config", "env", "secrets", "fetch", "resources", "constraints", "priority", "retry"];
const TRIGGERS: [(&str, TriggerRule); 4] = [
    ("all_succeeded", TriggerRule::AllSucceeded),
    ("all_done", TriggerRule::AllDone),
    ("any_succeeded", TriggerRule::AnySucceeded),
    ("none_failed", TriggerRule::NoneFailed),
];
const FAILURE_MODES: [(&str, FailureMode); 3] = [
    ("after_running", FailureMode::AfterRunning),
    ("now", FailureMode::Now),
    ("ignore", FailureMode::Ignore),
];

impl Reader<'_> {
    pub(super) fn nodes(&mut self, tree: &Tree) -> Option<Vec<Node>> {
        self.list(tree, Self::node)
    }

    pub(super) fn node(&mut self, tree: &Tree) -> Option<Node> {
        let fields = self.any_fields(tree, "a node")?;
        let id = match fields.get("id") {
            Some((_, Tree { data: Data::Text(id), .. })) => crate::tree::shorten(id),
            // Without an id of its own a node goes by its place.
            _ => self.field(),
        };
        self.nodes.push(id);
        let node = self.node_fields(&fields);
        self.nodes.pop();
        node
    }

    fn node_fields(&mut self, fields: &Fields<'_>) -> Option<Node> {
        let work = self.which_work(fields);
        let id = self.required(fields, "id", "id: my-step", Self::text);
        let needs = self.optional(fields, "needs", Self::texts).unwrap_or_default();
        let trigger =
            self.optional(fields, "trigger", |reader, tree| reader.word(tree, &TRIGGERS)).unwrap_or_default();
        let on_failure = self
            .optional(fields, "on_failure", |reader, tree| reader.word(tree, &FAILURE_MODES))
            .unwrap_or_default();
        let timeout = self.optional(fields, "timeout", Self::millis);
        let work = match work? {
            "for_each" => {
                self.optional(fields, "for_each", Self::for_each).map(|for_each| Work::ForEach { for_each })
            }
            "repeat" => self.optional(fields, "repeat", Self::repeat).map(|repeat| Work::Repeat { repeat }),
            "switch" => self.optional(fields, "switch", Self::switch).map(|switch| Work::Switch { switch }),
            "subworkflow" => self
                .optional(fields, "subworkflow", Self::subworkflow)
                .map(|subworkflow| Work::Subworkflow { subworkflow }),
            "wait" => self.optional(fields, "wait", Self::wait).map(|wait| Work::Wait { wait }),
            _ => self.step(fields).map(Work::Step),
        };
        Some(Node { id: id?, needs, trigger, on_failure, timeout, work: work? })
    }

    /// The one work field the node has; fields that do not go with it are reported.
    fn which_work(&mut self, fields: &Fields<'_>) -> Option<&'static str> {
        let given: Vec<&'static str> = WORKS.into_iter().filter(|work| fields.get(work).is_some()).collect();
        let unknown: Vec<&Key> = fields
            .entries
            .iter()
            .map(|(key, _)| key)
            .filter(|key| {
                let name = key.name.as_str();
                !COMMON.contains(&name) && !WORKS.contains(&name) && !STEP.contains(&name)
            })
            .collect();
        let known: Vec<&str> = COMMON.into_iter().chain(WORKS).chain(STEP.into_iter().skip(1)).collect();
        let listed: Vec<&str> = match given[..] {
            ["kind"] => COMMON.into_iter().chain(STEP).collect(),
            [work] => COMMON.into_iter().chain([work]).collect(),
            _ => COMMON.into_iter().chain(WORKS).collect(),
        };
        for key in &unknown {
            self.unknown_node_field(key, fields, &known, &listed);
        }
        match given[..] {
            [work] => {
                if work != "kind" {
                    self.refuse_step_fields(fields, work);
                }
                Some(work)
            }
            [] => {
                // A mistyped work field has been reported, with the same remedy.
                let mistyped = unknown
                    .iter()
                    .any(|key| suggestion(&key.name, &known).is_some_and(|near| WORKS.contains(&near)));
                if !mistyped {
                    self.report(
                        fields.at,
                        "the node does nothing",
                        format!("add one of {}", quoted(&WORKS).replace(" and ", " or ")),
                    );
                }
                None
            }
            _ => {
                let message = format!("the node has {}, but a node does one thing", quoted(&given));
                self.report(fields.at, message, "keep one of them, and give the others nodes of their own");
                None
            }
        }
    }

    fn unknown_node_field(&mut self, key: &Key, fields: &Fields<'_>, known: &[&str], listed: &[&str]) {
        let kind = match fields.get("kind") {
            Some((_, Tree { data: Data::Text(kind), .. })) => kinds::find(kind),
            _ => None,
        };
        match kind {
            Some(kind) if kind.fields.contains(&key.name.as_str()) => {
                let message = format!("unknown field `{}`", key.name);
                self.report(key.at, message, "it is a setting of the kind: move it under `config`");
            }
            _ => self.unknown_field(key, known, listed),
        }
    }

    fn refuse_step_fields(&mut self, fields: &Fields<'_>, work: &str) {
        for (key, _) in fields.entries {
            if STEP.contains(&key.name.as_str()) {
                let message = format!("`{}` belongs to steps; this is a `{work}` node", key.name);
                let remedy = match work {
                    "subworkflow" | "wait" => "remove it",
                    _ => "move it to the steps inside",
                };
                self.report(key.at, message, remedy);
            }
        }
    }
}
