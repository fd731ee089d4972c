//! Which commands and records a program understands, as one number that grows. Replicas of two versions may work side by
//! side while a trio is upgraded: a command of a newer format is proposed only after all replicas have said that they
//! understand it, and the state says from then on that it needs it.

use meson_workflow::Definition;
use meson_workflow::definition::Step;

use crate::command::{Command, Register};
use crate::plan::Plan;

/// The format of the first version.
pub const FIRST: u32 = 1;

/// The newest format that this program understands. 2: agents are drained. 3: agents of Mesos. 4: steps whose
/// memory grows, secrets of steps, and the reason `timeout`.
pub const NEWEST: u32 = 4;

/// The format of definitions in which memory grows, or secrets are named.
const GROWTH_AND_SECRETS: u32 = 4;

impl Plan {
    /// The format that its definition needs: a program of before could not read it. Records that only such definitions
    /// cause need no look at the format of their own.
    pub fn format(&self) -> u32 {
        let mut steps = self.bodies.iter().flat_map(|body| &body.nodes).filter_map(|node| node.step());
        let is_new = |step: &Step| step.retry.memory.is_some() || !step.secrets.is_empty();
        if steps.any(is_new) { GROWTH_AND_SECRETS } else { FIRST }
    }
}

impl Register {
    /// Of a definition that passed validation.
    pub fn new(definition: &Definition) -> Self {
        Register {
            definition: definition.canonical_json(),
            hash: definition.content_hash().as_str().to_owned(),
            format: Plan::new(definition).format(),
        }
    }
}

impl Command {
    /// The format that this command came with. [`Command::Raise`] is the exception to the rule that the state must have
    /// reached it: it is what gets it there.
    pub fn format(&self) -> u32 {
        match self {
            Command::Raise(_) | Command::Drain(_) => 2,
            Command::Framework(_) => 3,
            Command::Place(place) if !place.executor.is_empty() => 3,
            Command::AgentUp(agent) if agent.mesos => 3,
            Command::AgentLost(lost) if lost.forget => 3,
            Command::Register(register) => register.format.max(FIRST),
            Command::Lead(_)
            | Command::Start(_)
            | Command::Evaluated(_)
            | Command::Continue(_)
            | Command::Place(_)
            | Command::Report(_)
            | Command::Fire(_)
            | Command::Cancel(_)
            | Command::Pause(_)
            | Command::Resume(_)
            | Command::Restart(_)
            | Command::Signal(_)
            | Command::AgentUp(_)
            | Command::AgentLost(_)
            | Command::AttemptLost(_) => FIRST,
        }
    }
}
