//! Calls to other replicas over gRPC: one channel a peer for the consensus traffic, another for snapshots, both lazy.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use meson_proto::raft::v1::raft_service_client::RaftServiceClient;
use meson_proto::raft::v1::{
    AppendEntriesRequest, AppendEntriesResponse, InquireRequest, InquireResponse, InstallSnapshotResponse,
    RequestVoteRequest, RequestVoteResponse, TakeOverRequest, TakeOverResponse,
};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::config::{Config, Member};
use crate::network::{Messages, Transport};

const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The channels to the peers.
pub struct Grpc {
    connect_timeout: Duration,
    message_bytes_max: usize,
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

impl Grpc {
    /// For a replica so configured.
    pub fn new(config: &Config) -> Self {
        Self {
            connect_timeout: Duration::from_millis(config.election_max_ms),
            message_bytes_max: config.message_bytes_max(),
            peers: Mutex::default(),
        }
    }

    /// Asked for with every call, so the channels are kept.
    fn client(
        &self,
        peer: &Member,
        channel: impl Fn(&Channels) -> &Channel,
    ) -> Result<RaftServiceClient<Channel>, Status> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = peers.get(&peer.node_id).filter(|(address, _)| *address == peer.raft_address);
        let channels = match known {
            Some((_, channels)) => channels.clone(),
            None => {
                let channels = connect(&peer.raft_address, self.connect_timeout);
                peers.insert(peer.node_id, (peer.raft_address.clone(), channels.clone()));
                channels
            }
        };
        let client = RaftServiceClient::new(channel(&channels.map_err(Status::unavailable)?).clone());
        let limit = self.message_bytes_max;
        Ok(client.max_decoding_message_size(limit).max_encoding_message_size(limit))
    }
}

#[tonic::async_trait]
impl Transport for Grpc {
    async fn append_entries(
        &self,
        peer: &Member,
        message: AppendEntriesRequest,
        deadline: Duration,
    ) -> Result<AppendEntriesResponse, Status> {
        let mut client = self.client(peer, |channels| &channels.calls)?;
        client.append_entries(request(message, deadline)).await.map(tonic::Response::into_inner)
    }

    async fn request_vote(
        &self,
        peer: &Member,
        message: RequestVoteRequest,
        deadline: Duration,
    ) -> Result<RequestVoteResponse, Status> {
        let mut client = self.client(peer, |channels| &channels.calls)?;
        client.request_vote(request(message, deadline)).await.map(tonic::Response::into_inner)
    }

    async fn install_snapshot(
        &self,
        peer: &Member,
        messages: Messages,
        deadline: Duration,
    ) -> Result<InstallSnapshotResponse, Status> {
        let mut client = self.client(peer, |channels| &channels.snapshots)?;
        client.install_snapshot(request(messages, deadline)).await.map(tonic::Response::into_inner)
    }

    async fn inquire(
        &self,
        peer: &Member,
        message: InquireRequest,
        deadline: Duration,
    ) -> Result<InquireResponse, Status> {
        let mut client = self.client(peer, |channels| &channels.calls)?;
        client.inquire(request(message, deadline)).await.map(tonic::Response::into_inner)
    }

    async fn take_over(
        &self,
        peer: &Member,
        message: TakeOverRequest,
        deadline: Duration,
    ) -> Result<TakeOverResponse, Status> {
        let mut client = self.client(peer, |channels| &channels.calls)?;
        client.take_over(request(message, deadline)).await.map(tonic::Response::into_inner)
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

fn request<T>(message: T, deadline: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(deadline);
    request
}
