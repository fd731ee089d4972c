//! Sessions with executors that gRPC cannot reach: the same session, piece by piece through framework messages. Mesos may
//! lose them, so pieces are numbered, and a gap ends the session; the executor begins another.

use std::collections::HashMap;

use meson_mesos::scheduler::{Message, Scheduler, call};
use meson_proto::v1::framework_message::Message as Piece;
use meson_proto::v1::{FrameworkMessage, SessionRequest, SessionResponse, session_request};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::{debug, info};

use crate::api::executors;
use crate::shared::Shared;

/// Pieces that wait to be taken in, or to be sent.
const QUEUE_MAX: usize = 1_024;

/// The sessions, by agent and executor.
#[derive(Default)]
pub struct Channels {
    open: HashMap<(String, String), Channel>,
}

struct Channel {
    session_id: String,
    /// The number of the next piece.
    next: u64,
    inbound: mpsc::Sender<Result<SessionRequest, Status>>,
}

impl Channels {
    /// No more sessions: another one has to be begun for each.
    pub fn clear(&mut self) {
        self.open.clear();
    }

    /// Takes in a message of an executor.
    pub fn heard(&mut self, shared: &Shared, scheduler: Option<Scheduler>, message: Message) {
        let key = (message.agent_id.value.clone(), message.executor_id.value.clone());
        let Ok(FrameworkMessage { session_id, sequence, message: Some(Piece::Request(request)) }) =
            FrameworkMessage::decode(message.data.clone())
        else {
            return debug!(agent = key.0, executor = key.1, "a message that is none of ours");
        };
        if sequence == 1 {
            let Some(scheduler) = scheduler.filter(|_| speaks_for_itself(&request, &key)) else { return };
            info!(agent = key.0, executor = key.1, "a session through framework messages");
            let inbound = begin(shared.clone(), scheduler, &message, session_id.clone());
            self.open.insert(key.clone(), Channel { session_id: session_id.clone(), next: 1, inbound });
        }
        let Some(channel) = self.open.get_mut(&key).filter(|channel| channel.session_id == session_id) else {
            return;
        };
        let whole = sequence == channel.next && channel.inbound.try_send(Ok(request)).is_ok();
        channel.next += 1;
        if !whole {
            debug!(agent = key.0, executor = key.1, sequence, "a piece is missing: the session is over");
            self.open.remove(&key);
        }
    }
}

/// Whether a hello is of the executor that Mesos says it comes from.
fn speaks_for_itself(request: &SessionRequest, (agent, executor): &(String, String)) -> bool {
    let Some(session_request::Message::Hello(hello)) = &request.message else { return false };
    hello.mesos.as_ref().is_some_and(|mesos| mesos.agent_id == *agent && mesos.executor_id == *executor)
}

/// Serves a session in the background. It ends when the sender that it returns is dropped.
fn begin(
    shared: Shared,
    scheduler: Scheduler,
    message: &Message,
    session_id: String,
) -> mpsc::Sender<Result<SessionRequest, Status>> {
    let (inbound, requests) = mpsc::channel(QUEUE_MAX);
    let (outbound, responses) = mpsc::channel(QUEUE_MAX);
    let (agent_id, executor_id) = (message.agent_id.clone(), message.executor_id.clone());
    tokio::spawn(async move {
        let served = executors::session(shared, ReceiverStream::new(requests), outbound).await;
        if let Err(status) = served {
            debug!(%status, "a session through framework messages ended");
        }
    });
    tokio::spawn(async move {
        let mut responses: mpsc::Receiver<Result<SessionResponse, Status>> = responses;
        let mut sequence = 0;
        while let Some(Ok(response)) = responses.recv().await {
            sequence += 1;
            let session_id = session_id.clone();
            let piece = FrameworkMessage { session_id, sequence, message: Some(Piece::Response(response)) };
            let call = call::message(executor_id.clone(), agent_id.clone(), piece.encode_to_vec().into());
            if let Err(error) = scheduler.call(call).await {
                return debug!(%error, "a message was not sent: the session is over");
            }
        }
    });
    inbound
}
