//! What the agent may not know: tasks of which it acknowledged no update, and updates that it did not acknowledge. Both
//! are told again at every SUBSCRIBE.

use bytes::Bytes;

use crate::v1::executor::call;
use crate::v1::{TaskId, TaskInfo, TaskStatus};

/// Tasks and updates in the order in which they came up.
#[derive(Debug, Clone, Default)]
pub struct Unacknowledged {
    tasks: Vec<TaskInfo>,
    updates: Vec<TaskStatus>,
}

impl Unacknowledged {
    /// A task was launched here.
    pub fn launched(&mut self, task: TaskInfo) {
        if !self.tasks.iter().any(|known| known.task_id == task.task_id) {
            self.tasks.push(task);
        }
    }

    /// An update goes out.
    pub fn updated(&mut self, status: TaskStatus) {
        self.updates.push(status);
    }

    /// The agent keeps this update now. With it, it knows the task.
    pub fn acknowledged(&mut self, task_id: &TaskId, uuid: &Bytes) {
        self.updates.retain(|status| &status.task_id != task_id || status.uuid.as_ref() != Some(uuid));
        self.tasks.retain(|task| &task.task_id != task_id);
    }

    /// What SUBSCRIBE says.
    pub fn subscribe(&self) -> call::Subscribe {
        call::Subscribe {
            unacknowledged_tasks: self.tasks.clone(),
            unacknowledged_updates: self
                .updates
                .iter()
                .map(|status| call::Update { status: status.clone() })
                .collect(),
        }
    }

    /// How many updates wait for the agent.
    pub fn updates(&self) -> usize {
        self.updates.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str) -> TaskInfo {
        TaskInfo { task_id: id.into(), ..TaskInfo::default() }
    }

    fn status(id: &str, uuid: &'static str) -> TaskStatus {
        TaskStatus {
            task_id: id.into(),
            uuid: Some(Bytes::from_static(uuid.as_bytes())),
            ..TaskStatus::default()
        }
    }

    // "A task is considered acknowledged if at least one of the status updates for this task is acknowledged by the
    // agent."
    #[test]
    fn the_first_acknowledged_update_acknowledges_the_task() {
        let mut unacknowledged = Unacknowledged::default();
        for id in ["t1", "t2"] {
            unacknowledged.launched(task(id));
        }
        unacknowledged.updated(status("t1", "a"));
        unacknowledged.updated(status("t1", "b"));
        unacknowledged.acknowledged(&"t1".into(), &Bytes::from_static(b"a"));
        let subscribe = unacknowledged.subscribe();
        assert_eq!(subscribe.unacknowledged_tasks, [task("t2")]);
        let updates: Vec<_> =
            subscribe.unacknowledged_updates.into_iter().map(|update| update.status).collect();
        assert_eq!(updates, [status("t1", "b")]);
    }

    #[test]
    fn only_the_named_update_of_the_named_task_goes() {
        let mut unacknowledged = Unacknowledged::default();
        unacknowledged.updated(status("t1", "a"));
        unacknowledged.updated(status("t2", "a"));
        unacknowledged.acknowledged(&"t2".into(), &Bytes::from_static(b"a"));
        assert_eq!(unacknowledged.updates(), 1);
        unacknowledged.acknowledged(&"t1".into(), &Bytes::from_static(b"other"));
        assert_eq!(unacknowledged.updates(), 1);
    }

    #[test]
    fn a_task_launched_twice_is_told_once() {
        let mut unacknowledged = Unacknowledged::default();
        unacknowledged.launched(task("t1"));
        unacknowledged.launched(task("t1"));
        assert_eq!(unacknowledged.subscribe().unacknowledged_tasks.len(), 1);
    }
}
