//! ClusterService: the replicas and the executors.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use meson_proto::v1::cluster_service_client::ClusterServiceClient;
use meson_proto::v1::cluster_service_server::ClusterService;
use meson_proto::v1::*;
use meson_raft::RoleKind;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::gate::{Gate, pass_on};
use super::{convert, errors, members};
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
        let number = self.role_number(role.kind);
        let state = self.shared.published.state();
        let active = state.runs.len() - state.index.ended.len();
        Ok(Response::new(GetClusterStatusResponse {
            group_id: self.shared.config.group_id,
            node_id: self.shared.config.node_id,
            role: number as i32,
            term: role.term,
            leader_id: role
                .leader
                .filter(|_| number != ReplicaRole::Candidate)
                .map_or(0, |leader| leader.node_id),
            last_log_index: status.last_log_index.unwrap_or(0),
            committed_index: status.committed_index.unwrap_or(0),
            applied_index: status.applied_index.unwrap_or(0),
            snapshot_index: status.snapshot_index.unwrap_or(0),
            disk_bytes: status.disk_bytes,
            members: status.members.into_iter().map(members::wire).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            runs_active: active as u64,
            steps_ready: state.index.ready.len() as u64,
            attempts_live: state.live_count() as u64,
            format: state.format(),
            format_max: self.shared.config.format(),
        }))
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        pass_on!(self.gate, Client, list_members, request);
        Ok(Response::new(ListMembersResponse { members: members::all(&self.shared) }))
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
            connected: match agent.mesos {
                true => self.shared.sessions.is_any_connected(&agent.agent_id),
                false => self.shared.sessions.is_connected(&agent.agent_id),
            },
            attempts: state.index.live.get(&agent.agent_id).map_or(0, |live| live.len() as u32),
            version: agent.version.clone(),
            draining: agent.draining,
        };
        let executors = state.agents.values().map(|agent| executor(agent)).collect();
        Ok(Response::new(ListExecutorsResponse { executors }))
    }

    async fn drain_executor(
        &self,
        request: Request<DrainExecutorRequest>,
    ) -> Result<Response<DrainExecutorResponse>, Status> {
        pass_on!(self.gate, Client, drain_executor, request);
        let DrainExecutorRequest { executor_id, draining } = request.into_inner();
        let command = meson_engine::command::Drain { agent_id: executor_id, draining };
        self.shared.proposer.propose(command).await.map_err(|error| errors::propose(&error))?;
        Ok(Response::new(DrainExecutorResponse {}))
    }

    async fn add_member(
        &self,
        request: Request<AddMemberRequest>,
    ) -> Result<Response<AddMemberResponse>, Status> {
        pass_on!(self.gate, Client, add_member, request);
        members::add(&self.shared, request.into_inner().member).await?;
        Ok(Response::new(AddMemberResponse { members: members::all(&self.shared) }))
    }

    async fn promote_member(
        &self,
        request: Request<PromoteMemberRequest>,
    ) -> Result<Response<PromoteMemberResponse>, Status> {
        pass_on!(self.gate, Client, promote_member, request);
        let PromoteMemberRequest { node_id, instead_of } = request.into_inner();
        let instead_of = Some(instead_of).filter(|id| *id != 0);
        self.shared.replica.promote(node_id, instead_of).await.map_err(members::status)?;
        Ok(Response::new(PromoteMemberResponse { members: members::all(&self.shared) }))
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<RemoveMemberResponse>, Status> {
        pass_on!(self.gate, Client, remove_member, request);
        self.shared.replica.remove(request.into_inner().node_id).await.map_err(members::status)?;
        Ok(Response::new(RemoveMemberResponse { members: members::all(&self.shared) }))
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        pass_on!(self.gate, Client, transfer_leadership, request);
        let to = Some(request.into_inner().node_id).filter(|id| *id != 0);
        let leader = self.shared.replica.hand_over(to).await.map_err(members::status)?;
        Ok(Response::new(TransferLeadershipResponse { leader: Some(members::address(leader)) }))
    }

    async fn take_snapshot(
        &self,
        _: Request<TakeSnapshotRequest>,
    ) -> Result<Response<TakeSnapshotResponse>, Status> {
        self.shared.replica.snapshot_now().await.map_err(members::status)?;
        let snapshot_index = self.shared.replica.status().snapshot_index.unwrap_or(0);
        Ok(Response::new(TakeSnapshotResponse { snapshot_index }))
    }

    type BackupStream = BoxStream<'static, Result<BackupResponse, Status>>;

    async fn backup(&self, _: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let backup = self.shared.replica.backup().await.map_err(members::status)?;
        Ok(Response::new(members::stream(backup, self.shared.config.group_id).boxed()))
    }

    async fn get_mesos(
        &self,
        request: Request<GetMesosRequest>,
    ) -> Result<Response<GetMesosResponse>, Status> {
        pass_on!(self.gate, Client, get_mesos, request);
        self.gate.barrier().await?;
        let status = self.mesos()?.status();
        let state = self.shared.published.state();
        Ok(Response::new(GetMesosResponse {
            framework_id: state.framework_id.clone(),
            master: if status.is_subscribed { status.master } else { String::new() },
            subscribed: status.is_subscribed,
            trouble: status.trouble,
            launched: status.launched,
            offers_open: status.open,
            offers_closed: status.held_count,
            held_p50_ms: status.held_p50_ms,
            held_p99_ms: status.held_p99_ms,
            agents: state.agents.values().filter(|agent| agent.mesos).count() as u64,
        }))
    }

    async fn register_anew(
        &self,
        request: Request<RegisterAnewRequest>,
    ) -> Result<Response<RegisterAnewResponse>, Status> {
        pass_on!(self.gate, Client, register_anew, request);
        self.mesos()?;
        let instead_of = request.into_inner().framework_id;
        if instead_of.is_empty() {
            return Err(errors::invalid(
                "framework_id",
                "name the id to give up: `mesonctl mesos status` shows it",
            ));
        }
        let command = meson_engine::command::Framework { framework_id: String::new(), instead_of };
        self.shared.proposer.propose(command).await.map_err(|error| errors::propose(&error))?;
        Ok(Response::new(RegisterAnewResponse {}))
    }
}

impl Cluster {
    fn mesos(&self) -> Result<&crate::resources::mesos::Mesos, Status> {
        let missing =
            "Mesos is not configured: set `master` in the table `[mesos]` of all replicas' settings";
        self.shared.mesos.as_ref().ok_or_else(|| Status::failed_precondition(missing))
    }

    fn role_number(&self, kind: RoleKind) -> ReplicaRole {
        match kind {
            // One that no majority answers still believes in its term, but leads nobody.
            RoleKind::Leader if !self.shared.is_leading() => ReplicaRole::Candidate,
            RoleKind::Leader => ReplicaRole::Leader,
            RoleKind::Follower => ReplicaRole::Follower,
            RoleKind::Candidate => ReplicaRole::Candidate,
            RoleKind::Learner => ReplicaRole::Learner,
        }
    }
}
