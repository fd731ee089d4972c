//! A cluster of one replica that says what a test tells it to, and remembers what it was asked. A method answers its
//! script in order and then its last answer again; one without a script is unimplemented.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use meson_proto::v1::cluster_service_server::{ClusterService, ClusterServiceServer};
use meson_proto::v1::log_service_server::{LogService, LogServiceServer};
use meson_proto::v1::run_service_server::{RunService, RunServiceServer};
use meson_proto::v1::workflow_service_server::{WorkflowService, WorkflowServiceServer};
use meson_proto::v1::*;
use tokio::task::JoinHandle;
use tonic::codegen::tokio_stream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

/// What a stream brings, one after another.
pub type Pieces<T> = Vec<Result<T, Status>>;

/// One method: its script, and the requests that came.
pub struct Method<Q, A> {
    script: Mutex<VecDeque<Result<A, Status>>>,
    seen: Mutex<Vec<Q>>,
}

impl<Q, A> Default for Method<Q, A> {
    fn default() -> Self {
        Method { script: Mutex::default(), seen: Mutex::default() }
    }
}

impl<Q: Clone, A: Clone> Method<Q, A> {
    /// Adds an answer to the script.
    pub fn then(&self, answer: Result<A, Status>) -> &Self {
        self.script.lock().expect("no test panics while it holds it").push_back(answer);
        self
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Q> {
        self.seen.lock().expect("no test panics while it holds it").clone()
    }

    /// The only request so far.
    pub fn only(&self) -> Q {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "asked exactly once");
        seen.remove(0)
    }

    fn answer(&self, request: Request<Q>) -> Result<A, Status> {
        self.seen.lock().expect("no test panics while it holds it").push(request.into_inner());
        let mut script = self.script.lock().expect("no test panics while it holds it");
        let next = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
        next.unwrap_or_else(|| Err(Status::unimplemented("the test has no answer for this")))
    }
}

/// The methods.
#[derive(Default)]
pub struct Script {
    pub start_run: Method<StartRunRequest, StartRunResponse>,
    pub get_run: Method<GetRunRequest, GetRunResponse>,
    pub list_runs: Method<ListRunsRequest, ListRunsResponse>,
    pub list_nodes: Method<ListNodesRequest, ListNodesResponse>,
    pub get_node: Method<GetNodeRequest, GetNodeResponse>,
    pub watch_run: Method<WatchRunRequest, Pieces<WatchRunResponse>>,
    pub cancel_run: Method<CancelRunRequest, CancelRunResponse>,
    pub pause_run: Method<PauseRunRequest, PauseRunResponse>,
    pub resume_run: Method<ResumeRunRequest, ResumeRunResponse>,
    pub restart_run: Method<RestartRunRequest, RestartRunResponse>,
    pub signal_run: Method<SignalRunRequest, SignalRunResponse>,
    pub register_workflow: Method<RegisterWorkflowRequest, RegisterWorkflowResponse>,
    pub validate_workflow: Method<ValidateWorkflowRequest, ValidateWorkflowResponse>,
    pub get_workflow: Method<GetWorkflowRequest, GetWorkflowResponse>,
    pub list_workflows: Method<ListWorkflowsRequest, ListWorkflowsResponse>,
    pub read_logs: Method<ReadLogsRequest, Pieces<ReadLogsResponse>>,
    pub status: Method<GetClusterStatusRequest, GetClusterStatusResponse>,
    pub list_members: Method<ListMembersRequest, ListMembersResponse>,
    pub list_executors: Method<ListExecutorsRequest, ListExecutorsResponse>,
    pub drain_executor: Method<DrainExecutorRequest, DrainExecutorResponse>,
    pub get_mesos: Method<GetMesosRequest, GetMesosResponse>,
    pub register_anew: Method<RegisterAnewRequest, RegisterAnewResponse>,
    pub add_member: Method<AddMemberRequest, AddMemberResponse>,
    pub promote_member: Method<PromoteMemberRequest, PromoteMemberResponse>,
    pub remove_member: Method<RemoveMemberRequest, RemoveMemberResponse>,
    pub transfer_leadership: Method<TransferLeadershipRequest, TransferLeadershipResponse>,
    pub take_snapshot: Method<TakeSnapshotRequest, TakeSnapshotResponse>,
    pub backup: Method<BackupRequest, Pieces<BackupResponse>>,
}

/// A running fake; it stops when it is dropped.
pub struct Fake {
    pub address: String,
    pub script: Arc<Script>,
    task: JoinHandle<()>,
}

impl Fake {
    /// On a free port.
    pub fn start() -> Fake {
        Fake::on(0)
    }

    /// On this port.
    pub fn on(port: u16) -> Fake {
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], port).into()).expect("the port is free");
        let address = format!("http://{}", incoming.local_addr().expect("it is bound"));
        let script = Arc::new(Script::default());
        let server = Server::builder()
            .add_service(RunServiceServer::from_arc(script.clone()))
            .add_service(WorkflowServiceServer::from_arc(script.clone()))
            .add_service(LogServiceServer::from_arc(script.clone()))
            .add_service(ClusterServiceServer::from_arc(script.clone()))
            .serve_with_incoming(incoming);
        let task = tokio::spawn(async move { server.await.expect("the fake serves") });
        Fake { address, script, task }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Stream<T> = tokio_stream::Iter<std::vec::IntoIter<Result<T, Status>>>;

/// A service: what has a form of its own, then the methods that answer once, each with its field of the script.
macro_rules! service {
    ($service:ident, { $($own:tt)* }, $($name:ident($request:ty) -> $answer:ty, $field:ident;)*) => {
        #[tonic::async_trait]
        impl $service for Script {
            $($own)*
            $(async fn $name(&self, request: Request<$request>) -> Result<Response<$answer>, Status> {
                self.$field.answer(request).map(Response::new)
            })*
        }
    };
}

service! {
    RunService,
    {
        type WatchRunStream = Stream<WatchRunResponse>;
        async fn watch_run(
            &self,
            request: Request<WatchRunRequest>,
        ) -> Result<Response<Self::WatchRunStream>, Status> {
            self.watch_run.answer(request).map(|pieces| Response::new(tokio_stream::iter(pieces)))
        }
    },
    start_run(StartRunRequest) -> StartRunResponse, start_run;
    get_run(GetRunRequest) -> GetRunResponse, get_run;
    list_runs(ListRunsRequest) -> ListRunsResponse, list_runs;
    list_nodes(ListNodesRequest) -> ListNodesResponse, list_nodes;
    get_node(GetNodeRequest) -> GetNodeResponse, get_node;
    cancel_run(CancelRunRequest) -> CancelRunResponse, cancel_run;
    pause_run(PauseRunRequest) -> PauseRunResponse, pause_run;
    resume_run(ResumeRunRequest) -> ResumeRunResponse, resume_run;
    restart_run(RestartRunRequest) -> RestartRunResponse, restart_run;
    signal_run(SignalRunRequest) -> SignalRunResponse, signal_run;
}

service! {
    WorkflowService,
    {},
    register_workflow(RegisterWorkflowRequest) -> RegisterWorkflowResponse, register_workflow;
    validate_workflow(ValidateWorkflowRequest) -> ValidateWorkflowResponse, validate_workflow;
    get_workflow(GetWorkflowRequest) -> GetWorkflowResponse, get_workflow;
    list_workflows(ListWorkflowsRequest) -> ListWorkflowsResponse, list_workflows;
}

service! {
    LogService,
    {
        type AppendLogsStream = Stream<AppendLogsResponse>;
        type ReadLogsStream = Stream<ReadLogsResponse>;
        async fn append_logs(
            &self,
            _: Request<Streaming<AppendLogsRequest>>,
        ) -> Result<Response<Self::AppendLogsStream>, Status> {
            Err(Status::unimplemented("mesonctl writes no logs"))
        }
        async fn read_logs(
            &self,
            request: Request<ReadLogsRequest>,
        ) -> Result<Response<Self::ReadLogsStream>, Status> {
            self.read_logs.answer(request).map(|pieces| Response::new(tokio_stream::iter(pieces)))
        }
    },
}

service! {
    ClusterService,
    {
        type BackupStream = Stream<BackupResponse>;
        async fn backup(&self, request: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
            self.backup.answer(request).map(|pieces| Response::new(tokio_stream::iter(pieces)))
        }
    },
    get_cluster_status(GetClusterStatusRequest) -> GetClusterStatusResponse, status;
    list_members(ListMembersRequest) -> ListMembersResponse, list_members;
    list_executors(ListExecutorsRequest) -> ListExecutorsResponse, list_executors;
    add_member(AddMemberRequest) -> AddMemberResponse, add_member;
    drain_executor(DrainExecutorRequest) -> DrainExecutorResponse, drain_executor;
    get_mesos(GetMesosRequest) -> GetMesosResponse, get_mesos;
    register_anew(RegisterAnewRequest) -> RegisterAnewResponse, register_anew;
    promote_member(PromoteMemberRequest) -> PromoteMemberResponse, promote_member;
    remove_member(RemoveMemberRequest) -> RemoveMemberResponse, remove_member;
    transfer_leadership(TransferLeadershipRequest) -> TransferLeadershipResponse, transfer_leadership;
    take_snapshot(TakeSnapshotRequest) -> TakeSnapshotResponse, take_snapshot;
}
