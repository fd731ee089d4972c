//! The stream between an executor and a replica: in order in each direction, slow, and broken by a cut that lasts.

use std::time::Duration;

use meson_proto::v1::session_response::Message;
use meson_proto::v1::{SessionRequest, SessionResponse};
use meson_scheduler::api::executors;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::world::{Host, World};

const QUEUE: usize = 4_096;

/// The executor's end of a stream.
pub struct Session {
    /// To the replica.
    pub outgoing: mpsc::Sender<SessionRequest>,
    /// From the replica.
    pub incoming: mpsc::Receiver<SessionResponse>,
}

/// Opens a stream to a replica, which serves it by its own code.
pub async fn open(world: &World, executor: Host, replica: Host) -> Option<Session> {
    if !world.carry(executor, replica).await {
        return None;
    }
    let up = world.up(replica)?;
    let incarnation = up.incarnation;
    let (outgoing, sent) = mpsc::channel(QUEUE);
    let (delivered, inbound) = mpsc::channel(QUEUE);
    let link = Link { world: world.clone(), replica, incarnation };
    tokio::task::spawn_local(link.clone().carry(sent, delivered, (executor, replica), Ok));
    let (outbound, ordered) = mpsc::channel::<Result<SessionResponse, Status>>(QUEUE);
    let (checked, unsent) = mpsc::channel(QUEUE);
    tokio::task::spawn_local(link.clone().check(ordered, checked));
    let (received, incoming) = mpsc::channel(QUEUE);
    tokio::task::spawn_local(link.carry(unsent, received, (replica, executor), |message| message));
    tokio::task::spawn_local(async move {
        let inbound = ReceiverStream::new(inbound);
        if let Err(status) = executors::session(up.shared, inbound, outbound.clone()).await {
            // The executor may be gone already.
            let _ = outbound.send(Err(status)).await;
        }
    });
    Some(Session { outgoing, incoming })
}

/// One stream's connection.
#[derive(Clone)]
struct Link {
    world: World,
    replica: Host,
    incarnation: u64,
}

impl Link {
    /// Carries one direction until an end closes, the replica dies or the link is cut for good.
    async fn carry<T, U>(
        self,
        mut from: mpsc::Receiver<T>,
        to: mpsc::Sender<U>,
        (sender, receiver): (Host, Host),
        wrap: impl Fn(T) -> U,
    ) {
        loop {
            let message = tokio::select! {
                biased;
                () = to.closed() => return,
                message = from.recv() => message,
            };
            let Some(message) = message else { return };
            // A lost packet is sent again; a connection that carries nothing for long breaks.
            let mut tries = 0;
            while !self.world.carry(sender, receiver).await {
                tries += 1;
                if tries > 10 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            if !self.world.is_up(self.replica, self.incarnation) || to.send(wrap(message)).await.is_err() {
                return;
            }
        }
    }

    /// Looks at what a replica orders, at the moment it does.
    async fn check(
        self,
        mut ordered: mpsc::Receiver<Result<SessionResponse, Status>>,
        to: mpsc::Sender<SessionResponse>,
    ) {
        while let Some(Ok(response)) = ordered.recv().await {
            let term = match &response.message {
                Some(Message::Launch(launch)) => Some(launch.term),
                Some(Message::Kill(kill)) => Some(kill.term),
                _ => None,
            };
            if let Some(term) = term.filter(|_| self.world.is_up(self.replica, self.incarnation)) {
                self.world.history(|history| history.ordered(self.replica, term));
            }
            if to.send(response).await.is_err() {
                return;
            }
        }
    }
}
