//! What an agent keeps on disk to survive its own restart: ids, frameworks that checkpoint, their executors and updates.

use std::{fs, path::Path, sync::Arc};

use anyhow::Context as _;
use meson_mesos::v1::{ContainerId, ExecutorInfo, FrameworkInfo, Resource, TaskState};
use prost::Message;

use super::{
    Agent, State,
    executor::{Executor, Phase, Queued, Task},
};
use crate::link::{TaskReport, Update};

const FILE: &str = "agent.checkpoint";

/// The file's content.
#[derive(Clone, PartialEq, Message)]
pub struct Kept {
    /// The agent's id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its port: executors that wait for it know no other.
    #[prost(uint32, tag = "2")]
    pub port: u32,
    /// Its resources, with reservations.
    #[prost(message, repeated, tag = "3")]
    pub resources: Vec<Resource>,
    /// Frameworks that checkpoint.
    #[prost(message, repeated, tag = "4")]
    pub frameworks: Vec<FrameworkInfo>,
    /// Their executors.
    #[prost(message, repeated, tag = "5")]
    pub executors: Vec<KeptExecutor>,
    /// Their updates that are not acknowledged, in order.
    #[prost(message, repeated, tag = "6")]
    pub updates: Vec<Update>,
}

/// An executor.
#[derive(Clone, PartialEq, Message)]
pub struct KeptExecutor {
    /// Its framework.
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// As launched.
    #[prost(message, required, tag = "2")]
    pub info: ExecutorInfo,
    /// Made up for a command.
    #[prost(bool, tag = "3")]
    pub generated: bool,
    /// Its process.
    #[prost(int32, tag = "4")]
    pub pid: i32,
    /// When that started.
    #[prost(uint64, tag = "5")]
    pub pid_start: u64,
    /// Its sandbox.
    #[prost(string, tag = "6")]
    pub directory: String,
    /// Its run.
    #[prost(string, tag = "7")]
    pub container: String,
    /// Its tasks.
    #[prost(message, repeated, tag = "8")]
    pub tasks: Vec<KeptTask>,
    /// Whether its process ended.
    #[prost(bool, tag = "9")]
    pub terminated: bool,
    /// Whether it ever got a task; the tasks above are only those that are not over.
    #[prost(bool, tag = "10")]
    pub ever_sent: bool,
}

/// A task.
#[derive(Clone, PartialEq, Message)]
pub struct KeptTask {
    /// The task with its state.
    #[prost(message, required, tag = "1")]
    pub report: TaskReport,
    /// Whether the executor has it.
    #[prost(bool, tag = "2")]
    pub delivered: bool,
}

/// Reads the file; nothing if there is none.
pub(super) fn read(work_dir: &Path) -> anyhow::Result<Option<Kept>> {
    match fs::read(work_dir.join(FILE)) {
        Ok(bytes) => Ok(Some(Kept::decode(bytes.as_slice()).context("the agent's checkpoint")?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("the agent's checkpoint"),
    }
}

impl Agent {
    /// Writes the state. An agent that cannot would forget what it promised to keep, so it ends.
    pub(super) fn checkpoint(&self, state: &State) {
        let kept = kept(state);
        let aside = self.settings.work_dir.join(format!("{FILE}.new"));
        let written = fs::write(&aside, kept.encode_to_vec())
            .and_then(|()| fs::rename(&aside, self.settings.work_dir.join(FILE)));
        if let Err(error) = written {
            tracing::error!(%error, "the checkpoint cannot be written");
            std::process::exit(1);
        }
    }

    /// Takes up what an earlier process left; answers whether there are executors to wait for.
    pub(super) fn recover(self: &Arc<Self>, kept: Kept) -> bool {
        let mut state = self.lock();
        if kept.id.is_empty() {
            return false;
        }
        tracing::info!(agent = kept.id, executors = kept.executors.len(), "recovering");
        state.set_id(kept.id);
        state.info.resources = kept.resources;
        for info in kept.frameworks {
            let id = info.id.as_ref().map_or_else(String::new, |id| id.value.clone());
            state.frameworks.insert(id, info);
        }
        for update in kept.updates {
            state.updates.push(&update.framework_id, update.status, 0.0);
        }
        let mut waits = false;
        for executor in kept.executors {
            let key = (executor.framework_id.clone(), executor.info.executor_id.value.clone());
            let watched = (!executor.terminated).then_some((executor.pid, executor.pid_start));
            state.executors.insert(key.clone(), revived(executor));
            if let Some((pid, pid_start)) = watched {
                waits = true;
                tokio::spawn(Arc::clone(self).watch_recovered(key, pid, pid_start));
            }
        }
        state.recovering = waits;
        waits
    }
}

fn kept(state: &State) -> Kept {
    let checkpoints =
        |framework: &str| state.frameworks.get(framework).is_some_and(FrameworkInfo::checkpoint);
    let executors = state.executors.iter().filter(|(key, _)| checkpoints(&key.0));
    let updates = state.updates.pending().into_iter().filter(|(framework, _)| checkpoints(framework));
    Kept {
        id: state.id(),
        port: state.info.port.and_then(|port| u32::try_from(port).ok()).unwrap_or_default(),
        resources: state.info.resources.clone(),
        frameworks: state.frameworks.values().filter(|info| info.checkpoint()).cloned().collect(),
        executors: executors.map(|(key, executor)| kept_executor(&key.0, executor)).collect(),
        updates: updates
            .map(|(framework_id, status)| Update { framework_id, latest_state: status.state, status })
            .collect(),
    }
}

fn kept_executor(framework: &str, executor: &Executor) -> KeptExecutor {
    let tasks = executor.tasks.values().map(|task| KeptTask {
        report: TaskReport {
            framework_id: framework.to_owned(),
            task: task.info.clone(),
            executor_id: executor.info.executor_id.value.clone(),
            state: task.state.into(),
            update_state: None,
            update_uuid: None,
        },
        delivered: task.delivered,
    });
    KeptExecutor {
        framework_id: framework.to_owned(),
        info: executor.info.clone(),
        generated: executor.generated,
        pid: executor.pid.unwrap_or_default(),
        pid_start: executor.pid_start,
        directory: executor.directory.to_string_lossy().into_owned(),
        container: executor.container.value.clone(),
        tasks: tasks.collect(),
        terminated: executor.phase == Phase::Terminated,
        ever_sent: executor.ever_sent,
    }
}

fn revived(kept: KeptExecutor) -> Executor {
    let mut queued = Vec::new();
    let mut tasks = std::collections::BTreeMap::new();
    for task in kept.tasks {
        let id = task.report.task.task_id.value.clone();
        let state = TaskState::try_from(task.report.state).unwrap_or(TaskState::TaskStaging);
        if !task.delivered {
            queued.push(Queued { tasks: vec![id.clone()], group: false });
        }
        tasks.insert(id, Task { info: task.report.task, state, delivered: task.delivered });
    }
    Executor {
        info: kept.info,
        generated: kept.generated,
        phase: if kept.terminated { Phase::Terminated } else { Phase::Registering },
        stream: None,
        subscription: 0,
        pid: (kept.pid > 0).then_some(kept.pid),
        pid_start: kept.pid_start,
        directory: kept.directory.into(),
        container: ContainerId { value: kept.container, parent: None },
        tasks,
        queued,
        ever_sent: kept.ever_sent,
        ending: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Mesos shuts down executors that never were sent a task when they subscribe, and no others.
    #[test]
    fn an_executor_whose_tasks_are_over_is_not_taken_for_unused() {
        for ever_sent in [true, false] {
            let executor = revived(KeptExecutor { ever_sent, ..KeptExecutor::default() });
            let bytes = kept_executor("f", &executor).encode_to_vec();
            let kept = KeptExecutor::decode(bytes.as_slice()).expect("our own encoding");
            assert!(kept.tasks.is_empty());
            assert_eq!(revived(kept).ever_sent, ever_sent);
        }
    }
}
