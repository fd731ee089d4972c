//! ExecutorService: opens sessions. The leader compares what an executor says it has with what the state says it should
//! have, then takes it; any other replica shows the way.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use actix::Actor as _;
use futures::{Stream, TryStreamExt as _};
use meson_engine::command::AttemptLost;
use meson_engine::record::{Agent, Failure};
use meson_engine::status::{FailureClass, NodeStatus};
use meson_proto::v1::executor_service_server::ExecutorService;
use meson_proto::v1::*;
use meson_raft::sabotage;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};

use super::{convert, errors};
use crate::actors::Stop;
use crate::actors::session::{Inbound, SessionActor};
use crate::resources::local::Outbound;
use crate::resources::mesos::{session_key, session_of};
use crate::shared::Shared;

/// Messages to an executor that may wait in its stream.
const OUTBOUND_MAX: usize = 8_192;

/// How long an executor may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest executor id, in characters.
const ID_CHARS_MAX: usize = 128;

/// Most attempts one executor may say it has.
const KNOWN_MAX: usize = 100_000;

/// The service.
pub struct Executors {
    /// What all faces share.
    pub shared: Shared,
}

#[tonic::async_trait]
impl ExecutorService for Executors {
    type SessionStream = BoxStream<SessionResponse>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (outbound, stream) = mpsc::channel(OUTBOUND_MAX);
        let (shared, inbound) = (self.shared.clone(), request.into_inner());
        // The stream goes back before the first message is read: a client may wait for our headers before it speaks.
        tokio::spawn(async move {
            if let Err(status) = session(shared, inbound, outbound.clone()).await {
                // The executor may be gone already.
                let _ = outbound.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// Serves one session to its end.
///
/// # Errors
/// What is to be told to the executor last.
pub async fn session(
    shared: Shared,
    mut inbound: impl Stream<Item = Result<SessionRequest, Status>> + Unpin,
    outbound: Outbound,
) -> Result<(), Status> {
    let hello = tokio::time::timeout(HELLO_TIMEOUT, inbound.try_next())
        .await
        .map_err(|_| Status::deadline_exceeded("no hello came"))??;
    let Some(session_request::Message::Hello(hello)) = hello.and_then(|request| request.message) else {
        return Err(errors::invalid("message", "a session begins with hello"));
    };
    check(&hello)?;
    check_mesos(&shared, &hello)?;
    let Some(term) = *shared.leading.borrow() else {
        return send(&outbound, session_response::Message::Redirect(redirect(&shared))).await;
    };
    send(&outbound, session_response::Message::Welcome(welcome(&shared, term))).await?;
    let has = compare(&shared, term, &hello, &outbound).await?;
    let agent = key(&hello);
    let Some(id) = shared.sessions.open(term, &agent, outbound.clone(), has) else {
        return send(&outbound, session_response::Message::Redirect(redirect(&shared))).await;
    };
    info!(agent, id, term, "executor connected");
    let actor = {
        let (shared, agent, outbound) = (shared.clone(), agent.clone(), outbound.clone());
        SessionActor::start_in_arbiter(&shared.arbiter.clone(), move |_| {
            SessionActor::new(shared, agent, id, outbound)
        })
    };
    if hello.mesos.is_none() {
        shared.proposer.propose(agent_of(hello)).await.map_err(|error| errors::propose(&error))?;
    }
    shared.reconcile.notify_one();
    let ended = loop {
        match inbound.try_next().await {
            Ok(Some(SessionRequest { message: Some(message) })) => {
                if actor.send(Inbound(message)).await.is_err() {
                    break "another replica leads";
                }
            }
            Ok(Some(SessionRequest { message: None })) => {}
            Ok(None) => break "it left",
            Err(_) => break "the connection broke",
        }
    };
    info!(agent, id, ended, "executor disconnected");
    // The actor may be gone already.
    let _ = actor.send(Stop).await;
    Ok(())
}

async fn send(outbound: &Outbound, message: session_response::Message) -> Result<(), Status> {
    let message = SessionResponse { message: Some(message) };
    outbound.send(Ok(message)).await.map_err(|_| Status::cancelled("the executor left"))
}

fn check(hello: &Hello) -> Result<(), Status> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let id = &hello.executor_id;
    if id.is_empty() || id.len() > ID_CHARS_MAX || !id.chars().all(legal) {
        let message = format!("an executor id has 1 to {ID_CHARS_MAX} letters, digits, `.`, `_` and `-`");
        return Err(errors::invalid("hello.executor_id", message));
    }
    if hello.resources.is_none() {
        return Err(errors::invalid("hello.resources", "an executor says what it offers"));
    }
    if hello.attempts.len() > KNOWN_MAX {
        return Err(errors::invalid("hello.attempts", format!("more than {KNOWN_MAX} attempts")));
    }
    Ok(())
}

/// An executor on Mesos is ours only if the framework is.
fn check_mesos(shared: &Shared, hello: &Hello) -> Result<(), Status> {
    let Some(mesos) = &hello.mesos else { return Ok(()) };
    for (name, id) in [("agent_id", &mesos.agent_id), ("executor_id", &mesos.executor_id)] {
        if id.is_empty() || id.contains('/') {
            return Err(errors::invalid(&format!("hello.mesos.{name}"), "it is empty, or has a slash"));
        }
    }
    // A replica that lags behind may not know the id yet; it shows the way to the leader.
    let known = shared.published.state().framework_id.clone();
    if shared.is_leading() && mesos.framework_id != known {
        let message = format!("this cluster is framework `{known}`, not `{}`", mesos.framework_id);
        return Err(errors::invalid("hello.mesos.framework_id", message));
    }
    Ok(())
}

/// The key of its session.
fn key(hello: &Hello) -> String {
    match &hello.mesos {
        Some(mesos) => session_key(&mesos.agent_id, &mesos.executor_id),
        None => hello.executor_id.clone(),
    }
}

fn replica_addresses(shared: &Shared) -> Vec<String> {
    shared.replica.members().into_iter().map(|member| member.api_address).collect()
}

fn redirect(shared: &Shared) -> Redirect {
    let role = shared.replica.role().borrow().clone();
    let own = shared.config.node_id;
    let leader = role.leader.filter(|leader| leader.node_id != own);
    let leader_address = leader.map(|leader| leader.api_address).unwrap_or_default();
    Redirect { leader_address, replica_addresses: replica_addresses(shared) }
}

fn welcome(shared: &Shared, term: u64) -> Welcome {
    Welcome {
        term,
        lease_ms: shared.config.lease_ms,
        heartbeat_ms: shared.config.heartbeat_ms,
        replica_addresses: replica_addresses(shared),
    }
}

fn agent_of(hello: Hello) -> Agent {
    Agent {
        agent_id: hello.executor_id,
        total: convert::amounts(&hello.resources.unwrap_or_default()),
        attributes: hello.attributes.into_iter().collect(),
        kinds: hello.kinds,
        hostname: hello.hostname,
        version: hello.version,
        ..Agent::default()
    }
}

/// Compares what the executor has with what it should have. What it has and should not is killed and dropped; what it
/// reported running and no longer has is lost; what was never confirmed is launched again by the attempt's actor.
/// Returns the ids of the attempts that it rightly has.
async fn compare(
    shared: &Shared,
    term: u64,
    hello: &Hello,
    outbound: &Outbound,
) -> Result<HashSet<String>, Status> {
    let state = shared.published.state();
    let agent = hello.mesos.as_ref().map_or(&hello.executor_id, |mesos| &mesos.agent_id);
    let session = key(hello);
    let live = state.index.live.get(agent).cloned().unwrap_or_default();
    let mut expected = HashMap::new();
    for (run, node) in live {
        let Some(record) = state.runs.get(&run) else { continue };
        let (Some(id), Some(node)) = (record.attempt_id(node), record.nodes.get(&node)) else { continue };
        let Some(attempt) = node.attempt.as_ref().filter(|attempt| session_of(attempt) == session) else {
            continue;
        };
        let fence = attempt.fence;
        expected.insert(id.to_string(), (fence, node.status()));
    }
    let mut has = HashSet::new();
    for known in &hello.attempts {
        let own = expected.get(&known.attempt_id).is_some_and(|(fence, _)| *fence == known.fence);
        if own || sabotage::without("fencing") {
            has.insert(known.attempt_id.clone());
            continue;
        }
        warn!(attempt_id = known.attempt_id, "an executor has an attempt that is not wanted any more");
        let kill = Kill {
            term,
            attempt_id: known.attempt_id.clone(),
            fence: known.fence,
            grace_ms: shared.config.kill_grace_ms,
            discard: true,
        };
        send(outbound, session_response::Message::Kill(kill)).await?;
    }
    for (attempt_id, (fence, status)) in expected {
        if status != NodeStatus::Running || has.contains(&attempt_id) {
            continue;
        }
        let message = "the executor came back without the attempt";
        let failure = Failure::new(FailureClass::Platform, "executor_lost_attempt", message);
        let command = AttemptLost { attempt_id, fence, failure };
        match shared.proposer.propose(command).await {
            Ok(_) | Err(crate::proposer::Error::Refused(_)) => {}
            Err(error) => return Err(errors::propose(&error)),
        }
    }
    Ok(has)
}
