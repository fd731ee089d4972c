//! Tasks as the master sees them: what it tells schedulers of them, and when they are over.

use meson_mesos::v1::{
    AgentId, ExecutorId, TaskId, TaskState, TaskStatus, TimeInfo,
    scheduler::{Event, event},
    task_status::{Reason, Source},
};

use super::{Cluster, state, state::Task};
use crate::link::{self, FromMaster};

/// Finished tasks kept of each framework.
const COMPLETED_KEPT: usize = 1000;

/// What the master itself says of a task.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The state.
    pub state: TaskState,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

impl Cluster {
    /// An update came from an agent. It is forwarded whether the task is known or not, as in Mesos.
    pub(super) fn agent_update(&mut self, agent: &str, update: link::Update) {
        let link::Update { framework_id, status, latest_state } = update;
        let latest = TaskState::try_from(latest_state).unwrap_or(TaskState::TaskUnknown);
        let task_id = status.task_id.value.clone();
        let Some(framework) = self.frameworks.get_mut(&framework_id) else { return };
        if let Some(task) = framework.tasks.get_mut(&task_id).filter(|task| task.agent == agent) {
            if !state::is_terminal(task.state) {
                task.state = latest;
            }
            task.remember(status.clone());
            task.update = Some((status.state(), status.uuid().to_vec()));
        }
        self.send_status(&framework_id, status);
    }

    /// A scheduler acknowledges an update. A task is forgotten once its terminal update is acknowledged.
    pub(super) fn acknowledge(&mut self, framework_id: &str, agent_id: &str, task_id: &str, uuid: &[u8]) {
        if self.agents.get(agent_id).is_none_or(|agent| agent.link.is_none()) {
            tracing::warn!(
                framework_id,
                agent_id,
                task_id,
                "acknowledgement dropped: the agent is not connected"
            );
            return;
        }
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        if let Some(task) = framework.tasks.get(task_id).filter(|task| task.agent == agent_id) {
            let Some((state, known)) = &task.update else {
                tracing::warn!(
                    framework_id,
                    task_id,
                    "acknowledgement ignored: no update was sent by this master"
                );
                return;
            };
            if state::is_terminal(*state) && known == uuid {
                self.forget_task(framework_id, task_id);
            }
        }
        let acknowledge = link::Acknowledge {
            framework_id: framework_id.to_owned(),
            task_id: task_id.to_owned(),
            uuid: uuid.to_vec(),
        };
        self.tell(agent_id, FromMaster::Acknowledge(acknowledge).into());
    }

    /// A scheduler wants a task killed. Of tasks that the master does not know it gets a reconciliation.
    pub(super) fn kill(&mut self, framework_id: &str, kill: meson_mesos::v1::scheduler::call::Kill) {
        let task_id = kill.task_id.value;
        let asked = kill.agent_id.map(|id| id.value);
        let Some(framework) = self.frameworks.get(framework_id) else { return };
        let Some(task) = framework.tasks.get(&task_id) else {
            self.reconcile_one(framework_id, &task_id, asked.as_deref());
            return;
        };
        let agent_id = task.agent.clone();
        if asked.is_some_and(|asked| asked != agent_id) {
            tracing::warn!(framework_id, task_id, "kill ignored: the task is on another agent");
            return;
        }
        let partition_aware = framework.is_partition_aware();
        if let Some(agent) = self.agents.get_mut(&agent_id) {
            agent.killed.insert((framework_id.to_owned(), task_id.clone()));
        }
        let kill = link::KillTask {
            framework_id: framework_id.to_owned(),
            task_id,
            kill_policy: kill.kill_policy,
            partition_aware,
        };
        self.tell(&agent_id, FromMaster::Kill(kill).into());
    }

    /// The master decides a task's end itself, and tells the scheduler.
    pub(super) fn settle(&mut self, framework_id: &str, task_id: &str, told: &Told) {
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        let task = framework.tasks.get(task_id).or_else(|| framework.unreachable.get(task_id));
        let Some(task) = task else { return };
        let status =
            master_status(self.now.unix, told, task_id, Some(task.agent.as_str()), task.executor.as_deref());
        if let Some(mut task) =
            framework.tasks.remove(task_id).or_else(|| framework.unreachable.remove(task_id))
        {
            task.state = told.state;
            task.remember(status.clone());
            keep_completed(framework, task);
        }
        self.send_status(framework_id, status);
    }

    /// Takes a task to the unreachable ones and tells the scheduler.
    pub(super) fn set_unreachable(&mut self, framework_id: &str, task_id: &str, told: &Told) {
        let since = self.now.unix;
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        let Some(mut task) = framework.tasks.remove(task_id) else { return };
        let mut status =
            master_status(since, told, task_id, Some(task.agent.as_str()), task.executor.as_deref());
        status.unreachable_time = Some(time_info(since));
        task.remember(status.clone());
        if state::is_terminal(task.state) {
            keep_completed(framework, task);
        } else {
            task.state = told.state;
            task.update = None;
            framework.unreachable.insert(task_id.to_owned(), task);
        }
        self.send_status(framework_id, status);
    }

    /// Says something of a task that the master does not hold, and keeps nothing.
    pub(super) fn say(&mut self, framework_id: &str, task_id: &str, agent: Option<&str>, told: &Told) {
        let status = master_status(self.now.unix, told, task_id, agent, None);
        self.send_status(framework_id, status);
    }

    /// Sends an `UPDATE` event, through the faults.
    pub(super) fn send_status(&mut self, framework_id: &str, status: TaskStatus) {
        let update = Event {
            r#type: Some(event::Type::Update.into()),
            update: Some(event::Update { status }),
            ..Event::default()
        };
        self.send_through_faults(framework_id, update);
    }

    /// A task is over and its end is acknowledged.
    pub(super) fn forget_task(&mut self, framework_id: &str, task_id: &str) {
        let Some(framework) = self.frameworks.get_mut(framework_id) else { return };
        if let Some(task) = framework.tasks.remove(task_id) {
            if let Some(agent) = self.agents.get_mut(&task.agent) {
                agent.killed.remove(&(framework_id.to_owned(), task_id.to_owned()));
            }
            keep_completed(framework, task);
        }
    }
}

fn keep_completed(framework: &mut state::Framework, task: Task) {
    if framework.completed.len() == COMPLETED_KEPT {
        framework.completed.pop_front();
    }
    framework.completed.push_back(task);
}

/// A status whose source is the master: never with a uuid, so never to be acknowledged.
pub(super) fn master_status(
    now: f64,
    told: &Told,
    task_id: &str,
    agent: Option<&str>,
    executor: Option<&str>,
) -> TaskStatus {
    TaskStatus {
        task_id: TaskId { value: task_id.to_owned() },
        state: told.state.into(),
        message: Some(told.message.clone()),
        source: Some(Source::Master.into()),
        reason: Some(told.reason.into()),
        agent_id: agent.map(|agent| AgentId { value: agent.to_owned() }),
        executor_id: executor.map(|executor| ExecutorId { value: executor.to_owned() }),
        timestamp: Some(now),
        ..TaskStatus::default()
    }
}

/// Seconds as Mesos writes times.
#[expect(clippy::cast_possible_truncation, reason = "nanoseconds of this century fit")]
pub(super) fn time_info(seconds: f64) -> TimeInfo {
    TimeInfo { nanoseconds: (seconds * 1e9) as i64 }
}
