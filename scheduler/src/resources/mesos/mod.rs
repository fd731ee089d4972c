//! Mesos as resource manager. `desk` is what the parts of the shell share: open offers, and attempts on their way to them.
//! The actor that speaks with the master is in `actors::mesos`; `book`, `tasks` and `updates` are functions of values.

mod book;
mod desk;
mod settings;
pub mod tasks;
pub mod updates;

pub use book::{Book, Lot, Offers};
pub use desk::{Accepting, Mesos, Order, Status, Task};
pub use settings::{Error, Settings};

use meson_engine::record::Attempt;

/// The key of the session that an attempt's executor holds: an agent of Mesos may have several executors.
pub fn session_key(agent: &str, executor: &str) -> String {
    // Neither half has a slash: Mesos forbids it.
    format!("{agent}/{executor}")
}

/// The key of the session through which an attempt is spoken of.
pub fn session_of(attempt: &Attempt) -> String {
    match attempt.executor.as_str() {
        "" => attempt.agent.clone(),
        executor => session_key(&attempt.agent, executor),
    }
}
