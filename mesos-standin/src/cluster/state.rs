//! What the master knows: frameworks, agents, tasks, offers, and the registry that outlives it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meson_mesos::v1::{
    self, AgentInfo, ExecutorInfo, FrameworkInfo, Resource, TaskInfo, TaskState, TaskStatus,
};
use serde::{Deserialize, Serialize};

/// Statuses kept of each task, for people who look.
const STATUSES_KEPT: usize = 16;

/// A framework that subscribed and was not removed, or whose tasks an agent reported to a new master.
#[derive(Debug)]
pub struct Framework {
    /// As last subscribed, id set.
    pub info: FrameworkInfo,
    /// The scheduler's stream; none while it is away.
    pub stream: Option<String>,
    /// When it is removed unless its scheduler comes back.
    pub removed_at: Option<f64>,
    /// Known only from agents, not subscribed with this master yet.
    pub recovered: bool,
    /// Roles without offers.
    pub suppressed: BTreeSet<String>,
    /// What it declined.
    pub filters: Vec<Filter>,
    /// Inverse offers answered, by agent, with the time until which it is not asked again.
    pub inverse_filters: BTreeMap<String, f64>,
    /// Tasks on registered agents.
    pub tasks: BTreeMap<String, Task>,
    /// Tasks on unreachable agents.
    pub unreachable: BTreeMap<String, Task>,
    /// Tasks that are over and acknowledged, oldest first.
    pub completed: VecDeque<Task>,
}

impl Framework {
    /// Whether it promised to handle `TASK_UNREACHABLE` and its like.
    #[must_use]
    pub fn is_partition_aware(&self) -> bool {
        has_capability(&self.info, v1::framework_info::capability::Type::PartitionAware)
    }

    /// Its roles, whichever field holds them.
    #[must_use]
    pub fn roles(&self) -> Vec<String> {
        roles(&self.info)
    }

    /// Whether its scheduler is connected and gets offers.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.stream.is_some()
    }
}

/// Whether a framework has a capability.
#[must_use]
pub fn has_capability(info: &FrameworkInfo, wanted: v1::framework_info::capability::Type) -> bool {
    info.capabilities.iter().any(|capability| capability.r#type() == wanted)
}

/// Roles of a framework: `roles` of multi-role frameworks, else `role`, by default `*`.
#[must_use]
pub fn roles(info: &FrameworkInfo) -> Vec<String> {
    if has_capability(info, v1::framework_info::capability::Type::MultiRole) {
        info.roles.clone()
    } else {
        vec![info.role.clone().unwrap_or_else(|| "*".to_owned())]
    }
}

/// Resources of an agent that a framework does not want again for a while.
#[derive(Debug)]
pub struct Filter {
    /// The role they were offered to.
    pub role: String,
    /// The agent.
    pub agent: String,
    /// The resources; an offer within them is held back.
    pub resources: Vec<Resource>,
    /// Until when.
    pub until: f64,
}

/// A task that the master knows.
#[derive(Clone, Debug)]
pub struct Task {
    /// As launched.
    pub info: TaskInfo,
    /// Its agent.
    pub agent: String,
    /// Its executor; none for command tasks, as in Mesos.
    pub executor: Option<String>,
    /// Latest state that the agent told.
    pub state: TaskState,
    /// The update that was last forwarded: what the scheduler knows at most.
    pub update: Option<(TaskState, Vec<u8>)>,
    /// The statuses seen.
    pub statuses: VecDeque<TaskStatus>,
}

impl Task {
    /// The state that reconciliation tells: that of the last forwarded update.
    #[must_use]
    pub fn known_state(&self) -> TaskState {
        self.update.as_ref().map_or(self.state, |(state, _)| *state)
    }

    /// Keeps a status for people who look.
    pub fn remember(&mut self, status: TaskStatus) {
        if self.statuses.len() == STATUSES_KEPT {
            self.statuses.pop_front();
        }
        self.statuses.push_back(status);
    }
}

/// A registered agent.
#[derive(Debug)]
pub struct Agent {
    /// As registered, id set.
    pub info: AgentInfo,
    /// All it has, reservations included, without allocations.
    pub total: Vec<Resource>,
    /// Its link; none while it is disconnected.
    pub link: Option<u64>,
    /// Pings sent since the last answer.
    pub pings_missed: u32,
    /// When it is marked unreachable unless it comes back, while it is disconnected.
    pub lost_at: Option<f64>,
    /// An operator wants no offers of it.
    pub deactivated: bool,
    /// Its executors by framework and id.
    pub executors: BTreeMap<(String, String), ExecutorInfo>,
    /// Tasks for which a kill was asked, told again when the agent comes back.
    pub killed: BTreeSet<(String, String)>,
}

impl Agent {
    /// Whether its resources are offered.
    #[must_use]
    pub fn gets_offers(&self) -> bool {
        self.link.is_some() && !self.deactivated
    }
}

/// An offer that was not answered.
#[derive(Debug)]
pub struct Offer {
    /// As sent to a multi-role framework.
    pub offer: v1::Offer,
    /// The framework.
    pub framework: String,
    /// The agent.
    pub agent: String,
    /// The role.
    pub role: String,
    /// When it was made.
    pub made_at: f64,
}

/// An inverse offer that was not answered.
#[derive(Debug)]
pub struct InverseOffer {
    /// The framework.
    pub framework: String,
    /// The agent.
    pub agent: String,
}

/// What masters keep for their successors, like Mesos's registry: agents, not tasks or frameworks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Registry {
    /// Admitted agents.
    pub agents: BTreeSet<String>,
    /// Unreachable agents and since when, in seconds since 1970.
    pub unreachable: BTreeMap<String, f64>,
    /// Agents that an operator marked gone, and when.
    pub gone: BTreeMap<String, f64>,
}

/// Whether a task in this state is over.
#[must_use]
pub fn is_terminal(state: TaskState) -> bool {
    use TaskState::{
        TaskDropped, TaskError, TaskFailed, TaskFinished, TaskGone, TaskGoneByOperator, TaskKilled, TaskLost,
    };
    matches!(
        state,
        TaskFinished
            | TaskFailed
            | TaskKilled
            | TaskError
            | TaskLost
            | TaskDropped
            | TaskGone
            | TaskGoneByOperator
    )
}
