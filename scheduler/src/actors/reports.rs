//! Reports of attempts, whichever way they come: proposed until they are decided, for only then may their sender forget
//! them.

use std::time::Duration;

use meson_engine::State;
use meson_engine::command::{Event, Report};
use meson_engine::ids::AttemptId;
use meson_engine::outcome::RefusalKind;
use meson_engine::record::{Artifact, Attempt, Failure};
use meson_engine::status::FailureClass;
use meson_proto::v1;
use meson_raft::sabotage;
use tracing::warn;

use crate::proposer::Error;
use crate::shared::Shared;

/// Pause before a report is proposed again that did not get through.
const REPORT_RETRY: Duration = Duration::from_millis(100);

/// The attempt of this id, if it lives.
pub fn live_attempt<'a>(state: &'a State, attempt_id: &str) -> Option<&'a Attempt> {
    let id: AttemptId = attempt_id.parse().ok()?;
    let node = state.run(&id.run_id)?.nodes.get(&id.node).filter(|node| node.status().is_live())?;
    node.attempt.as_deref().filter(|attempt| attempt.number == id.attempt)
}

/// Proposes a report until it is decided. Returns the refusal, empty for none; none when nobody waits for it any more
/// (`is_over`), or another leader is to decide it.
pub async fn decide(shared: &Shared, report: v1::Report, is_over: impl Fn() -> bool) -> Option<String> {
    let mut report = command(report);
    if sabotage::without("fencing") {
        report = as_of_the_current_attempt(shared, report);
    }
    loop {
        match shared.proposer.propose(report.clone()).await {
            Ok(_) => return Some(String::new()),
            // Nothing was decided about it: another leader was quicker, and is to hear it.
            Err(Error::Refused(refusal)) if refusal.kind() == RefusalKind::StaleTerm => return None,
            Err(Error::Refused(refusal)) => return Some(refusal.message),
            Err(Error::TooLarge { size, max }) => {
                warn!(attempt_id = report.attempt_id, size, max, "a report is too large for the log");
                let message = format!("the report has {size} bytes; {max} are allowed");
                let failure = Failure::new(FailureClass::User, "output_too_large", message);
                let event = Event::Failed as i32;
                report = Report { event, failure: Some(failure), ..report };
                report.outputs.clear();
                report.artifacts.clear();
            }
            Err(Error::NotLeader(_) | Error::Stopped | Error::Format { .. }) => return None,
            Err(Error::Busy | Error::DiskFull { .. } | Error::Unknown) if is_over() => {
                return None;
            }
            Err(Error::Busy | Error::DiskFull { .. } | Error::Unknown) => {
                tokio::time::sleep(REPORT_RETRY).await;
            }
        }
    }
}

/// What believing whoever speaks for a step would be: see [`sabotage`].
fn as_of_the_current_attempt(shared: &Shared, report: Report) -> Report {
    let state = shared.published.state();
    let current = report.attempt_id.parse::<AttemptId>().ok().and_then(|id| {
        let attempt = state.run(&id.run_id)?.nodes.get(&id.node)?.attempt.as_ref()?;
        Some((AttemptId { attempt: attempt.number, ..id }.to_string(), attempt.fence))
    });
    match current {
        Some((attempt_id, fence)) => Report { attempt_id, fence, ..report },
        None => report,
    }
}

fn command(report: v1::Report) -> Report {
    let event = match report.state() {
        v1::AttemptState::Running => Event::Running,
        v1::AttemptState::Succeeded => Event::Succeeded,
        v1::AttemptState::Failed | v1::AttemptState::Unspecified => Event::Failed,
    };
    let artifact = |artifact: v1::Artifact| Artifact { name: artifact.name, uri: artifact.uri };
    let failure = report.failure.map(|failure| Failure {
        class: failure.class,
        reason: failure.reason,
        message: failure.message,
    });
    Report {
        attempt_id: report.attempt_id,
        fence: report.fence,
        event: event as i32,
        failure,
        outputs: report.outputs_json.into(),
        artifacts: report.artifacts.into_iter().map(artifact).collect(),
        started_ms: report.started_at_ms,
        log_complete: report.log_complete,
    }
}
