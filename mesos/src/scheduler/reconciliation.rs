//! Explicit reconciliation, as the documentation of Mesos prescribes it after each subscription: ask for all tasks that
//! are not terminal, wait, and ask again for those that nothing was heard of, less and less often. Pure: the time comes
//! in, calls come out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::call;
use crate::v1::scheduler::Call;
use crate::v1::{AgentId, TaskId};

/// The first wait for updates.
pub const WAIT_FIRST: Duration = Duration::from_secs(5);
/// The longest wait for updates. After a failover a master may not know an agent for minutes.
pub const WAIT_LONGEST: Duration = Duration::from_secs(5 * 60);
/// Tasks in one call.
pub const TASKS_A_CALL_MAX: usize = 1000;

/// One run of reconciliation. A newer one replaces it: drop it then.
#[derive(Debug, Clone)]
pub struct Reconciliation {
    remaining: BTreeMap<String, Option<AgentId>>,
    next: Instant,
    wait: Duration,
    longest: Duration,
}

impl Reconciliation {
    /// Begins with all tasks that the scheduler takes for not terminal. The agent, where it is known, makes answers
    /// quicker.
    pub fn begin(now: Instant, tasks: impl IntoIterator<Item = (TaskId, Option<AgentId>)>) -> Self {
        Self::with_waits(now, tasks, WAIT_FIRST, WAIT_LONGEST)
    }

    /// The same with waits of your own.
    pub fn with_waits(
        now: Instant,
        tasks: impl IntoIterator<Item = (TaskId, Option<AgentId>)>,
        first: Duration,
        longest: Duration,
    ) -> Self {
        let remaining = tasks.into_iter().map(|(task_id, agent_id)| (task_id.value, agent_id)).collect();
        Self { remaining, next: now, wait: first, longest }
    }

    /// An update of a task came, of whatever kind: it need not be asked for again.
    pub fn heard_of(&mut self, task_id: &TaskId) {
        self.remaining.remove(&task_id.value);
    }

    /// How many tasks nothing was heard of.
    pub fn remaining(&self) -> usize {
        self.remaining.len()
    }

    /// Whether all is known.
    pub fn is_done(&self) -> bool {
        self.remaining.is_empty()
    }

    /// When to ask next; `None` if all is known.
    pub fn next_at(&self) -> Option<Instant> {
        (!self.is_done()).then_some(self.next)
    }

    /// The calls that are due. None before their time, and none if all is known: an empty call would ask for all tasks.
    pub fn due(&mut self, now: Instant) -> Vec<Call> {
        if self.is_done() || now < self.next {
            return Vec::new();
        }
        self.next = now + self.wait;
        self.wait = (self.wait * 2).min(self.longest);
        let tasks: Vec<_> =
            self.remaining.iter().map(|(id, agent)| (TaskId::from(id.as_str()), agent.clone())).collect();
        tasks.chunks(TASKS_A_CALL_MAX).filter_map(|chunk| call::reconcile(chunk.iter().cloned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn begin(now: Instant, count: usize) -> Reconciliation {
        let tasks = (0..count).map(|number| (TaskId::from(format!("t{number:05}")), None));
        Reconciliation::with_waits(now, tasks, SECOND, 3 * SECOND)
    }

    fn asked(calls: &[Call]) -> Vec<String> {
        let tasks =
            calls.iter().filter_map(|call| call.reconcile.as_ref()).flat_map(|reconcile| &reconcile.tasks);
        tasks.map(|task| task.task_id.value.clone()).collect()
    }

    // "let remaining = { T in remaining | T.last_update_arrival() < start }; If remaining is non-empty, go to 3."
    #[test]
    fn only_what_nothing_was_heard_of_is_asked_for_again() {
        let start = Instant::now();
        let mut run = begin(start, 3);
        assert_eq!(asked(&run.due(start)), ["t00000", "t00001", "t00002"]);
        run.heard_of(&"t00001".into());
        run.heard_of(&"a task of somebody else".into());
        assert_eq!(asked(&run.due(start + SECOND)), ["t00000", "t00002"]);
        run.heard_of(&"t00000".into());
        run.heard_of(&"t00002".into());
        assert!(run.is_done());
        assert_eq!(run.next_at(), None);
        assert!(
            run.due(start + 100 * SECOND).is_empty(),
            "no task means no call, for it would mean all tasks"
        );
    }

    // "When waiting for updates to arrive, use a truncated exponential backoff."
    #[test]
    fn waits_double_and_are_bounded() {
        let start = Instant::now();
        let mut run = begin(start, 1);
        let mut now = start;
        for wait in [0, 1, 2, 3, 3] {
            assert_eq!(run.next_at(), Some(now + wait * SECOND));
            assert!(wait == 0 || run.due(now + wait * SECOND - Duration::from_nanos(1)).is_empty());
            now += wait * SECOND;
            assert_eq!(run.due(now).len(), 1);
        }
    }

    #[test]
    fn many_tasks_are_several_calls() {
        let start = Instant::now();
        let calls = begin(start, TASKS_A_CALL_MAX + 1).due(start);
        assert_eq!(calls.len(), 2);
        assert_eq!(asked(&calls).len(), TASKS_A_CALL_MAX + 1);
    }

    #[test]
    fn without_tasks_there_is_nothing_to_ask() {
        let start = Instant::now();
        let mut run = begin(start, 0);
        assert!(run.is_done() && run.due(start).is_empty());
    }
}
