//! Calls to other replicas: one channel a peer for the consensus traffic, another for snapshots, both lazy.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::Stream;
use meson_proto::raft::v1::raft_service_client::RaftServiceClient;
use meson_proto::raft::v1::{
    AppendEntriesRequest, InquireRequest, InquireResponse, InstallSnapshotRequest, RequestVoteRequest,
    SnapshotHeader, TakeOverRequest,
};
use openraft::AnyError;
use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft as library;
use prost::Message;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

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
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

type CallError = RPCError<u64, Member, RaftError<u64>>;

/// Makes connections to peers; clones share them.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

struct Inner {
    group_id: u64,
    heartbeat: Duration,
    connect_timeout: Duration,
    message_bytes_max: usize,
    acks: Acks,
    peers: Mutex<HashMap<u64, Known>>,
}

/// A peer's address as it was last given, and the channels to it, unless it is no address.
type Known = (String, Result<Channels, String>);

/// The channels to one address.
#[derive(Clone)]
struct Channels {
    calls: Channel,
    snapshots: Channel,
}

impl Network {
    /// For a replica so configured; what followers confirm is noted in `acks`.
    pub fn new(config: &Config, acks: Acks) -> Self {
        let inner = Inner {
            group_id: config.group_id,
            heartbeat: Duration::from_millis(config.heartbeat_ms),
            connect_timeout: Duration::from_millis(config.election_max_ms),
            message_bytes_max: config.message_bytes_max(),
            acks,
            peers: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    fn peer(&self, target: u64, node: &Member) -> Peer {
        // Asked for with every confirmation of leadership, so the channels are kept.
        let mut peers = self.inner.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = peers.get(&target).filter(|(address, _)| *address == node.raft_address);
        let channels = match known {
            Some((_, channels)) => channels.clone(),
            None => {
                let channels = connect(&node.raft_address, self.inner.connect_timeout);
                peers.insert(target, (node.raft_address.clone(), channels.clone()));
                channels
            }
        };
        Peer { target, channels, inner: self.inner.clone() }
    }

    /// Asks another replica what it is.
    pub async fn inquire(
        &self,
        member: &Member,
        asker: u64,
        founding: bool,
    ) -> Result<InquireResponse, Status> {
        let message = InquireRequest { group_id: self.inner.group_id, node_id: asker, founding };
        let peer = self.peer(member.node_id, member);
        let mut client = peer
            .client(|channels| &channels.calls)
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let answer = client.inquire(Peer::request(message, ADMIN_DEADLINE)).await?.into_inner();
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
        let peer = self.peer(member.node_id, member);
        let mut client = peer
            .client(|channels| &channels.calls)
            .map_err(|error| Status::unavailable(error.to_string()))?;
        client.take_over(Peer::request(message, ADMIN_DEADLINE)).await.map(drop)
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &Member) -> Peer {
        self.peer(target, node)
    }
}

fn connect(address: &str, timeout: Duration) -> Result<Channels, String> {
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|error| format!("the address {address:?} is invalid: {error}"))?
        .connect_timeout(timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok(Channels { calls: endpoint.connect_lazy(), snapshots: endpoint.connect_lazy() })
}

/// Another replica.
pub struct Peer {
    target: u64,
    channels: Result<Channels, String>,
    inner: Arc<Inner>,
}

impl Peer {
    fn client(
        &self,
        channel: impl Fn(&Channels) -> &Channel,
    ) -> Result<RaftServiceClient<Channel>, Unreachable> {
        let channels = self.channels.as_ref().map_err(|reason| Unreachable::from(AnyError::error(reason)))?;
        let client = RaftServiceClient::new(channel(channels).clone());
        let limit = self.inner.message_bytes_max;
        Ok(client.max_decoding_message_size(limit).max_encoding_message_size(limit))
    }

    fn request<T>(message: T, deadline: Duration) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(deadline);
        request
    }

    async fn send_snapshot(&self, vote: Vote, snapshot: Snapshot) -> Result<Vote, SendError> {
        let file = *snapshot.snapshot;
        let call = SnapshotCall {
            target: self.target,
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
        let mut client =
            self.client(|channels| &channels.snapshots).map_err(|error| SendError(AnyError::new(&error)))?;
        let sending = client.install_snapshot(Self::request(messages(header, file), deadline));
        let answer = tokio::time::timeout(deadline, sending)
            .await
            .map_err(|_| SendError(AnyError::error("sending the snapshot took too long")))?
            .map_err(|status| SendError(AnyError::new(&status)))?
            .into_inner();
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
        let payload = AppendCall::new(self.target, rpc).encode_to_vec().into();
        let message = AppendEntriesRequest { group_id: self.inner.group_id, payload };
        let mut client = self.client(|channels| &channels.calls)?;
        let sent_at = Instant::now();
        let answer =
            client.append_entries(Self::request(message, option.hard_ttl())).await.map_err(unreachable)?;
        let answer = AppendAnswer::decode(answer.into_inner().payload).map_err(undecodable)?;
        let answer = library::AppendEntriesResponse::try_from(answer).map_err(undecodable)?;
        if !matches!(answer, library::AppendEntriesResponse::HigherVote(_)) {
            self.inner.acks.record(vote, self.target, sent_at);
        }
        Ok(answer)
    }

    async fn vote(
        &mut self,
        rpc: library::VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<library::VoteResponse<u64>, CallError> {
        let payload = VoteCall::new(self.target, rpc).encode_to_vec().into();
        let message = RequestVoteRequest { group_id: self.inner.group_id, payload };
        let mut client = self.client(|channels| &channels.calls)?;
        let answer =
            client.request_vote(Self::request(message, option.hard_ttl())).await.map_err(unreachable)?;
        let answer = VoteAnswer::decode(answer.into_inner().payload).map_err(undecodable)?;
        Ok(answer.into())
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
            let chunk =
                tokio::task::spawn_blocking(move || file.read_at(offset, CHUNK_BYTES)).await.ok()?.ok()?;
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
