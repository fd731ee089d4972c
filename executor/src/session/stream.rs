//! One open stream to one replica.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, PollNext};
use futures::{StreamExt as _, TryStreamExt as _};
use meson_proto::v1::executor_service_client::ExecutorServiceClient;
use meson_proto::v1::session_request::Message as Said;
use meson_proto::v1::session_response::Message as Heard;
use meson_proto::v1::{Heartbeat, HeartbeatAck, Hello, Redirect, SessionRequest, SessionResponse, Welcome};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::{error, warn};

use super::endpoints::normal;
use crate::agent::Agent;
use crate::attempts::Executor;
use crate::channel;
use crate::clock;

/// Messages that may wait for the network.
const QUEUE_MAX: usize = 256;
/// Heartbeats that may wait for the network.
const BEATS_MAX: usize = 4;
/// Heartbeats without a word from the leader after which the session is given up.
const SILENT_HEARTBEATS: u32 = 3;
/// … but never sooner than this, or a busy machine would look like a dead leader.
const SILENCE_MIN: Duration = Duration::from_millis(500);
/// Heartbeats without an acknowledgement that are remembered.
const UNACKNOWLEDGED_MAX: usize = 64;
/// How long the answer to Hello may take: the leader asks a majority first.
const WELCOME_PATIENCE: Duration = Duration::from_secs(1);
/// The same by framework messages, which take the way over agent and master twice.
const WELCOME_PATIENCE_MESSAGES: Duration = Duration::from_secs(5);
/// A Hello lists all attempts, and so may be long.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// How a session ended.
#[derive(Debug)]
pub enum Ended {
    /// The replica does not lead.
    Redirected(Redirect),
    /// It was open and is not any more.
    Lost(String),
    /// It never was.
    Failed(String),
}

/// An open stream.
pub struct Stream {
    beats: mpsc::Sender<SessionRequest>,
    reports: mpsc::Sender<SessionRequest>,
    incoming: BoxStream<'static, Result<SessionResponse, Status>>,
    welcome_patience: Duration,
}

/// What the ends of the queues are made into.
type Requests = BoxStream<'static, SessionRequest>;

/// Queues of what is to be said; hello is in them. Heartbeats have a queue of their own that goes first: a flood of
/// reports must not cost the lease.
fn queues(hello: Hello) -> (mpsc::Sender<SessionRequest>, mpsc::Sender<SessionRequest>, Requests) {
    let (beats, beat_queue) = mpsc::channel(BEATS_MAX);
    let (reports, report_queue) = mpsc::channel(QUEUE_MAX);
    let first = stream::iter([SessionRequest { message: Some(Said::Hello(hello)) }]);
    let beats_first = |_: &mut ()| PollNext::Left;
    let rest = stream::select_with_strategy(
        ReceiverStream::new(beat_queue),
        ReceiverStream::new(report_queue),
        beats_first,
    );
    (beats, reports, first.chain(rest).boxed())
}

impl Stream {
    /// Connects and says hello.
    pub async fn open(address: &str, connect_timeout: Duration, hello: Hello) -> Result<Self, String> {
        let channel = channel::connect(&normal(address), connect_timeout).await?;
        let (beats, reports, queue) = queues(hello);
        let mut client = ExecutorServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let response = timeout(connect_timeout, client.session(queue))
            .await
            .map_err(|_| "no answer in time".to_owned())?
            .map_err(|status| status.message().to_owned())?;
        let incoming = response.into_inner().boxed();
        Ok(Self { beats, reports, incoming, welcome_patience: WELCOME_PATIENCE })
    }

    /// Says hello by framework messages of Mesos.
    pub fn through(agent: &Agent, session_id: &str, hello: Hello) -> Self {
        let (beats, reports, queue) = queues(hello);
        let incoming = agent.session(session_id, queue).boxed();
        Self { beats, reports, incoming, welcome_patience: WELCOME_PATIENCE_MESSAGES }
    }

    /// Waits for the answer to Hello.
    pub async fn welcome(&mut self) -> Result<Welcome, Ended> {
        match timeout(self.welcome_patience, self.incoming.try_next()).await {
            Ok(Ok(Some(SessionResponse { message: Some(Heard::Welcome(welcome)) }))) => Ok(welcome),
            Ok(Ok(Some(SessionResponse { message: Some(Heard::Redirect(redirect)) }))) => {
                Err(Ended::Redirected(redirect))
            }
            Ok(Ok(other)) => Err(Ended::Failed(format!("unexpected answer to hello: {other:?}"))),
            Ok(Err(status)) => Err(Ended::Failed(status.message().to_owned())),
            Err(_) => Err(Ended::Failed("no welcome in time".to_owned())),
        }
    }

    /// Serves the leader until the session ends.
    pub async fn serve(mut self, executor: &Arc<Executor>, welcome: &Welcome, term: &mut u64) -> Ended {
        let heartbeat = Duration::from_millis(welcome.heartbeat_ms.max(1));
        let mut pulse = Pulse::new(welcome.lease_ms);
        let mut tick = tokio::time::interval(heartbeat);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let patience = (heartbeat * SILENT_HEARTBEATS).max(SILENCE_MIN);
        let mut silent_until = Instant::now() + patience;
        let mut reports = tokio::task::JoinSet::new();
        reports.spawn(send_reports(executor.clone(), self.reports.clone()));
        reports.spawn(send_claims(executor.clone(), self.reports.clone()));
        loop {
            tokio::select! {
                biased;
                _ = tick.tick() => {
                    let beat = SessionRequest { message: Some(Said::Heartbeat(pulse.beat(executor))) };
                    // A full queue is a network that does not move: the lease will show it.
                    let _ = self.beats.try_send(beat);
                }
                heard = self.incoming.try_next() => match heard {
                    Ok(Some(SessionResponse { message: Some(message) })) => {
                        silent_until = Instant::now() + patience;
                        if let Some(ended) = take(executor, message, &mut pulse, term) {
                            return ended;
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => return Ended::Lost("the stream ended".to_owned()),
                    Err(status) => return Ended::Lost(status.message().to_owned()),
                },
                () = tokio::time::sleep_until(silent_until) => return Ended::Lost("the leader is silent".to_owned()),
            }
        }
    }
}

/// Sends reports, all that are not acknowledged first.
async fn send_reports(executor: Arc<Executor>, outgoing: mpsc::Sender<SessionRequest>) {
    executor.outbox.start_over();
    loop {
        let unsent = executor.outbox.take_unsent(QUEUE_MAX);
        if unsent.is_empty() {
            executor.outbox.changed().await;
        }
        for report in unsent {
            if outgoing.send(SessionRequest { message: Some(Said::Report(report)) }).await.is_err() {
                return;
            }
        }
    }
}

/// Asks for what Mesos brought and the leader has not permitted.
async fn send_claims(executor: Arc<Executor>, outgoing: mpsc::Sender<SessionRequest>) {
    executor.claims.start_over();
    loop {
        let claim = executor.claims.next().await;
        if outgoing.send(SessionRequest { message: Some(Said::Claim(claim)) }).await.is_err() {
            return;
        }
    }
}

/// Does what the leader says; an answer ends the session.
fn take(executor: &Arc<Executor>, message: Heard, pulse: &mut Pulse, term: &mut u64) -> Option<Ended> {
    match message {
        Heard::HeartbeatAck(ack) => pulse.acknowledged(executor, ack),
        Heard::Launch(launch) if launch.term < *term => {
            warn!(
                attempt_id = launch.attempt_id,
                term = launch.term,
                seen = *term,
                "launch of an old term refused"
            );
        }
        Heard::Launch(launch) => {
            *term = launch.term;
            executor.launch(launch);
        }
        Heard::Kill(kill) if kill.term < *term => {
            warn!(
                attempt_id = kill.attempt_id,
                term = kill.term,
                seen = *term,
                "kill of an old term refused"
            );
        }
        Heard::Kill(kill) => {
            *term = kill.term;
            executor.kill(&kill);
        }
        Heard::Permit(permit) => executor.permit(&permit.attempt_ids),
        Heard::ReportAck(ack) => executor.acknowledge(ack.report_id, &ack.refused),
        Heard::Redirect(redirect) => return Some(Ended::Redirected(redirect)),
        Heard::Welcome(_) => warn!("a second welcome was ignored"),
    }
    None
}

/// Heartbeats on their way, and when each was sent.
struct Pulse {
    lease_ms: u64,
    sequence: u64,
    sent: VecDeque<(u64, u64)>,
}

impl Pulse {
    fn new(lease_ms: u64) -> Self {
        Self { lease_ms, sequence: 0, sent: VecDeque::new() }
    }

    fn beat(&mut self, executor: &Executor) -> Heartbeat {
        self.sequence += 1;
        self.sent.push_back((self.sequence, clock::boot_ms()));
        if self.sent.len() > UNACKNOWLEDGED_MAX {
            self.sent.pop_front();
        }
        Heartbeat { sequence: self.sequence, progress: executor.progress(self.sequence == 1) }
    }

    fn acknowledged(&mut self, executor: &Executor, ack: HeartbeatAck) {
        while let Some((sequence, sent_at)) =
            self.sent.front().copied().filter(|(first, _)| *first <= ack.sequence)
        {
            self.sent.pop_front();
            if sequence == ack.sequence
                && let Err(error) = executor.lease.renew(sent_at, self.lease_ms)
            {
                error!(%error, "the lease cannot be written and is not renewed");
            }
        }
    }
}
