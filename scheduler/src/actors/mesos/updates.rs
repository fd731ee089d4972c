//! Updates of tasks: what each says is decided in the state before it is acknowledged.

use actix::Context;
use meson_engine::command::{AttemptLost, Event, Report};
use meson_engine::record::{Attempt, Failure};
use meson_mesos::scheduler::{Scheduler, call};
use meson_mesos::v1::TaskStatus;
use tracing::{debug, info};

use super::MesosActor;
use crate::actors::reports::{self, live_attempt};
use crate::proposer::{Error, Proposer};
use crate::resources::mesos::updates::{Word, is_to_be_killed, read};

impl MesosActor {
    pub(super) fn on_update(&mut self, status: TaskStatus, _: &mut Context<Self>) {
        if let Some(round) = self.session.as_mut().and_then(|session| session.reconciliation.as_mut()) {
            round.run.heard_of(&status.task_id);
        }
        let Some(scheduler) = self.scheduler() else { return };
        let state = self.shared.published.state();
        let id = status.task_id.value.clone();
        let attempt = live_attempt(&state, &id).filter(|attempt| !attempt.executor.is_empty());
        let word = read(&status);
        debug!(id, state = status.state().as_str_name(), known = attempt.is_some(), "update");
        let Some(attempt) = attempt.cloned() else { return self.on_unknown(&scheduler, status, &id) };
        match word {
            Word::Nothing | Word::Unsure => acknowledge(scheduler, status),
            Word::Running => self.propose_running(scheduler, status, &attempt),
            Word::Report(report) => {
                let shared = self.shared.clone();
                actix::spawn(async move {
                    let is_over = || !shared.is_leading();
                    if reports::decide(&shared, *report, is_over).await.is_some() {
                        acknowledge(scheduler, status);
                    }
                });
            }
            Word::NeverBegan(failure) => {
                info!(id, why = failure.message, "it never began");
                give_up(self.shared.proposer.clone(), scheduler, status, &attempt, failure);
            }
            Word::Over(failure) => self.doubts.note(&id, failure, status),
        }
    }

    /// A task of an attempt that is not wanted, or not any more: its end is asked for.
    fn on_unknown(&self, scheduler: &Scheduler, status: TaskStatus, id: &str) {
        if is_to_be_killed(status.state()) {
            info!(id, state = status.state().as_str_name(), "a task that is not wanted (any more) is ended");
            self.call(call::kill(status.task_id.clone(), status.agent_id.clone(), None));
        }
        acknowledge(scheduler.clone(), status);
    }

    fn propose_running(&self, scheduler: Scheduler, status: TaskStatus, attempt: &Attempt) {
        let proposer = self.shared.proposer.clone();
        let report = Report {
            attempt_id: status.task_id.value.clone(),
            fence: attempt.fence,
            event: Event::Running as i32,
            ..Report::default()
        };
        actix::spawn(async move {
            if is_decided(&proposer.propose(report).await) {
                acknowledge(scheduler, status);
            }
        });
    }
}

fn give_up(
    proposer: Proposer,
    scheduler: Scheduler,
    status: TaskStatus,
    attempt: &Attempt,
    failure: Failure,
) {
    let (attempt_id, fence) = (status.task_id.value.clone(), attempt.fence);
    actix::spawn(async move {
        let lost = proposer.propose(AttemptLost { attempt_id, fence, failure }).await;
        if is_decided(&lost) {
            acknowledge(scheduler, status);
        }
    });
}

/// Whether a command took effect, or never will. Otherwise the agent tells its update again.
fn is_decided<T>(result: &Result<T, Error>) -> bool {
    match result {
        Ok(_) => true,
        Err(Error::Refused(refusal)) => refusal.kind() != meson_engine::outcome::RefusalKind::StaleTerm,
        Err(_) => false,
    }
}

/// Tells the agent that it need not tell an update again. If this is lost, it does, and hears it then.
fn acknowledge(scheduler: Scheduler, status: TaskStatus) {
    let Some(call) = call::acknowledge(&status) else { return };
    actix::spawn(async move {
        if let Err(error) = scheduler.call(call).await {
            debug!(%error, "an acknowledgement was not sent");
        }
    });
}
