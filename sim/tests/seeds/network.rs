//! Calls between replicas: each message takes its time, may be lost, arrive twice or after later ones, and finds a cut.

use std::future::Future;
use std::time::Duration;

use futures::StreamExt as _;
use meson_proto::raft::v1::{
    AppendEntriesRequest, AppendEntriesResponse, InquireRequest, InquireResponse, InstallSnapshotResponse,
    RequestVoteRequest, RequestVoteResponse, TakeOverRequest, TakeOverResponse,
};
use meson_raft::Member;
use meson_raft::sim::{Messages, Server, Transport};
use tonic::Status;

use crate::world::{Host, World};

/// The network as one start of one replica sees it.
pub struct Wire {
    /// The world.
    pub world: World,
    /// The caller.
    pub from: Host,
    /// Which start of it.
    pub incarnation: u64,
}

impl Wire {
    /// One call. The callee goes on with it even when the caller has given up.
    async fn call<A, F>(&self, to: Host, deadline: Duration, act: impl Fn(Server) -> F) -> Result<A, Status>
    where
        A: Send + 'static,
        F: Future<Output = Result<A, Status>> + Send + 'static,
    {
        let lost = || Status::deadline_exceeded("the message or its answer is lost");
        let calling = async {
            if !self.world.is_up(self.from, self.incarnation) || !self.world.carry(self.from, to).await {
                return std::future::pending().await;
            }
            let Some(callee) = self.world.up(to) else { return Err(Status::unavailable("nobody listens")) };
            if self.world.is_doubled() {
                let (world, from, again) = (self.world.clone(), self.from, act(callee.server.clone()));
                tokio::spawn(async move {
                    if world.carry(from, to).await {
                        let _ = again.await;
                    }
                });
            }
            let answer = tokio::spawn(act(callee.server)).await.map_err(|_| lost())??;
            let arrived = self.world.is_up(to, callee.incarnation) && self.world.carry(to, self.from).await;
            if arrived && self.world.is_up(self.from, self.incarnation) {
                Ok(answer)
            } else {
                std::future::pending().await
            }
        };
        tokio::time::timeout(deadline, calling).await.unwrap_or_else(|_| Err(lost()))
    }
}

#[tonic::async_trait]
impl Transport for Wire {
    async fn append_entries(
        &self,
        peer: &Member,
        message: AppendEntriesRequest,
        deadline: Duration,
    ) -> Result<AppendEntriesResponse, Status> {
        let act = |server: Server| {
            let message = message.clone();
            async move { server.append_entries(message).await }
        };
        self.call(peer.node_id, deadline, act).await
    }

    async fn request_vote(
        &self,
        peer: &Member,
        message: RequestVoteRequest,
        deadline: Duration,
    ) -> Result<RequestVoteResponse, Status> {
        let act = |server: Server| {
            let message = message.clone();
            async move { server.request_vote(message).await }
        };
        self.call(peer.node_id, deadline, act).await
    }

    async fn install_snapshot(
        &self,
        peer: &Member,
        messages: Messages,
        deadline: Duration,
    ) -> Result<InstallSnapshotResponse, Status> {
        let messages: Vec<_> = messages.map(Ok).collect().await;
        let act = |server: Server| {
            let messages = messages.clone();
            async move { server.install_snapshot(futures::stream::iter(messages)).await }
        };
        self.call(peer.node_id, deadline, act).await
    }

    async fn inquire(
        &self,
        peer: &Member,
        message: InquireRequest,
        deadline: Duration,
    ) -> Result<InquireResponse, Status> {
        let act = move |server: Server| async move { server.inquire(message).await };
        self.call(peer.node_id, deadline, act).await
    }

    async fn take_over(
        &self,
        peer: &Member,
        message: TakeOverRequest,
        deadline: Duration,
    ) -> Result<TakeOverResponse, Status> {
        let act = move |server: Server| async move { server.take_over(message).await };
        self.call(peer.node_id, deadline, act).await
    }
}
