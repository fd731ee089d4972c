//! ClusterService: the replicas and the executors.

use std::sync::Arc;

use meson_proto::v1::cluster_service_client::ClusterServiceClient;
use meson_proto::v1::cluster_service_server::ClusterService;
use meson_proto::v1::*;
use meson_raft::{MemberStatus, RoleKind};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::convert;
use super::gate::{Gate, pass_on};
use crate::shared::Shared;

/// The service.
pub struct Cluster {
    /// What all faces share.
    pub shared: Shared,
    /// Who answers.
    pub gate: Arc<Gate>,
}

type Client = ClusterServiceClient<Channel>;

#[tonic::async_trait]
impl ClusterService for Cluster {
    async fn get_cluster_status(
        &self,
        _: Request<GetClusterStatusRequest>,
    ) -> Result<Response<GetClusterStatusResponse>, Status> {
        let replica = self.shared.replica.clone();
        // Looks at files for their sizes.
        let status = tokio::task::spawn_blocking(move || replica.status())
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        let role = self.shared.replica.role().borrow().clone();
        let state = self.shared.published.state();
        let active = state.runs.len() - state.index.ended.len();
        Ok(Response::new(GetClusterStatusResponse {
            group_id: self.shared.config.group_id,
            node_id: self.shared.config.node_id,
            role: role_number(role.kind) as i32,
            term: role.term,
            leader_id: role.leader.map_or(0, |leader| leader.node_id),
            last_log_index: status.last_log_index.unwrap_or(0),
            committed_index: status.committed_index.unwrap_or(0),
            applied_index: status.applied_index.unwrap_or(0),
            snapshot_index: status.snapshot_index.unwrap_or(0),
            disk_bytes: status.disk_bytes,
            members: status.members.into_iter().map(member).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            runs_active: active as u64,
            steps_ready: state.index.ready.len() as u64,
            attempts_live: state.live_count() as u64,
        }))
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        pass_on!(self.gate, Client, list_members, request);
        let members = self.shared.replica.status().members.into_iter().map(member).collect();
        Ok(Response::new(ListMembersResponse { members }))
    }

    async fn list_executors(
        &self,
        request: Request<ListExecutorsRequest>,
    ) -> Result<Response<ListExecutorsResponse>, Status> {
        pass_on!(self.gate, Client, list_executors, request);
        self.gate.barrier().await?;
        let state = self.shared.published.state();
        let executor = |agent: &meson_engine::record::Agent| Executor {
            executor_id: agent.agent_id.clone(),
            hostname: agent.hostname.clone(),
            resources: Some(convert::resources(agent.total)),
            held: Some(convert::resources(state.held(&agent.agent_id))),
            attributes: agent.attributes.clone().into_iter().collect(),
            kinds: agent.kinds.clone(),
            connected: self.shared.sessions.is_connected(&agent.agent_id),
            attempts: state.index.live.get(&agent.agent_id).map_or(0, |live| live.len() as u32),
            version: agent.version.clone(),
        };
        let executors = state.agents.values().map(|agent| executor(agent)).collect();
        Ok(Response::new(ListExecutorsResponse { executors }))
    }
}

fn role_number(kind: RoleKind) -> ReplicaRole {
    match kind {
        RoleKind::Leader => ReplicaRole::Leader,
        RoleKind::Follower => ReplicaRole::Follower,
        RoleKind::Candidate => ReplicaRole::Candidate,
        RoleKind::Learner => ReplicaRole::Learner,
    }
}

fn member(status: MemberStatus) -> Member {
    Member {
        node_id: status.member.node_id,
        raft_address: status.member.raft_address,
        api_address: status.member.api_address,
        http_address: status.member.http_address,
        voter: status.voter,
        lag: status.lag,
    }
}
