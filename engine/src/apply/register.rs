//! Register: stores a definition as the newest version of its name.

use std::sync::Arc;

use meson_workflow::Definition;

use super::Result;
use crate::command::Register;
use crate::format::FIRST;
use crate::outcome::{Outcome, RefusalKind, refused};
use crate::plan::Plan;
use crate::state::{Registered, State, Version};

pub(super) fn apply(state: &mut State, command: Register) -> Result {
    let definition: Definition = serde_json::from_str(&command.definition).map_err(|error| {
        refused(RefusalKind::Unreadable, format!("the definition cannot be read: {error}"))
    })?;
    let plan = Plan::new(&definition);
    if plan.bodies.iter().any(|body| body.nodes.is_empty()) {
        return Err(refused(RefusalKind::Unreadable, "the definition has a graph without nodes"));
    }
    let needed = plan.format();
    if needed > command.format.max(FIRST) {
        let message = format!("the definition needs format {needed}, and the command does not say so");
        return Err(refused(RefusalKind::WrongState, message));
    }
    let name = definition.name;
    let mut versions = state.workflows.get(&name).cloned().unwrap_or_default();
    if versions.last().is_some_and(|newest| newest.hash == command.hash) {
        return Ok(Outcome::done(false));
    }
    let number = versions.last().map_or(1, |newest| newest.number + 1);
    versions.push_back(Version { hash: command.hash.clone(), number, registered_ms: state.now_ms });
    state.workflows.insert(name, versions);
    if !state.definitions.contains_key(&command.hash) {
        let registered = Registered { json: command.definition, plan };
        state.definitions.insert(command.hash, Arc::new(registered));
    }
    Ok(Outcome::done(true))
}
