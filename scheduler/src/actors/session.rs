//! One actor for each executor session: takes in heartbeats and reports, and answers them once they are decided. A
//! heartbeat is acknowledged only after a majority confirmed this leader later than the heartbeat came in; so a deposed
//! leader cannot prolong a lease that its successor believes ended (P3). A report is acknowledged only after commit.

use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use meson_engine::status::KillCause;
use meson_proto::v1::{self, session_request, session_response};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Stop;
use super::reports::{self, live_attempt};
use crate::resources::local::Outbound;
use crate::resources::mesos::session_of;
use crate::shared::Shared;

/// How often heartbeats are looked at for acknowledgement.
const ACK_EVERY: Duration = Duration::from_millis(100);

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

    /// A task may reach its executor long after its attempt was given up, so it is not begun without asking (P3). No
    /// majority has to be asked: what is begun needs a lease besides, which a leader that was replaced cannot prolong.
    fn claim(&self, claim: v1::Claim) {
        let Some(term) = *self.shared.leading.borrow() else { return };
        let state = self.shared.published.state();
        let mut permitted = Vec::new();
        for known in claim.attempts {
            let attempt = live_attempt(&state, &known.attempt_id)
                .filter(|attempt| attempt.fence == known.fence && session_of(attempt) == self.agent);
            match attempt.map(|attempt| attempt.kill()) {
                Some(KillCause::No) => permitted.push(known.attempt_id),
                kill => self.send(session_response::Message::Kill(v1::Kill {
                    term,
                    attempt_id: known.attempt_id,
                    fence: known.fence,
                    grace_ms: self.shared.config.kill_grace_ms,
                    discard: kill.is_none(),
                })),
            }
        }
        if !permitted.is_empty() {
            self.send(session_response::Message::Permit(v1::Permit { attempt_ids: permitted }));
        }
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
            let decided = reports::decide(&shared, report, || outbound.is_closed()).await;
            let Some(refused) = decided else { return };
            let ack = session_response::Message::ReportAck(v1::ReportAck { report_id, refused });
            // A closed session needs no answer: the report comes again in the next one.
            let _ = outbound.send(Ok(v1::SessionResponse { message: Some(ack) })).await;
        });
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
            session_request::Message::Claim(claim) => self.claim(claim),
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
