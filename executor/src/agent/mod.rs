//! The executor as a custom executor of Mesos: an agent started it, brings it tasks, and takes their updates, which carry
//! the same reports that go over the session. So a result arrives by whichever way is open.
//!
//! A task is an attempt: its id is the attempt's, its data a `Launch`. It waits in `claims` until the leader permits it.

mod messages;
mod updates;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meson_mesos::executor::{Config, Environment, Event, Executor as Mesos, Signal};
use meson_mesos::v1::{TaskInfo, TaskState};
use meson_mesos::{Error, Signals};
use meson_proto::v1::{Kill, Launch, MesosExecutor};
use prost::Message as _;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{error, info, warn};

use crate::attempts::Executor;
use crate::outbox::Word;
pub use messages::Messages;

/// How often idleness, and the end of what is to end, is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How much of the grace period for shutting down is kept for the agent to take the last updates.
const DRAIN_SHARE: u32 = 4;

/// Why the executor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was told to, or had nothing to do for long.
    Done,
    /// The agent will not come back, or does not want it.
    Lost,
}

/// The executor's side of its agent. One for the process.
#[derive(Debug)]
pub struct Agent {
    mesos: Mesos,
    place: MesosExecutor,
    grace: Duration,
    /// Tasks whose end the agent was not told.
    open: Mutex<HashSet<String>>,
    /// Messages from the leader.
    messages: Messages,
    /// Set to end all and leave.
    leaving: Notify,
}

/// What an agent says, and what it is to be told.
pub struct Ways {
    signals: Signals<Signal>,
    words: mpsc::UnboundedReceiver<Word>,
}

impl Agent {
    /// Registers with the agent that started this process.
    ///
    /// # Errors
    /// When no agent started it, or its environment cannot be used.
    pub fn start(executor: &Executor) -> Result<(Arc<Self>, Ways), Error> {
        let environment = Environment::of_process()?;
        let missing =
            || Error::Settings("MESOS_SLAVE_ID is not set: the agent does not say who it is".to_owned());
        let place = MesosExecutor {
            framework_id: environment.framework_id.value.clone(),
            agent_id: environment.agent_id.clone().ok_or_else(missing)?,
            executor_id: environment.executor_id.value.clone(),
        };
        let (mesos, signals) = Mesos::start(&environment, Config::of(&environment)?)?;
        let words = executor.outbox.listen();
        let agent = Agent {
            mesos,
            place,
            grace: environment.shutdown_grace_period,
            open: Mutex::default(),
            messages: Messages::default(),
            leaving: Notify::new(),
        };
        Ok((Arc::new(agent), Ways { signals, words }))
    }

    /// Whose executor it is, for Hello.
    pub fn place(&self) -> MesosExecutor {
        self.place.clone()
    }

    /// Ends all attempts, tells the agent, and has [`Self::serve`] return.
    pub fn leave(&self) {
        self.leaving.notify_one();
    }

    /// Serves the agent until the executor is to end.
    pub async fn serve(self: Arc<Self>, executor: Arc<Executor>, mut ways: Ways) -> End {
        let idle_ms = executor.config.idle_shutdown_ms;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut busy = Instant::now();
        // Since when all is being ended, and how.
        let mut ending: Option<(Instant, End)> = None;
        loop {
            tokio::select! {
                signal = ways.signals.next() => match signal {
                    Some(Signal::Event(Event::Shutdown)) => {
                        ending.get_or_insert_with(|| self.end_all(&executor, "the agent shuts it down", End::Done));
                    }
                    Some(Signal::Event(event)) => self.on_event(&executor, event),
                    Some(Signal::Ended(error)) => {
                        // The agent takes its tasks for dead, and so does Mesos.
                        error!(%error, "the agent is lost");
                        ending = Some(self.end_all(&executor, "its agent is lost", End::Lost));
                    }
                    Some(Signal::Disconnected { error, recovery_left, .. }) => {
                        info!(%error, ?recovery_left, "the agent is away");
                    }
                    Some(Signal::Connected | Signal::Subscribed(_)) => {}
                    None if ending.is_none() => ending = Some(self.end_all(&executor, "its agent is lost", End::Lost)),
                    None => tokio::time::sleep(TICK).await,
                },
                Some(word) = ways.words.recv() => self.tell(word),
                () = self.leaving.notified() => {
                    ending.get_or_insert_with(|| self.end_all(&executor, "it was told to end", End::Done));
                }
                _ = tick.tick() => {
                    let quiet = self.is_quiet(&executor);
                    if !quiet {
                        busy = Instant::now();
                    }
                    if ending.is_some_and(|(since, end)| since.elapsed() >= self.patience(end) * 3 / 4) {
                        // No more waiting for logs: a report that is told beats a log that is whole.
                        let unreleased = executor.outbox.unreleased().into_values();
                        unreleased.for_each(|id| executor.outbox.release(id, false));
                    }
                    match ending {
                        Some((since, end)) if quiet || since.elapsed() >= self.patience(end) => {
                            self.mesos.drained(self.grace / DRAIN_SHARE).await;
                            return end;
                        }
                        None if idle_ms > 0 && busy.elapsed() >= Duration::from_millis(idle_ms) => {
                            // A task that comes in this moment is lost with the executor, and tried again by its framework.
                            info!(idle_ms, "nothing to do");
                            return End::Done;
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    /// How long the attempts may take to end.
    fn patience(&self, end: End) -> Duration {
        match end {
            End::Done => self.grace - self.grace / DRAIN_SHARE,
            End::Lost => self.grace,
        }
    }

    /// Nothing waits or runs, and the agent knows all.
    fn is_quiet(&self, executor: &Executor) -> bool {
        self.lock().is_empty() && executor.claims.is_empty() && self.mesos.unacknowledged_updates() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_event(&self, executor: &Arc<Executor>, event: Event) {
        match event {
            Event::Launch(task) => self.launch(executor, task),
            Event::LaunchGroup(group) => group.tasks.into_iter().for_each(|task| self.launch(executor, task)),
            Event::Kill { task_id, kill_policy } => {
                let grace = kill_policy.and_then(|policy| policy.grace_period);
                let grace_ms =
                    grace.map_or(0, |grace| u64::try_from(grace.nanoseconds / 1_000_000).unwrap_or(0));
                self.kill(executor, &task_id.value, grace_ms);
            }
            Event::Message(data) => self.messages.heard(&data),
            Event::Error(message) => error!(message, "the agent reports an error"),
            Event::Acknowledged { .. }
            | Event::Subscribed(_)
            | Event::Shutdown
            | Event::Heartbeat
            | Event::Unknown(_) => {}
        }
    }

    fn launch(&self, executor: &Executor, task: TaskInfo) {
        let id = task.task_id.value.clone();
        let launch = match Launch::decode(task.data.unwrap_or_default()) {
            Ok(launch) if launch.attempt_id == id => launch,
            Ok(launch) => {
                return self.refuse(&id, format!("its data is of the attempt `{}`", launch.attempt_id));
            }
            Err(error) => return self.refuse(&id, format!("its data is no launch: {error}")),
        };
        if !self.lock().insert(id.clone()) {
            return info!(attempt_id = id, "launched again");
        }
        executor.claims.add(launch);
    }

    fn refuse(&self, id: &str, why: String) {
        warn!(id, why, "a task that cannot be one of ours");
        self.update(id, TaskState::TaskError, why, None);
    }

    /// A task that is not open has ended, and its agent was told so: there is nothing to end, and nothing new to say.
    fn kill(&self, executor: &Arc<Executor>, attempt_id: &str, grace_ms: u64) {
        if !self.lock().contains(attempt_id) {
            return info!(attempt_id, "Mesos asks for the end of a task that has ended");
        }
        executor.kill(&Kill { attempt_id: attempt_id.to_owned(), grace_ms, ..Kill::default() });
    }

    fn end_all(&self, executor: &Arc<Executor>, why: &str, end: End) -> (Instant, End) {
        let open: Vec<String> = self.lock().iter().cloned().collect();
        info!(attempts = open.len(), why, "ending all attempts");
        let patience = self.patience(end) / 2;
        let grace_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX).max(1);
        open.iter().for_each(|id| self.kill(executor, id, grace_ms));
        (Instant::now(), end)
    }
}
