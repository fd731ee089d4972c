//! What an expression of a scope sees: parameters, the outputs of nodes around it, items and loop states, from the
//! outermost scope in. Only outputs that the expression names are looked at, so that wide graphs cost nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use meson_engine::State;
use meson_engine::ids::{NodeNo, ROOT, ScopeKey};
use meson_engine::plan::{PlanNode, PlanWork};
use meson_engine::record::{Node, Run, Scope};
use meson_engine::status::NodeStatus;
use meson_workflow::definition::{Expression, Subworkflow};
use meson_workflow::expression::{self, Context, Reference, is_template};
use serde_json::{Map, Value};

use super::{Error, Result, at, outputs};

/// What is visible in a scope of a run.
pub(super) struct Visible<'a> {
    pub state: &'a State,
    pub run: &'a Run,
    pub scope: ScopeKey,
}

/// A JSON object of the state; what is not one counts as empty.
pub(super) fn object(bytes: &Bytes) -> Map<String, Value> {
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// Which outputs are wanted.
enum Wanted {
    All,
    Of(BTreeSet<String>),
}

impl Wanted {
    fn by(references: impl IntoIterator<Item = Reference>) -> Wanted {
        let mut names = BTreeSet::new();
        for reference in references.into_iter().filter(|reference| reference.root == "outputs") {
            match reference.name {
                Some(name) => names.insert(name),
                None => return Wanted::All,
            };
        }
        Wanted::Of(names)
    }
}

impl<'a> Visible<'a> {
    /// For these expressions.
    pub fn context_of(&self, sources: &[&Expression]) -> Result<Context> {
        let mut references = BTreeSet::new();
        for source in sources {
            references.extend(expression::references(source).map_err(at(source))?);
        }
        self.context(&Wanted::by(references))
    }

    /// For the templates in this value.
    pub fn context_of_value(&self, value: &Value) -> Result<Context> {
        let mut references = BTreeSet::new();
        collect(value, &mut references)?;
        self.context(&Wanted::by(references))
    }

    fn context(&self, wanted: &Wanted) -> Result<Context> {
        let info = &self.run.info;
        let mut context = Context::new().params(object(&info.params)).run(&info.run_id, &info.workflow);
        for key in self.path()?.into_iter().rev() {
            context = self.enter(context, key, wanted)?;
        }
        Ok(context)
    }

    /// This scope and those around it, innermost first, up to the root or a called workflow's root.
    fn path(&self) -> Result<Vec<ScopeKey>> {
        let mut path = vec![self.scope];
        let mut key = self.scope;
        while key != ROOT && !matches!(self.parent(key)?.work, PlanWork::Subworkflow(_)) {
            key = self.run.nodes.get(&key.0).ok_or(Error::Gone)?.scope();
            path.push(key);
        }
        Ok(path)
    }

    fn enter(&self, context: Context, key: ScopeKey, wanted: &Wanted) -> Result<Context> {
        let scope = self.run.scopes.get(&key).ok_or(Error::Gone)?;
        let mut context = context;
        if key != ROOT {
            context = match &self.parent(key)?.work {
                PlanWork::ForEach { item, .. } => {
                    let items = self.run.items.get(&key.0).ok_or(Error::Gone)?;
                    let value = items.get(key.1 as usize).ok_or(Error::Gone)?;
                    let value: Value = serde_json::from_slice(value).map_err(|_| Error::Gone)?;
                    context.item(item, value, u64::from(key.1))
                }
                PlanWork::Repeat { .. } => {
                    context.state(object(&scope.variables)).iteration(u64::from(key.1) + 1)
                }
                PlanWork::Subworkflow(_) => context.params(object(&scope.variables)),
                PlanWork::Switch { .. } | PlanWork::Step(_) | PlanWork::Wait(_) => context,
            };
        }
        self.add_outputs(context, scope, wanted)
    }

    fn add_outputs(&self, mut context: Context, scope: &Scope, wanted: &Wanted) -> Result<Context> {
        let plan = self.state.plan(self.run, scope.pin).ok_or(Error::Gone)?;
        let nodes = &plan.bodies[scope.body as usize].nodes;
        for (no, planned) in (scope.first..).zip(nodes) {
            let is_wanted = match wanted {
                Wanted::All => true,
                Wanted::Of(names) => names.contains(&planned.id),
            };
            if !is_wanted {
                continue;
            }
            let node = self.run.nodes.get(&no).ok_or(Error::Gone)?;
            if node.status() == NodeStatus::Succeeded {
                context = context.output(planned.id.as_str(), self.outputs(no, node)?);
            }
        }
        Ok(context)
    }

    fn outputs(&self, no: NodeNo, node: &Node) -> Result<Arc<Map<String, Value>>> {
        outputs::outputs(self.state, self.run, no, node).map(Arc::new).ok_or(Error::Gone)
    }

    fn parent(&self, key: ScopeKey) -> Result<&'a PlanNode> {
        self.state.planned(self.run, key.0).ok_or(Error::Gone)
    }

    /// `until` and `carry`, if the scope is an iteration.
    pub fn repeat_of(&self, key: ScopeKey) -> Option<(&'a Expression, &'a BTreeMap<String, Expression>)> {
        match &self.parent(key).ok().filter(|_| key != ROOT)?.work {
            PlanWork::Repeat { until, carry, .. } => Some((until, carry)),
            _ => None,
        }
    }

    /// Canonical JSON of the workflow that a node calls.
    pub fn called_definition(&self, call: &Subworkflow) -> Option<String> {
        let versions = self.state.workflows.get(&call.name)?;
        let pinned = |hash: &&String| self.run.info.pins.contains(*hash);
        let hash = match &call.version {
            Some(version) => version,
            None => versions.iter().rev().map(|version| &version.hash).find(pinned)?,
        };
        self.state.definitions.get(hash).map(|registered| registered.json.clone())
    }
}

fn collect(value: &Value, into: &mut BTreeSet<Reference>) -> Result<()> {
    match value {
        Value::String(text) if is_template(text) => {
            into.extend(expression::template_references(text).map_err(at(text))?);
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| collect(item, into)),
        Value::Object(fields) => fields.values().try_for_each(|field| collect(field, into)),
        _ => Ok(()),
    }
}
