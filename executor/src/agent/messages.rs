//! A session with the leader through framework messages of Mesos, where gRPC cannot pass. Mesos may lose messages, so
//! they are numbered; a gap ends the session, and another one is begun.

use std::sync::{Mutex, PoisonError};

use futures::{Stream, StreamExt as _};
use meson_proto::v1::framework_message::Message as Piece;
use meson_proto::v1::{FrameworkMessage, SessionRequest, SessionResponse};
use prost::Message as _;
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::debug;

use super::Agent;

/// Pieces that may wait to be taken in; more than that are a session that does not move.
const QUEUE_MAX: usize = 1_024;

/// The session that goes through messages, if one does.
#[derive(Debug, Default)]
pub struct Messages(Mutex<Option<Open>>);

#[derive(Debug)]
struct Open {
    session_id: String,
    /// The number of the next piece.
    next: u64,
    inbound: mpsc::Sender<Result<SessionResponse, Status>>,
}

impl Messages {
    /// Begins a session in place of an older one; returns what the leader says in it.
    fn open(&self, session_id: &str) -> ReceiverStream<Result<SessionResponse, Status>> {
        let (inbound, receiver) = mpsc::channel(QUEUE_MAX);
        let open = Open { session_id: session_id.to_owned(), next: 1, inbound };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
        ReceiverStream::new(receiver)
    }

    /// Takes in a message. What is not of the open session is of one that is over.
    pub fn heard(&self, data: &Bytes) {
        let Ok(FrameworkMessage { session_id, sequence, message: Some(Piece::Response(response)) }) =
            FrameworkMessage::decode(data.clone())
        else {
            return debug!("a message that is none of ours");
        };
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = slot.as_mut().filter(|open| open.session_id == session_id) else { return };
        let whole = open.next == sequence && open.inbound.try_send(Ok(response)).is_ok();
        open.next += 1;
        if !whole {
            debug!(sequence, "a piece is missing: the session is over");
            *slot = None;
        }
    }
}

impl Agent {
    /// Opens a session: sends the requests, and returns what is answered.
    pub fn session(
        &self,
        session_id: &str,
        requests: impl Stream<Item = SessionRequest> + Send + 'static,
    ) -> ReceiverStream<Result<SessionResponse, Status>> {
        let responses = self.messages.open(session_id);
        let (mesos, session_id) = (self.mesos.clone(), session_id.to_owned());
        tokio::spawn(async move {
            let mut requests = Box::pin(requests.enumerate());
            while let Some((index, request)) = requests.next().await {
                let (session_id, sequence) = (session_id.clone(), index as u64 + 1);
                let piece = FrameworkMessage { session_id, sequence, message: Some(Piece::Request(request)) };
                if let Err(error) = mesos.message(piece.encode_to_vec().into()).await {
                    // The leader notices the gap, or the silence.
                    return debug!(%error, "a message was not sent: the session is over");
                }
            }
        });
        responses
    }
}

#[cfg(test)]
mod tests {
    use meson_proto::v1::{HeartbeatAck, session_response};

    use super::*;

    fn piece(session_id: &str, sequence: u64) -> Bytes {
        let message = Some(session_response::Message::HeartbeatAck(HeartbeatAck { sequence }));
        let message = Some(Piece::Response(SessionResponse { message }));
        FrameworkMessage { session_id: session_id.to_owned(), sequence, message }.encode_to_vec().into()
    }

    #[tokio::test]
    async fn a_gap_ends_the_session_and_strangers_do_not() {
        let messages = Messages::default();
        let mut heard = messages.open("s");
        messages.heard(&piece("s", 1));
        messages.heard(&piece("an older one", 7));
        messages.heard(&Bytes::from_static(b"\xff\xff"));
        messages.heard(&piece("s", 2));
        assert!(heard.next().await.is_some() && heard.next().await.is_some());
        messages.heard(&piece("s", 4));
        messages.heard(&piece("s", 5));
        assert!(heard.next().await.is_none());
    }
}
