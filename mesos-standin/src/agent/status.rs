//! Status updates on the agent: taken, kept in order, forwarded, acknowledged in both directions.

use std::sync::Arc;

use meson_mesos::v1::{
    AgentId, ContainerStatus, ExecutorId, TaskId, TaskState, TaskStatus,
    executor::{Event, event},
    framework_info::capability::Type as Capability,
    task_status::{Reason, Source},
};

use super::{Agent, State, TICK, executor::Phase, new_uuid, unix_time};
use crate::{
    cluster::{has_capability, is_terminal},
    link::{Acknowledge, FromAgent, Update},
    updates::Acknowledged,
};

/// What the agent itself says of a task.
pub(super) struct Said {
    /// The state.
    pub state: TaskState,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

impl Agent {
    /// The agent says something of a task: an update like an executor's, to be acknowledged by the scheduler.
    pub(super) fn say(
        &self,
        state: &mut State,
        framework: &str,
        task: &str,
        executor: Option<&str>,
        said: Said,
    ) {
        let status = TaskStatus {
            task_id: TaskId { value: task.to_owned() },
            state: said.state.into(),
            message: Some(said.message),
            source: Some(Source::Agent.into()),
            reason: Some(said.reason.into()),
            executor_id: executor.map(|executor| ExecutorId { value: executor.to_owned() }),
            uuid: Some(new_uuid().into()),
            ..TaskStatus::default()
        };
        self.take_update(state, framework, status);
    }

    /// Takes an update and forwards it if none of its task is before it.
    pub(super) fn take_update(&self, state: &mut State, framework: &str, mut status: TaskStatus) {
        let task_id = status.task_id.value.clone();
        status.agent_id = Some(AgentId { value: state.id() });
        status.timestamp.get_or_insert_with(unix_time);
        let executor = state
            .executors
            .iter_mut()
            .find(|(key, executor)| key.0 == framework && executor.tasks.contains_key(&task_id));
        if let Some((key, executor)) = executor {
            status.executor_id.get_or_insert_with(|| ExecutorId { value: key.1.clone() });
            status.container_status.get_or_insert_with(ContainerStatus::default).container_id =
                Some(executor.container.clone());
            if let Some(task) = executor.tasks.get_mut(&task_id).filter(|task| !is_terminal(task.state)) {
                task.state = status.state();
            }
        }
        let first = state.updates.push(framework, status.clone(), self.elapsed());
        self.checkpoint(state);
        if first == Some(true) {
            self.forward(state, framework, status);
        }
    }

    /// An executor's update: taken, then acknowledged to it, for it is kept here from now on.
    pub(super) fn executor_update(&self, framework: &str, executor_id: &str, status: TaskStatus) {
        let mut state = self.lock();
        let acknowledged =
            event::Acknowledged { task_id: status.task_id.clone(), uuid: status.uuid().to_vec().into() };
        self.take_update(&mut state, framework, status);
        let key = (framework.to_owned(), executor_id.to_owned());
        if let Some(stream) = state.executors.get(&key).and_then(|executor| executor.stream.as_ref()) {
            stream.send(&Event {
                r#type: Some(event::Type::Acknowledged.into()),
                acknowledged: Some(acknowledged),
                ..Event::default()
            });
        }
    }

    /// A scheduler's acknowledgement: the task's next update may go, or the task is done with.
    pub(super) fn acknowledged(&self, acknowledge: &Acknowledge) {
        let mut state = self.lock();
        let Acknowledge { framework_id, task_id, uuid } = acknowledge;
        match state.updates.acknowledge(framework_id, task_id, uuid, self.elapsed()) {
            Acknowledged::Unexpected => {
                tracing::warn!(
                    framework_id,
                    task_id,
                    "unexpected acknowledgement of a status update ignored"
                );
            }
            Acknowledged::Done { terminal: false } => {
                if let Some(next) = state.updates.oldest(framework_id, task_id).cloned() {
                    self.forward(&state, framework_id, next);
                }
            }
            Acknowledged::Done { terminal: true } => {
                for executor in state.executors.values_mut() {
                    if executor.info.framework_id.as_ref().is_some_and(|id| id.value == *framework_id) {
                        executor.tasks.remove(task_id);
                    }
                }
                state.drop_finished_executors();
            }
        }
        self.checkpoint(&state);
    }

    /// Sends updates again that were not acknowledged in time.
    pub(super) async fn retry_updates(self: Arc<Self>) {
        let mut interval = tokio::time::interval(TICK);
        loop {
            interval.tick().await;
            let mut state = self.lock();
            if state.master.is_none() {
                continue;
            }
            let due = state.updates.due(self.elapsed());
            for (framework, status) in due {
                self.forward(&state, &framework, status);
            }
        }
    }

    /// Sends an update to the master, with the task's latest state beside it.
    pub(super) fn forward(&self, state: &State, framework: &str, status: TaskStatus) {
        let task = &status.task_id.value;
        let latest = state.updates.latest(framework, task).unwrap_or(status.state());
        let update = Update { framework_id: framework.to_owned(), latest_state: latest.into(), status };
        state.to_master(FromAgent::Update(Box::new(update)));
    }
}

impl State {
    /// Whether a framework knows states like `TASK_GONE`.
    pub(super) fn is_partition_aware(&self, framework: &str) -> bool {
        self.frameworks.get(framework).is_some_and(|info| has_capability(info, Capability::PartitionAware))
    }

    /// Forgets executors that ended and whose tasks are all acknowledged, and frameworks without executors.
    pub(super) fn drop_finished_executors(&mut self) {
        self.executors
            .retain(|_, executor| executor.phase != Phase::Terminated || !executor.tasks.is_empty());
        let used: Vec<&String> = self.executors.keys().map(|(framework, _)| framework).collect();
        self.frameworks.retain(|id, _| used.contains(&id));
    }
}
