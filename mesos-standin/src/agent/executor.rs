//! One executor on the agent: its process, its tasks, and where it is between launch and end.

use std::{collections::BTreeMap, path::PathBuf};

use meson_mesos::v1::{ContainerId, ExecutorInfo, TaskInfo, TaskState, task_status::Reason};

use crate::{cluster::is_terminal, http::EventSender};

/// Framework and executor.
pub(super) type Key = (String, String);

/// Where an executor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Launched, not subscribed.
    Registering,
    /// Subscribed at least once.
    Running,
    /// Told to shut down, or being killed.
    Terminating,
    /// Its process ended; updates may be unacknowledged.
    Terminated,
}

/// Why tasks end with their executor, when the agent knows better than "terminated".
#[derive(Clone, Debug)]
pub(super) struct Ending {
    /// The state of its living tasks.
    pub state: TaskState,
    /// The reason.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

/// A task of an executor.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// As launched.
    pub info: TaskInfo,
    /// Latest state.
    pub state: TaskState,
    /// Whether the executor has it.
    pub delivered: bool,
}

/// Tasks that wait for the executor's subscription, as they came: alone or as a group.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    /// Their ids.
    pub tasks: Vec<String>,
    /// Whether they are a group.
    pub group: bool,
}

/// An executor.
#[derive(Debug)]
pub(super) struct Executor {
    /// As launched, framework id set.
    pub info: ExecutorInfo,
    /// Made up for a task with a command.
    pub generated: bool,
    /// Where it is.
    pub phase: Phase,
    /// Its events.
    pub stream: Option<EventSender>,
    /// Numbers its subscriptions, so that an old one's end does not end the new one.
    pub subscription: u64,
    /// Its process, once it is started.
    pub pid: Option<i32>,
    /// When that process started, by the system's count, so that another with its number is not mistaken for it.
    pub pid_start: u64,
    /// Its sandbox.
    pub directory: PathBuf,
    /// The run's id.
    pub container: ContainerId,
    /// Its tasks until their last update is acknowledged.
    pub tasks: BTreeMap<String, Task>,
    /// Tasks not delivered.
    pub queued: Vec<Queued>,
    /// Whether it ever got a task.
    pub ever_sent: bool,
    /// How its tasks end with it.
    pub ending: Option<Ending>,
}

impl Executor {
    /// Tasks that are not over.
    pub fn living(&self) -> Vec<String> {
        self.tasks.iter().filter(|(_, task)| !is_terminal(task.state)).map(|(id, _)| id.clone()).collect()
    }
}
