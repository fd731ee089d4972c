//! The agent's rule for status updates: of each task in order, the next one only after the first is acknowledged, each
//! sent again with back-off until it is.

use std::collections::{BTreeMap, VecDeque};

use meson_mesos::v1::{TaskState, TaskStatus};

use crate::cluster::is_terminal;

/// Longest pause between two sendings of one update; Mesos's.
const PAUSE_MAX: f64 = 600.0;

/// Updates of one task that are not acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    pending: VecDeque<TaskStatus>,
    /// When the oldest is sent again, and the pause after that.
    again: Option<(f64, f64)>,
    /// Uuids that were seen, so that an executor's repetition is no new update.
    seen: Vec<Vec<u8>>,
    /// A terminal update came; none is taken after it.
    over: bool,
}

/// All streams of an agent, by framework and task.
#[derive(Debug)]
pub struct Updates {
    streams: BTreeMap<(String, String), Stream>,
    pause: f64,
}

/// What became of an acknowledgement.
#[derive(Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// It was not for the oldest update: ignored.
    Unexpected,
    /// The oldest update is done; whether it ended the task.
    Done {
        /// Whether it was terminal.
        terminal: bool,
    },
}

impl Updates {
    /// No updates, and the first pause before one is sent again (in Mesos 10 s).
    #[must_use]
    pub fn new(pause: f64) -> Self {
        Updates { streams: BTreeMap::new(), pause }
    }

    /// Takes an update; answers whether it must be sent now, because none is before it. `None` for a repetition or one
    /// after the end.
    pub fn push(&mut self, framework: &str, status: TaskStatus, now: f64) -> Option<bool> {
        let key = (framework.to_owned(), status.task_id.value.clone());
        let stream = self.streams.entry(key).or_default();
        let uuid = status.uuid().to_vec();
        if stream.seen.contains(&uuid) || stream.over {
            return None;
        }
        stream.seen.push(uuid);
        stream.over = is_terminal(status.state());
        stream.pending.push_back(status);
        let first = stream.pending.len() == 1;
        if first {
            stream.again = Some((now + self.pause, self.pause));
        }
        Some(first)
    }

    /// Takes an acknowledgement.
    pub fn acknowledge(&mut self, framework: &str, task: &str, uuid: &[u8], now: f64) -> Acknowledged {
        let key = (framework.to_owned(), task.to_owned());
        let Some(stream) = self.streams.get_mut(&key) else { return Acknowledged::Unexpected };
        if stream.pending.front().is_none_or(|status| status.uuid() != uuid) {
            return Acknowledged::Unexpected;
        }
        let terminal = stream.pending.pop_front().is_some_and(|status| is_terminal(status.state()));
        stream.again = (!stream.pending.is_empty()).then_some((now + self.pause, self.pause));
        if terminal {
            self.streams.remove(&key);
        }
        Acknowledged::Done { terminal }
    }

    /// The oldest update of a task.
    #[must_use]
    pub fn oldest(&self, framework: &str, task: &str) -> Option<&TaskStatus> {
        self.streams.get(&(framework.to_owned(), task.to_owned()))?.pending.front()
    }

    /// The oldest updates that are due again.
    pub fn due(&mut self, now: f64) -> Vec<(String, TaskStatus)> {
        let mut due = Vec::new();
        for ((framework, _), stream) in &mut self.streams {
            let Some((at, pause)) = stream.again else { continue };
            if at > now {
                continue;
            }
            let pause = (pause * 2.0).min(PAUSE_MAX);
            stream.again = Some((now + pause, pause));
            due.extend(stream.pending.front().map(|status| (framework.clone(), status.clone())));
        }
        due
    }

    /// The oldest updates of all tasks, to be sent to a new master at once.
    pub fn restart(&mut self, now: f64) -> Vec<(String, TaskStatus)> {
        for stream in self.streams.values_mut().filter(|stream| !stream.pending.is_empty()) {
            stream.again = Some((now, self.pause));
        }
        self.due(now)
    }

    /// Forgets a framework.
    pub fn forget(&mut self, framework: &str) {
        self.streams.retain(|(owner, _), _| owner != framework);
    }

    /// All that is pending, for the checkpoint.
    #[must_use]
    pub fn pending(&self) -> Vec<(String, TaskStatus)> {
        let of = |((framework, _), stream): (&(String, String), &Stream)| {
            let framework = framework.clone();
            stream.pending.iter().cloned().map(move |status| (framework.clone(), status)).collect::<Vec<_>>()
        };
        self.streams.iter().flat_map(of).collect()
    }

    /// The latest state that an update told of a task.
    #[must_use]
    pub fn latest(&self, framework: &str, task: &str) -> Option<TaskState> {
        let stream = self.streams.get(&(framework.to_owned(), task.to_owned()))?;
        stream.pending.back().map(TaskStatus::state)
    }
}

#[cfg(test)]
mod tests {
    use meson_mesos::v1::TaskId;

    use super::*;

    fn status(state: TaskState, uuid: u8) -> TaskStatus {
        TaskStatus {
            task_id: TaskId { value: "t".to_owned() },
            state: state.into(),
            uuid: Some(vec![uuid; 16].into()),
            ..TaskStatus::default()
        }
    }

    #[test]
    fn the_next_update_waits_for_the_first_ones_acknowledgement() {
        let mut updates = Updates::new(10.0);
        assert_eq!(updates.push("f", status(TaskState::TaskRunning, 1), 0.0), Some(true));
        assert_eq!(updates.push("f", status(TaskState::TaskFinished, 2), 0.0), Some(false));
        assert_eq!(updates.acknowledge("f", "t", &[2; 16], 0.0), Acknowledged::Unexpected);
        assert_eq!(updates.acknowledge("f", "t", &[1; 16], 0.0), Acknowledged::Done { terminal: false });
        assert_eq!(updates.oldest("f", "t").map(TaskStatus::state), Some(TaskState::TaskFinished));
        assert_eq!(updates.acknowledge("f", "t", &[2; 16], 0.0), Acknowledged::Done { terminal: true });
        assert_eq!(updates.oldest("f", "t"), None);
    }

    #[test]
    fn repetitions_and_updates_after_the_end_are_not_taken() {
        let mut updates = Updates::new(10.0);
        assert_eq!(updates.push("f", status(TaskState::TaskFinished, 1), 0.0), Some(true));
        assert_eq!(updates.push("f", status(TaskState::TaskFinished, 1), 0.0), None);
        assert_eq!(updates.push("f", status(TaskState::TaskFailed, 2), 0.0), None);
    }

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        let mut updates = Updates::new(10.0);
        updates.push("f", status(TaskState::TaskRunning, 1), 0.0);
        let mut sent = Vec::new();
        for second in 0..4000_u32 {
            let now = f64::from(second);
            sent.extend(updates.due(now).iter().map(|_| second));
        }
        assert_eq!(sent, [10, 30, 70, 150, 310, 630, 1230, 1830, 2430, 3030, 3630]);
        // A new master hears the oldest at once.
        assert_eq!(updates.restart(4000.0).len(), 1);
    }
}
