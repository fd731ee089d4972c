//! The receiving end of calls between replicas, without gRPC around it.

use futures::Stream;
use meson_proto::raft::v1::raft_service_server::RaftService;
use meson_proto::raft::v1::{
    AppendEntriesRequest, AppendEntriesResponse, InquireRequest, InquireResponse, InstallSnapshotRequest,
    InstallSnapshotResponse, RequestVoteRequest, RequestVoteResponse, TakeOverRequest, TakeOverResponse,
};
use tonic::{Request, Status};

use crate::service::Service;

/// Answers what the gRPC service answers, by the same code.
#[derive(Clone)]
pub struct Server(pub(crate) Service);

impl Server {
    /// See the contract.
    pub async fn append_entries(
        &self,
        message: AppendEntriesRequest,
    ) -> Result<AppendEntriesResponse, Status> {
        self.0.append_entries(Request::new(message)).await.map(tonic::Response::into_inner)
    }

    /// See the contract.
    pub async fn request_vote(&self, message: RequestVoteRequest) -> Result<RequestVoteResponse, Status> {
        self.0.request_vote(Request::new(message)).await.map(tonic::Response::into_inner)
    }

    /// See the contract.
    pub async fn install_snapshot(
        &self,
        messages: impl Stream<Item = Result<InstallSnapshotRequest, Status>> + Send + Unpin,
    ) -> Result<InstallSnapshotResponse, Status> {
        self.0.install(messages).await
    }

    /// See the contract.
    pub async fn inquire(&self, message: InquireRequest) -> Result<InquireResponse, Status> {
        self.0.inquire(Request::new(message)).await.map(tonic::Response::into_inner)
    }

    /// See the contract.
    pub async fn take_over(&self, message: TakeOverRequest) -> Result<TakeOverResponse, Status> {
        self.0.take_over(Request::new(message)).await.map(tonic::Response::into_inner)
    }
}
