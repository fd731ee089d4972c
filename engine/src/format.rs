//! Which commands and records a program understands, as one number that grows. Replicas of two versions may work side by
//! side while a trio is upgraded: a command of a newer format is proposed only after all replicas have said that they
//! understand it, and the state says from then on that it needs it.

use crate::command::Command;

/// The format of the first version.
pub const FIRST: u32 = 1;

/// The newest format that this program understands. 2: agents are drained. 3: agents of Mesos.
pub const NEWEST: u32 = 3;

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
            Command::Lead(_)
            | Command::Register(_)
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
