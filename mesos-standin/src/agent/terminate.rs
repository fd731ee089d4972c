//! Executors end: asked to, killed, or by themselves; their living tasks end with them.

use std::{sync::Arc, time::Duration};

use meson_mesos::v1::{
    TaskState,
    executor::{Event, event},
    task_status::Reason,
};

use super::{
    Agent, State,
    executor::{Ending, Key, Phase},
    process::kill_group,
    status::Said,
};
use crate::link::{ExitedExecutor, FromAgent, ShutdownExecutor};

impl Agent {
    /// The master wants one executor of a framework shut down, or all of them.
    pub(super) fn shutdown(self: &Arc<Self>, shutdown: &ShutdownExecutor) {
        let mut state = self.lock();
        let keys: Vec<Key> = state
            .executors
            .keys()
            .filter(|(framework, executor)| {
                *framework == shutdown.framework_id
                    && (shutdown.executor_id.is_empty() || *executor == shutdown.executor_id)
            })
            .cloned()
            .collect();
        for key in keys {
            self.shutdown_executor(&mut state, &key);
        }
        if shutdown.executor_id.is_empty() {
            // A framework that is over acknowledges nothing any more.
            state.updates.forget(&shutdown.framework_id);
            for (key, executor) in &mut state.executors {
                if key.0 == shutdown.framework_id {
                    executor.tasks.clear();
                }
            }
            state.drop_finished_executors();
        }
        self.checkpoint(&state);
    }

    /// Asks an executor to end, and kills it if it does not in time.
    pub(super) fn shutdown_executor(self: &Arc<Self>, state: &mut State, key: &Key) {
        let default = self.settings.executor_shutdown_grace_period;
        let Some(executor) = state.executors.get_mut(key) else { return };
        if matches!(executor.phase, Phase::Terminating | Phase::Terminated) {
            return;
        }
        executor.phase = Phase::Terminating;
        if let Some(stream) = &executor.stream {
            stream.send(&Event { r#type: Some(event::Type::Shutdown.into()), ..Event::default() });
        }
        let given = executor.info.shutdown_grace_period.as_ref();
        let grace = given.map_or(default, |grace| {
            Duration::from_nanos(u64::try_from(grace.nanoseconds).unwrap_or_default())
        });
        let agent = Arc::clone(self);
        let key = key.clone();
        let container = executor.container.clone();
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            let state = agent.lock();
            let executor = state.executors.get(&key).filter(|executor| executor.container == container);
            if let Some(executor) = executor.filter(|executor| executor.phase == Phase::Terminating) {
                executor.pid.into_iter().for_each(kill_group);
            }
        });
    }

    /// After the agent's restart: executors that did not come back are killed.
    pub(super) fn give_up_silent_executors(&self) {
        let mut state = self.lock();
        for executor in state.executors.values_mut() {
            if executor.phase == Phase::Registering {
                executor.phase = Phase::Terminating;
                executor.ending = Some(Ending {
                    state: TaskState::TaskFailed,
                    reason: Reason::ExecutorReregistrationTimeout,
                    message: "Executor did not reregister within the time after the agent's restart"
                        .to_owned(),
                });
                executor.pid.into_iter().for_each(kill_group);
            }
        }
    }

    /// An executor's process is gone.
    pub(super) fn executor_ended(&self, state: &mut State, key: &Key, status: i32) {
        let Some(executor) = state.executors.get_mut(key) else { return };
        if executor.phase == Phase::Terminated {
            return;
        }
        tracing::info!(framework = key.0, executor = key.1, status, "executor ended");
        executor.phase = Phase::Terminated;
        executor.stream = None;
        executor.queued.clear();
        let generated = executor.generated;
        let ending = executor.ending.clone().unwrap_or(Ending {
            state: TaskState::TaskFailed,
            reason: Reason::ExecutorTerminated,
            message: "Executor terminated".to_owned(),
        });
        for task in executor.living() {
            let Ending { state: end, reason, message } = ending.clone();
            self.say(state, &key.0, &task, Some(&key.1), Said { state: end, reason, message });
        }
        if !generated {
            let exited = ExitedExecutor { framework_id: key.0.clone(), executor_id: key.1.clone(), status };
            state.to_master(FromAgent::Exited(exited));
        }
        state.drop_finished_executors();
        self.checkpoint(state);
    }

    /// The agent was marked gone: everything on it ends, now.
    pub(super) fn end_all(&self) {
        let state = self.lock();
        for executor in state.executors.values() {
            executor.pid.into_iter().for_each(kill_group);
        }
    }
}
