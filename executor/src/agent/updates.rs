//! From reports to updates of tasks.

use meson_mesos::v1::{TaskState, TaskStatus};
use meson_proto::v1::{AttemptState, FailureClass, Report};
use prost::Message as _;
use prost::bytes::Bytes;
use tracing::debug;

use super::Agent;
use crate::outbox::Word;

/// Longest text for people in an update; the report has all of it.
const MESSAGE_CHARS_MAX: usize = 500;

impl Agent {
    /// Tells the agent what became of an attempt, once.
    pub(super) fn tell(&self, word: Word) {
        match word {
            Word::Report(report) => {
                let state = state_of(&report);
                let known = match state {
                    TaskState::TaskRunning => self.lock().contains(&report.attempt_id),
                    _ => self.lock().remove(&report.attempt_id),
                };
                if known {
                    let failure = report.failure.as_ref().map(|failure| failure.message.as_str());
                    let message = failure.unwrap_or_default().chars().take(MESSAGE_CHARS_MAX).collect();
                    self.update(&report.attempt_id, state, message, Some(report.encode_to_vec().into()));
                }
            }
            Word::Dropped(attempt_id) => {
                // Nobody wants its report, but Mesos is to have its resources back.
                if self.lock().remove(&attempt_id) {
                    let message = "the scheduler does not want it any more".to_owned();
                    self.update(&attempt_id, TaskState::TaskKilled, message, None);
                }
            }
        }
    }

    /// Sends an update; the session with the agent keeps it until it is acknowledged.
    pub(super) fn update(&self, task_id: &str, state: TaskState, message: String, data: Option<Bytes>) {
        let status = TaskStatus {
            task_id: task_id.into(),
            state: state as i32,
            message: Some(message).filter(|message| !message.is_empty()),
            data,
            ..TaskStatus::default()
        };
        let mesos = self.mesos.clone();
        // Polled once at least before it is dropped or waits, so that updates keep their order: it takes its turn first.
        let mut update = Box::pin(async move {
            if let Err(error) = mesos.update(status).await {
                debug!(%error, "the agent hears it at its next subscription");
            }
        });
        if futures::FutureExt::now_or_never(&mut update).is_none() {
            tokio::spawn(update);
        }
    }
}

fn state_of(report: &Report) -> TaskState {
    match report.state() {
        AttemptState::Running | AttemptState::Unspecified => TaskState::TaskRunning,
        AttemptState::Succeeded => TaskState::TaskFinished,
        AttemptState::Failed => match report.failure.as_ref().map(|failure| failure.class()) {
            Some(FailureClass::Cancelled) => TaskState::TaskKilled,
            _ => TaskState::TaskFailed,
        },
    }
}

#[cfg(test)]
mod tests {
    use meson_proto::v1::Failure;

    use super::*;

    #[test]
    fn states_of_reports_and_tasks() {
        let report = |state: AttemptState, class: FailureClass| Report {
            state: state.into(),
            failure: Some(Failure { class: class.into(), ..Failure::default() }),
            ..Report::default()
        };
        let of = |state, class| state_of(&report(state, class));
        assert_eq!(of(AttemptState::Running, FailureClass::Unspecified), TaskState::TaskRunning);
        assert_eq!(of(AttemptState::Succeeded, FailureClass::Unspecified), TaskState::TaskFinished);
        assert_eq!(of(AttemptState::Failed, FailureClass::User), TaskState::TaskFailed);
        assert_eq!(of(AttemptState::Failed, FailureClass::Cancelled), TaskState::TaskKilled);
    }
}
