//! Tasks on their way to an executor: launch, queue, delivery; and kills on the same way.

use std::{collections::BTreeMap, sync::Arc};

use meson_mesos::v1::{
    ContainerId, ExecutorId, ExecutorInfo, FrameworkId, TaskGroupInfo, TaskId, TaskInfo, TaskState,
    executor::{Event, event},
    task_status::Reason,
};

use super::{
    Agent, State,
    executor::{Executor, Key, Phase, Queued, Task},
    status::Said,
};
use crate::{
    cluster::is_terminal,
    link::{KillTask, RunTasks},
};

impl Agent {
    /// Launches tasks: on a running executor at once, else on a new one.
    pub(super) fn run_tasks(self: &Arc<Self>, run: RunTasks) {
        let framework_id = run.framework.id.as_ref().map_or_else(String::new, |id| id.value.clone());
        let mut state = self.lock();
        state.frameworks.insert(framework_id.clone(), run.framework);
        let batches =
            if run.group { vec![run.tasks] } else { run.tasks.into_iter().map(|task| vec![task]).collect() };
        for tasks in batches {
            let Some(first) = tasks.first() else { continue };
            let info = run.executor.clone().unwrap_or_else(|| command_executor(&framework_id, first));
            let key = (framework_id.clone(), info.executor_id.value.clone());
            self.enqueue(&mut state, &key, &info, run.executor.is_none(), tasks, run.group);
        }
        self.checkpoint(&state);
    }

    fn enqueue(
        self: &Arc<Self>,
        state: &mut State,
        key: &Key,
        info: &ExecutorInfo,
        generated: bool,
        tasks: Vec<TaskInfo>,
        group: bool,
    ) {
        let phase = state.executors.get(key).map(|executor| executor.phase);
        let over = match phase {
            Some(Phase::Terminating) => Some("Executor terminating"),
            Some(Phase::Terminated) => Some("Executor terminated"),
            _ => None,
        };
        if let Some(message) = over {
            for task in &tasks {
                let aware = state.is_partition_aware(&key.0);
                let said = Said {
                    state: if aware { TaskState::TaskDropped } else { TaskState::TaskLost },
                    reason: Reason::ExecutorTerminated,
                    message: message.to_owned(),
                };
                self.say(state, &key.0, &task.task_id.value, Some(&key.1), said);
            }
            return;
        }
        let executor = state.executors.entry(key.clone()).or_insert_with(|| fresh(info.clone(), generated));
        let ids: Vec<String> = tasks.iter().map(|task| task.task_id.value.clone()).collect();
        for task in tasks {
            let id = task.task_id.value.clone();
            executor.tasks.insert(id, Task { info: task, state: TaskState::TaskStaging, delivered: false });
        }
        executor.queued.push(Queued { tasks: ids, group });
        match phase {
            None => Arc::clone(self).launch(state, key),
            Some(Phase::Running) => deliver(executor),
            _ => {}
        }
    }

    /// Kills a task: asks its executor, or ends it here if the executor never had it.
    pub(super) fn kill_task(self: &Arc<Self>, kill: KillTask) {
        let mut state = self.lock();
        let KillTask { framework_id, task_id, kill_policy, partition_aware } = kill;
        let key = state
            .executors
            .iter()
            .find(|(key, executor)| key.0 == framework_id && executor.tasks.contains_key(&task_id))
            .map(|(key, _)| key.clone());
        let Some(executor) = key.as_ref().and_then(|key| state.executors.get_mut(key)) else {
            let said = Said {
                state: if partition_aware { TaskState::TaskDropped } else { TaskState::TaskLost },
                reason: Reason::ExecutorTerminated,
                message: "Cannot find executor".to_owned(),
            };
            return self.say(&mut state, &framework_id, &task_id, None, said);
        };
        if matches!(executor.phase, Phase::Terminating | Phase::Terminated) {
            return tracing::warn!(framework_id, task_id, "kill ignored: the executor is on its way out");
        }
        let delivered = executor.tasks.get(&task_id).is_some_and(|task| task.delivered);
        if delivered {
            let kill = event::Kill { task_id: TaskId { value: task_id }, kill_policy };
            let event =
                Event { r#type: Some(event::Type::Kill.into()), kill: Some(kill), ..Event::default() };
            if let Some(stream) = &executor.stream {
                stream.send(&event);
            }
            return;
        }
        let queue = executor.queued.iter().position(|queued| queued.tasks.contains(&task_id));
        let with_it = queue.map_or_else(|| vec![task_id], |place| executor.queued.remove(place).tasks);
        let unused = executor.queued.is_empty() && !executor.ever_sent;
        for task in with_it {
            let said = Said {
                state: TaskState::TaskKilled,
                reason: Reason::TaskKilledDuringLaunch,
                message: "Killed before delivery to the executor".to_owned(),
            };
            self.say(&mut state, &framework_id, &task, key.as_ref().map(|key| key.1.as_str()), said);
        }
        if let Some(key) = key.filter(|_| unused) {
            self.shutdown_executor(&mut state, &key);
        }
    }

    /// Tasks that the master has here and that are not here: it is told that they are lost.
    pub(super) fn deny_tasks(self: &Arc<Self>, asked: Vec<KillTask>) {
        let mut state = self.lock();
        for KillTask { framework_id, task_id, partition_aware, .. } in asked {
            let known = state
                .executors
                .iter()
                .any(|(key, executor)| key.0 == framework_id && executor.tasks.contains_key(&task_id));
            if known {
                continue;
            }
            let said = Said {
                state: if partition_aware { TaskState::TaskDropped } else { TaskState::TaskLost },
                reason: Reason::Reconciliation,
                message: "Reconciliation: task unknown to the agent".to_owned(),
            };
            self.say(&mut state, &framework_id, &task_id, None, said);
        }
    }
}

/// Hands all queued tasks to a subscribed executor.
pub(super) fn deliver(executor: &mut Executor) {
    let Some(stream) = executor.stream.clone() else { return };
    for queued in std::mem::take(&mut executor.queued) {
        let mut tasks = Vec::new();
        for id in &queued.tasks {
            if let Some(task) = executor.tasks.get_mut(id).filter(|task| !is_terminal(task.state)) {
                task.delivered = true;
                tasks.push(task.info.clone());
            }
        }
        executor.ever_sent |= !tasks.is_empty();
        if queued.group {
            let launch_group = Some(event::LaunchGroup { task_group: TaskGroupInfo { tasks } });
            stream.send(&Event {
                r#type: Some(event::Type::LaunchGroup.into()),
                launch_group,
                ..Event::default()
            });
        } else {
            for task in tasks {
                let launch = Some(event::Launch { task });
                stream.send(&Event { r#type: Some(event::Type::Launch.into()), launch, ..Event::default() });
            }
        }
    }
}

/// The executor that runs the command of a task that has no other.
fn command_executor(framework_id: &str, task: &TaskInfo) -> ExecutorInfo {
    ExecutorInfo {
        executor_id: ExecutorId { value: task.task_id.value.clone() },
        framework_id: Some(FrameworkId { value: framework_id.to_owned() }),
        command: task.command.clone(),
        name: Some(format!("Command Executor (Task: {}) (Command: sh -c '...')", task.task_id.value)),
        ..ExecutorInfo::default()
    }
}

fn fresh(info: ExecutorInfo, generated: bool) -> Executor {
    Executor {
        info,
        generated,
        phase: Phase::Registering,
        stream: None,
        subscription: 0,
        pid: None,
        pid_start: 0,
        directory: std::path::PathBuf::new(),
        container: ContainerId { value: crate::http::random_id(), parent: None },
        tasks: BTreeMap::new(),
        queued: Vec::new(),
        ever_sent: false,
        ending: None,
    }
}
