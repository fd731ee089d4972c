//! When all that a step needs had succeeded, by marks and by what the end says. Each need of a run is worked out once,
//! however many steps have it: a graph of n steps after a loop of m items costs n + m, not n·m.

use std::collections::BTreeMap;

use super::index::{Index, Run, answered};
use super::path;
use crate::history::{Answer, Micros};

/// What is known of one need: a step, a composite with all beneath it, or a node that waits for a signal.
#[derive(Debug, Clone, Default)]
pub(super) struct Need {
    /// Steps beneath it that have succeeded, by their marks.
    pub succeeded: u64,
    /// When the last of them succeeded first, and which it was; for a wait, when its first signal was sent.
    pub by: Option<(Micros, String)>,
    /// When it could last have been accepted that it was met: as `by`, but for a wait the last answer to a signal.
    pub surely_by: Option<Micros>,
    /// Why it cannot have been met at all.
    pub unmet: Option<String>,
    /// Elements of the history that this took.
    pub looks: u64,
}

/// The needs of all steps.
pub(super) struct Needs<'i, 'h> {
    index: &'i Index<'h>,
    known: BTreeMap<(&'h str, String), Need>,
    /// Needs that the shape names and that are nothing in it, as notes say.
    pub unknown: BTreeMap<String, u64>,
}

impl<'i, 'h> Needs<'i, 'h> {
    pub fn new(index: &'i Index<'h>) -> Self {
        Needs { index, known: BTreeMap::new(), unknown: BTreeMap::new() }
    }

    /// The nodes that a step needs, each with what is known of it.
    pub fn of(&mut self, run: &Run<'h>, instance: &str) -> Vec<(String, Need)> {
        let needs = run.steps.get(instance).and_then(|step| step.shape).map(|shape| shape.needs.as_slice());
        let mut out = Vec::new();
        for need in needs.unwrap_or_default() {
            let node = path::needed(instance, need).filter(|_| self.is_known(run, need));
            match node {
                Some(node) => {
                    let need = self.need(run, need, &node);
                    out.push((node, need));
                }
                None => {
                    let (workflow, step) = (run.workflow.unwrap_or_default(), path::definition(instance));
                    let note =
                        format!("workflow `{workflow}`: `{step}` needs `{need}`, which its shape has not");
                    *self.unknown.entry(note).or_default() += 1;
                }
            }
        }
        out
    }

    fn is_known(&self, run: &Run<'_>, need: &str) -> bool {
        let Some(shape) = run.shape else { return false };
        let inner = format!("{need}/");
        shape.steps.contains_key(need)
            || shape.waits.contains_key(need)
            || shape.steps.range(inner.clone()..).next().is_some_and(|(path, _)| path.starts_with(&inner))
    }

    fn need(&mut self, run: &Run<'h>, definition: &str, node: &str) -> Need {
        let key = (run.id, node.to_owned());
        if let Some(known) = self.known.get(&key) {
            return Need { looks: 1, ..known.clone() };
        }
        let signal = run.shape.and_then(|shape| shape.waits.get(definition));
        let need = match signal {
            Some(signal) => signalled(run, signal, node),
            None => self.worked(run, definition, node),
        };
        self.known.insert(key, need.clone());
        need
    }

    /// A step, or all steps beneath a composite.
    fn worked(&self, run: &Run<'h>, definition: &str, node: &str) -> Need {
        let mut need = Need::default();
        let is_step = run.shape.is_some_and(|shape| shape.steps.contains_key(definition));
        need.unmet = not_succeeded(run, node);
        for (path, step) in path::beneath(&run.steps, node) {
            need.looks += 1 + step.lives.len() as u64;
            let Some(at) = step.first_success() else { continue };
            need.succeeded += 1;
            if need.by.as_ref().is_none_or(|(last, _)| *last < at) {
                need.by = Some((at, path.to_owned()));
            }
        }
        if is_step && need.succeeded == 0 && self.index.marks_itself(run, definition) {
            need.unmet.get_or_insert_with(|| format!("`{node}` has no mark of success"));
        }
        for (path, end) in path::beneath(&run.nodes, node) {
            need.looks += 1;
            let success = run.steps.get(path).and_then(|step| step.first_success());
            let silent = end.is_step && end.status == "SUCCEEDED" && success.is_none();
            if silent && self.index.marks_itself(run, &path::definition(path)) {
                need.unmet.get_or_insert_with(|| format!("`{path}` has no mark of success"));
            }
        }
        need.surely_by = need.by.as_ref().map(|(at, _)| *at);
        need
    }
}

/// What the end says of a node that should have succeeded and has not.
fn not_succeeded(run: &Run<'_>, node: &str) -> Option<String> {
    run.end?;
    match run.nodes.get(node) {
        Some(end) if end.status == "SUCCEEDED" => None,
        Some(end) => Some(format!("`{node}` is {} at the end", end.status)),
        None => Some(format!("`{node}` is not there at the end")),
    }
}

/// A wait is over once a signal of its name was sent.
fn signalled(run: &Run<'_>, signal: &str, node: &str) -> Need {
    let sent = || {
        let not_refused = |answer: &Answer| !matches!(answer, Answer::Refused { .. });
        run.signals().filter(move |(name, _, sent)| *name == signal && not_refused(&sent.answer))
    };
    let first = sent().map(|(.., sent)| sent.called).min();
    Need {
        succeeded: u64::from(first.is_some()),
        by: first.map(|at| (at, format!("the signal `{signal}`"))),
        surely_by: sent().map(|(.., sent)| answered(sent)).max(),
        unmet: match first {
            None => Some(format!("nobody sent the signal `{signal}`")),
            Some(_) => not_succeeded(run, node),
        },
        looks: sent().count() as u64,
    }
}
