//! One actor for each executor session: takes in heartbeats and reports, and answers them once they are decided. A
//! heartbeat is acknowledged only after a majority confirmed this leader later than the heartbeat came in; so a deposed
//! leader cannot prolong a lease that its successor believes ended (P3). A report is acknowledged only after commit.

use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use meson_engine::command::{Event, Report};
use meson_engine::ids::AttemptId;
use meson_engine::outcome::RefusalKind;
use meson_engine::record::{Artifact, Failure};
use meson_engine::status::FailureClass;
use meson_proto::v1::{self, session_request, session_response};
use meson_raft::sabotage;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Stop;
use crate::proposer::Error;
use crate::resources::local::Outbound;
use crate::shared::Shared;

/// How often heartbeats are looked at for acknowledgement.
const ACK_EVERY: Duration = Duration::from_millis(100);

/// Pause before a report is proposed again that did not get through.
const REPORT_RETRY: Duration = Duration::from_millis(100);

/// Heartbeats that may wait for acknowledgement; older ones are forgotten, a newer one covers them.
const UNACKED_MAX: usize = 64;

/// The actor of one session.
pub struct SessionActor {
    shared: Shared,
    agent: String,
    id: u64,
    outbound: Outbound,
    unacked: Vec<(u64, Instant)>,
}

/// What the executor said.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Inbound(pub session_request::Message);

impl SessionActor {
    /// The actor of a session that `Sessions::open` gave this id.
    pub fn new(shared: Shared, agent: String, id: u64, outbound: Outbound) -> Self {
        SessionActor { shared, agent, id, outbound, unacked: Vec::new() }
    }

    fn heartbeat(&mut self, heartbeat: v1::Heartbeat) {
        if self.unacked.len() >= UNACKED_MAX {
            self.unacked.remove(0);
        }
        self.unacked.push((heartbeat.sequence, Instant::now()));
        heartbeat.progress.into_iter().for_each(|progress| self.shared.soft.update(progress));
    }

    fn acknowledge(&mut self) {
        let Some(confirmed) = self.shared.replica.quorum_acked_at() else { return };
        let newest = self.unacked.iter().rposition(|(_, heard)| *heard <= confirmed);
        let Some(newest) = newest else { return };
        let sequence = self.unacked[newest].0;
        self.unacked.drain(..=newest);
        self.send(session_response::Message::HeartbeatAck(v1::HeartbeatAck { sequence }));
    }

    fn send(&self, message: session_response::Message) {
        if self.outbound.try_send(Ok(v1::SessionResponse { message: Some(message) })).is_err() {
            debug!(agent = self.agent, "an executor does not keep up; what is lost is sent again");
        }
    }

    fn report(&self, report: v1::Report) {
        let (shared, outbound) = (self.shared.clone(), self.outbound.clone());
        let report_id = report.report_id;
        actix::spawn(async move {
            let Some(refused) = decide(&shared, command(report), &outbound).await else { return };
            let ack = session_response::Message::ReportAck(v1::ReportAck { report_id, refused });
            // A closed session needs no answer: the report comes again in the next one.
            let _ = outbound.send(Ok(v1::SessionResponse { message: Some(ack) })).await;
        });
    }
}

/// Proposes a report until it is decided. Returns the refusal, empty for none; none when the session is over first.
async fn decide(shared: &Shared, report: Report, outbound: &Outbound) -> Option<String> {
    let report =
        if sabotage::without("fencing") { as_of_the_current_attempt(shared, report) } else { report };
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
                let smaller = Report { event, failure: Some(failure), ..report };
                let smaller = Report { outputs: bytes::Bytes::new(), artifacts: Vec::new(), ..smaller };
                return Box::pin(decide(shared, smaller, outbound)).await;
            }
            Err(Error::NotLeader(_) | Error::Stopped | Error::Format { .. }) => return None,
            Err(Error::Busy | Error::DiskFull { .. } | Error::Unknown) if outbound.is_closed() => {
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

impl Actor for SessionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(ACK_EVERY, |actor, ctx| {
            actor.acknowledge();
            if actor.outbound.is_closed() || !actor.shared.is_leading() {
                ctx.stop();
            }
        });
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.shared.sessions.close(&self.agent, self.id);
    }
}

impl Handler<Inbound> for SessionActor {
    type Result = ();
    fn handle(&mut self, Inbound(message): Inbound, _: &mut Self::Context) {
        self.shared.sessions.heard(&self.agent, self.id);
        match message {
            session_request::Message::Heartbeat(heartbeat) => self.heartbeat(heartbeat),
            session_request::Message::Report(report) => self.report(report),
            session_request::Message::Hello(_) => warn!(agent = self.agent, "an executor said hello twice"),
        }
    }
}

impl Handler<Stop> for SessionActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
