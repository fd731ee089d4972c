//! `RECONCILE`: what the master answers of tasks it knows, and of those it does not.

use meson_mesos::v1::{TaskState, scheduler::call::Reconcile, task_status::Reason};

use super::{
    Cluster,
    tasks::{Told, master_status, time_info},
};

impl Cluster {
    /// Answers a `RECONCILE` call: for the named tasks, or for all known ones if none is named.
    pub(super) fn reconcile(&mut self, id: &str, reconcile: Reconcile) {
        if !reconcile.tasks.is_empty() {
            for task in reconcile.tasks {
                let agent = task.agent_id.map(|agent| agent.value);
                self.reconcile_one(id, &task.task_id.value, agent.as_deref());
            }
            return;
        }
        let Some(framework) = self.frameworks.get(id) else { return };
        let tasks: Vec<String> = framework.tasks.keys().cloned().collect();
        for task in tasks {
            self.tell_known(id, &task);
        }
    }

    /// Answers for one task, in Mesos's order of cases.
    pub(super) fn reconcile_one(&mut self, id: &str, task: &str, agent: Option<&str>) {
        let Some(framework) = self.frameworks.get(id) else { return };
        if framework.tasks.contains_key(task) {
            return self.tell_known(id, task);
        }
        let may_come_back =
            agent.map_or(!self.recovered.is_empty(), |agent| self.recovered.contains_key(agent));
        if may_come_back {
            tracing::info!(framework = id, task, "reconciliation dropped: agents have not yet reregistered");
            return;
        }
        let aware = framework.is_partition_aware();
        let (state, message) = match agent {
            Some(agent) if self.agents.contains_key(agent) => {
                (TaskState::TaskGone, "Reconciliation: Task is unknown to the agent")
            }
            Some(agent) if self.registry.unreachable.contains_key(agent) => {
                (TaskState::TaskUnreachable, "Reconciliation: Task is unreachable")
            }
            Some(agent) if self.registry.gone.contains_key(agent) => {
                (TaskState::TaskGoneByOperator, "Reconciliation: Task is gone")
            }
            _ => (TaskState::TaskUnknown, "Reconciliation: Task is unknown"),
        };
        let told = Told {
            state: if aware { state } else { TaskState::TaskLost },
            reason: Reason::Reconciliation,
            message: message.to_owned(),
        };
        let mut status = master_status(self.now.unix, &told, task, agent, None);
        if state == TaskState::TaskUnreachable {
            let since = agent.and_then(|agent| self.registry.unreachable.get(agent));
            status.unreachable_time = since.copied().map(time_info);
        }
        self.send_status(id, status);
    }

    /// The latest state of a known task that its scheduler may know already.
    fn tell_known(&mut self, id: &str, task_id: &str) {
        let Some(task) = self.frameworks.get(id).and_then(|framework| framework.tasks.get(task_id)) else {
            return;
        };
        let told = Told {
            state: task.known_state(),
            reason: Reason::Reconciliation,
            message: "Reconciliation: Latest task state".to_owned(),
        };
        let status =
            master_status(self.now.unix, &told, task_id, Some(task.agent.as_str()), task.executor.as_deref());
        self.send_status(id, status);
    }
}
