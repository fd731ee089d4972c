//! What the consensus library tells other replicas, as messages of the contract between them; how they get there is
//! the transport's matter, which is gRPC unless a simulation stands in its place.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, Stream, StreamExt as _};
use meson_proto::raft::v1::{
    AppendEntriesRequest, AppendEntriesResponse, InquireRequest, InquireResponse, InstallSnapshotRequest,
    InstallSnapshotResponse, RequestVoteRequest, RequestVoteResponse, SnapshotHeader, TakeOverRequest,
    TakeOverResponse,
};
use openraft::AnyError;
use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft as library;
use prost::Message;
use tokio::time::Instant;
use tonic::Status;

use crate::acks::Acks;
use crate::codec::{AppendAnswer, AppendCall, SnapshotCall, VoteAnswer, VoteCall, VoteMessage};
use crate::config::{Config, Member};
use crate::snapshot::SnapshotFile;
use crate::types::{Snapshot, TypeConfig, Vote};

const CHUNK_BYTES: usize = 512 << 10;
/// A snapshot may take this long, and a second more for every MiB.
const SNAPSHOT_SECONDS: u64 = 60;
/// Calls about members rather than entries are answered within this.
const ADMIN_DEADLINE: Duration = Duration::from_secs(1);

type CallError = RPCError<u64, Member, RaftError<u64>>;

/// Brings messages to other replicas and their answers back, each within its deadline.
#[tonic::async_trait]
pub trait Transport: Send + Sync + 'static {
    /// One call of this name.
    async fn append_entries(
        &self,
        peer: &Member,
        message: AppendEntriesRequest,
        deadline: Duration,
    ) -> Result<AppendEntriesResponse, Status>;
    /// One call of this name.
    async fn request_vote(
        &self,
        peer: &Member,
        message: RequestVoteRequest,
        deadline: Duration,
    ) -> Result<RequestVoteResponse, Status>;
    /// One call of this name.
    async fn install_snapshot(
        &self,
        peer: &Member,
        messages: Messages,
        deadline: Duration,
    ) -> Result<InstallSnapshotResponse, Status>;
    /// One call of this name.
    async fn inquire(
        &self,
        peer: &Member,
        message: InquireRequest,
        deadline: Duration,
    ) -> Result<InquireResponse, Status>;
    /// One call of this name.
    async fn take_over(
        &self,
        peer: &Member,
        message: TakeOverRequest,
        deadline: Duration,
    ) -> Result<TakeOverResponse, Status>;
}

/// A snapshot on its way: the header, then the bytes in chunks. A type with a name, as the compiler cannot prove what
/// tonic asks of a boxed stream.
pub struct Messages(BoxStream<'static, InstallSnapshotRequest>);

impl Stream for Messages {
    type Item = InstallSnapshotRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

/// Makes connections to peers; clones share them.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

struct Inner {
    group_id: u64,
    heartbeat: Duration,
    acks: Acks,
    transport: Arc<dyn Transport>,
    /// A voter has more entries than this replica had when it last stood.
    greater_log: AtomicBool,
}

impl Network {
    /// For a replica so configured; what followers confirm is noted in `acks`.
    pub fn new(config: &Config, acks: Acks, transport: Arc<dyn Transport>) -> Self {
        let inner = Inner {
            group_id: config.group_id,
            heartbeat: Duration::from_millis(config.heartbeat_ms),
            acks,
            transport,
            greater_log: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    fn peer(&self, target: u64, node: &Member) -> Peer {
        // The name in the membership counts, whatever the record says of itself.
        let member = Member { node_id: target, ..node.clone() };
        Peer { member, inner: self.inner.clone() }
    }

    /// Whether a voter has said since the last candidacy that it has more entries.
    pub fn saw_greater_log(&self) -> bool {
        self.inner.greater_log.load(Ordering::Relaxed)
    }

    /// A new candidacy begins.
    pub fn forget_greater_log(&self) {
        self.inner.greater_log.store(false, Ordering::Relaxed);
    }

    /// Asks another replica what it is.
    pub async fn inquire(
        &self,
        member: &Member,
        asker: u64,
        founding: bool,
    ) -> Result<InquireResponse, Status> {
        let message = InquireRequest { group_id: self.inner.group_id, node_id: asker, founding };
        let answer = self.inner.transport.inquire(member, message, ADMIN_DEADLINE).await?;
        if answer.node_id != member.node_id {
            let text =
                format!("{} is replica {}, not {}", member.raft_address, answer.node_id, member.node_id);
            return Err(Status::failed_precondition(text));
        }
        Ok(answer)
    }

    /// Has a follower stand for election.
    pub async fn hand_over(
        &self,
        member: &Member,
        leader: u64,
        term: u64,
        last_log_index: u64,
    ) -> Result<(), Status> {
        let group_id = self.inner.group_id;
        let message = TakeOverRequest { group_id, target: member.node_id, leader, term, last_log_index };
        self.inner.transport.take_over(member, message, ADMIN_DEADLINE).await.map(drop)
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &Member) -> Peer {
        self.peer(target, node)
    }
}

/// Another replica.
pub struct Peer {
    member: Member,
    inner: Arc<Inner>,
}

impl Peer {
    async fn send_snapshot(&self, vote: Vote, snapshot: Snapshot) -> Result<Vote, SendError> {
        let file = *snapshot.snapshot;
        let call = SnapshotCall {
            target: self.member.node_id,
            meta: serde_json::to_vec(&snapshot.meta)
                .map_err(|error| SendError(AnyError::new(&error)))?
                .into(),
        };
        let header = SnapshotHeader {
            group_id: self.inner.group_id,
            vote: VoteMessage::from(vote).encode_to_vec().into(),
            meta: call.encode_to_vec().into(),
            size_bytes: file.size,
            sha256: Bytes::copy_from_slice(&file.digest),
        };
        let deadline = Duration::from_secs(SNAPSHOT_SECONDS + (file.size >> 20));
        let messages = Messages(messages(header, file).boxed());
        let sending = self.inner.transport.install_snapshot(&self.member, messages, deadline);
        let answer = tokio::time::timeout(deadline, sending)
            .await
            .map_err(|_| SendError(AnyError::error("sending the snapshot took too long")))?
            .map_err(|status| SendError(AnyError::new(&status)))?;
        let vote = VoteMessage::decode(answer.payload).map_err(|error| SendError(AnyError::new(&error)))?;
        Ok(vote.into())
    }
}

/// Why a snapshot did not arrive.
struct SendError(AnyError);

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        rpc: library::AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<library::AppendEntriesResponse<u64>, CallError> {
        let vote = rpc.vote;
        let payload = AppendCall::new(self.member.node_id, rpc).encode_to_vec().into();
        let message = AppendEntriesRequest { group_id: self.inner.group_id, payload };
        let sent_at = Instant::now();
        let answer = self.inner.transport.append_entries(&self.member, message, option.hard_ttl()).await;
        let answer = AppendAnswer::decode(answer.map_err(unreachable)?.payload).map_err(undecodable)?;
        let answer = library::AppendEntriesResponse::try_from(answer).map_err(undecodable)?;
        if !matches!(answer, library::AppendEntriesResponse::HigherVote(_)) {
            self.inner.acks.record(vote, self.member.node_id, sent_at);
        }
        Ok(answer)
    }

    async fn vote(
        &mut self,
        rpc: library::VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<library::VoteResponse<u64>, CallError> {
        let mine = rpc.last_log_id;
        let payload = VoteCall::new(self.member.node_id, rpc).encode_to_vec().into();
        let message = RequestVoteRequest { group_id: self.inner.group_id, payload };
        let answer = self.inner.transport.request_vote(&self.member, message, option.hard_ttl()).await;
        let answer = VoteAnswer::decode(answer.map_err(unreachable)?.payload).map_err(undecodable)?;
        let answer: library::VoteResponse<u64> = answer.into();
        if answer.last_log_id > mine {
            self.inner.greater_log.store(true, Ordering::Relaxed);
        }
        Ok(answer)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<library::SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, snapshot) => match sent {
                Ok(vote) => Ok(library::SnapshotResponse::new(vote)),
                Err(SendError(reason)) => Err(StreamingError::Unreachable(Unreachable::from(reason))),
            },
        }
    }

    fn backoff(&self) -> Backoff {
        // Short: while it lasts not even heartbeats are sent, and a follower that is back must not elect.
        Backoff::new(std::iter::repeat(self.inner.heartbeat))
    }
}

/// The header, then the bytes. A file that cannot be read ends the stream early, which the receiver notices.
fn messages(header: SnapshotHeader, file: SnapshotFile) -> impl Stream<Item = InstallSnapshotRequest> {
    let first = InstallSnapshotRequest { header: Some(header), chunk: Bytes::new() };
    let chunks = futures::stream::unfold(0, move |offset| {
        let file = file.clone();
        async move {
            if offset >= file.size {
                return None;
            }
            let chunk = crate::blocking(move || file.read_at(offset, CHUNK_BYTES)).await.ok()?.ok()?;
            let next = offset + chunk.len() as u64;
            Some((InstallSnapshotRequest { header: None, chunk: chunk.into() }, next))
        }
    });
    futures::StreamExt::chain(futures::stream::iter([first]), chunks)
}

fn unreachable(status: tonic::Status) -> CallError {
    Unreachable::new(&status).into()
}

fn undecodable(error: impl std::error::Error + 'static) -> CallError {
    NetworkError::new(&error).into()
}
