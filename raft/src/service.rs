//! Answers the calls of other replicas. What is meant for another group or another replica is refused.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use meson_proto::raft::v1::raft_service_server::RaftService;
use meson_proto::raft::v1::{
    AppendEntriesRequest, AppendEntriesResponse, InquireRequest, InquireResponse, InstallSnapshotRequest,
    InstallSnapshotResponse, RequestVoteRequest, RequestVoteResponse, SnapshotHeader, TakeOverRequest,
    TakeOverResponse,
};
use openraft::raft as library;
use prost::Message;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use crate::codec::{AppendAnswer, AppendCall, SnapshotCall, VoteAnswer, VoteCall, VoteMessage};
use crate::disk::Disk;
use crate::error::StoreError;
use crate::founding::Founding;
use crate::snapshot::{SnapshotFile, Snapshots, remove};
use crate::space::Space;
use crate::types::{Raft, Snapshot, SnapshotMeta, Vote};

/// Received chunks that may wait for the disk.
const CHUNKS_WAITING: usize = 4;

/// The raft port's service.
#[derive(Clone)]
pub struct Service {
    pub(crate) group_id: u64,
    pub(crate) node_id: u64,
    pub(crate) format_level: u32,
    pub(crate) founding: Arc<Founding>,
    pub(crate) raft: Raft,
    pub(crate) snapshots: Snapshots,
    pub(crate) space: Space,
    pub(crate) disk: Disk,
    /// A leader whose entries are not taken is answered only after this, as it tries again at once.
    pub(crate) low_pause: Duration,
}

impl Service {
    fn check_group(&self, group_id: u64) -> Result<(), Status> {
        if group_id == self.group_id {
            return Ok(());
        }
        let text = format!("this is a replica of group {}, not {group_id}", self.group_id);
        Err(Status::failed_precondition(text))
    }

    fn check_target(&self, target: u64) -> Result<(), Status> {
        if self.founding.is_held() {
            return Err(Status::unavailable("this replica does not take part yet"));
        }
        if target == self.node_id {
            return Ok(());
        }
        Err(Status::failed_precondition(format!("this is replica {}, not {target}", self.node_id)))
    }

    /// Writes the chunks to a temporary file and verifies it.
    async fn receive(
        &self,
        header: &SnapshotHeader,
        mut chunks: impl Stream<Item = Result<InstallSnapshotRequest, Status>> + Unpin,
    ) -> Result<(SnapshotMeta, SnapshotFile), Status> {
        #[cfg(feature = "sim")]
        if crate::sim::is_active() {
            // On a single thread all chunks come first, and are written then.
            let messages: Vec<_> = chunks.try_collect().await?;
            let mut chunks = messages.into_iter().map(|message| message.chunk);
            return store(&self.snapshots, header, || chunks.next()).map_err(lost);
        }
        let (sender, mut receiver) = mpsc::channel(CHUNKS_WAITING);
        let (snapshots, expected) = (self.snapshots.clone(), header.clone());
        let writing =
            tokio::task::spawn_blocking(move || store(&snapshots, &expected, || receiver.blocking_recv()));
        while let Some(message) = chunks.try_next().await? {
            if sender.send(message.chunk).await.is_err() {
                // Writing failed; its result tells why.
                break;
            }
        }
        drop(sender);
        let stored = writing.await.map_err(|error| Status::internal(error.to_string()))?;
        stored.map_err(lost)
    }
}

#[tonic::async_trait]
impl RaftService for Service {
    async fn append_entries(
        &self,
        request: Request<AppendEntriesRequest>,
    ) -> Result<Response<AppendEntriesResponse>, Status> {
        let request = request.into_inner();
        self.check_group(request.group_id)?;
        let call = AppendCall::decode(request.payload).map_err(invalid)?;
        self.check_target(call.target)?;
        let mut call = call.into_request().map_err(invalid)?;
        // Without room the write would wait, and this replica with it. As a heartbeat the call keeps it a follower;
        // the answer says that it took none of the entries.
        let (previous, refused) = (call.prev_log_id, !call.entries.is_empty() && self.disk.is_low());
        if refused {
            call.entries.clear();
            tokio::time::sleep(self.low_pause).await;
        }
        let mut answer = self.raft.append_entries(call).await.map_err(stopped)?;
        if refused && answer.is_success() {
            answer = library::AppendEntriesResponse::PartialSuccess(previous);
        }
        let payload = AppendAnswer::from(answer).encode_to_vec().into();
        Ok(Response::new(AppendEntriesResponse { payload }))
    }

    async fn request_vote(
        &self,
        request: Request<RequestVoteRequest>,
    ) -> Result<Response<RequestVoteResponse>, Status> {
        let request = request.into_inner();
        self.check_group(request.group_id)?;
        let call = VoteCall::decode(request.payload).map_err(invalid)?;
        self.check_target(call.target)?;
        let answer = self.raft.vote(call.into_request()).await.map_err(stopped)?;
        let payload = VoteAnswer::from(answer).encode_to_vec().into();
        Ok(Response::new(RequestVoteResponse { payload }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<InstallSnapshotRequest>>,
    ) -> Result<Response<InstallSnapshotResponse>, Status> {
        self.install(request.into_inner()).await.map(Response::new)
    }

    async fn inquire(&self, request: Request<InquireRequest>) -> Result<Response<InquireResponse>, Status> {
        let request = request.into_inner();
        self.check_group(request.group_id)?;
        let founded = self.raft.is_initialized().await.map_err(stopped)?;
        if request.founding && !founded {
            self.founding.court();
        }
        let metrics = self.raft.server_metrics();
        let membership = metrics.borrow().membership_config.clone();
        let asker_votes = membership.membership().voter_ids().any(|voter| voter == request.node_id);
        let format_level = self.format_level;
        let short_of_disk = self.space.shortage(false).is_some();
        let node_id = self.node_id;
        Ok(Response::new(InquireResponse { node_id, founded, asker_votes, format_level, short_of_disk }))
    }

    async fn take_over(
        &self,
        request: Request<TakeOverRequest>,
    ) -> Result<Response<TakeOverResponse>, Status> {
        let request = request.into_inner();
        self.check_group(request.group_id)?;
        self.check_target(request.target)?;
        let metrics = self.raft.metrics().borrow().clone();
        if metrics.current_leader != Some(request.leader) || metrics.current_term != request.term {
            return Err(Status::failed_precondition("this replica does not follow that leader"));
        }
        if metrics.last_log_index < Some(request.last_log_index) {
            return Err(Status::failed_precondition("this replica lacks entries"));
        }
        self.raft.trigger().elect().await.map_err(stopped)?;
        Ok(Response::new(TakeOverResponse {}))
    }
}

impl Service {
    /// Takes in a snapshot: the header, then the chunks.
    pub(crate) async fn install(
        &self,
        mut chunks: impl Stream<Item = Result<InstallSnapshotRequest, Status>> + Unpin + Send,
    ) -> Result<InstallSnapshotResponse, Status> {
        let first = chunks.try_next().await?;
        let header = first.and_then(|message| message.header);
        let header = header.ok_or_else(|| Status::invalid_argument("the first message carries no header"))?;
        self.check_group(header.group_id)?;
        let call = SnapshotCall::decode(header.meta.clone()).map_err(invalid)?;
        self.check_target(call.target)?;
        let vote: Vote = VoteMessage::decode(header.vote.clone()).map_err(invalid)?.into();
        let told: SnapshotMeta = serde_json::from_slice(&call.meta).map_err(invalid)?;

        // Whoever is behind in votes learns it before it sends everything.
        let mine = self.raft.with_raft_state(|state| *state.vote_ref()).await.map_err(stopped)?;
        if vote.partial_cmp(&mine).is_none_or(std::cmp::Ordering::is_lt) {
            return Ok(answer(mine));
        }
        let (meta, file) = self.receive(&header, chunks).await?;
        if meta != told {
            remove(file.path());
            return Err(Status::data_loss("the snapshot is not the one announced"));
        }
        let snapshot = Snapshot { meta, snapshot: Box::new(file) };
        let installed = self.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        Ok(answer(installed.vote))
    }
}

fn store(
    snapshots: &Snapshots,
    header: &SnapshotHeader,
    chunks: impl FnMut() -> Option<Bytes>,
) -> Result<(SnapshotMeta, SnapshotFile), StoreError> {
    let (path, file) = snapshots.create()?;
    let stored = fill(&path, file, header.size_bytes, chunks).and_then(|()| snapshots.verify(&path));
    match stored {
        Ok((description, file)) if file.digest[..] == header.sha256[..] => Ok((description.meta, file)),
        Ok(_) => {
            remove(&path);
            Err(StoreError::corrupt(path.display().to_string(), "not the checksum that was announced"))
        }
        Err(error) => {
            remove(&path);
            Err(error)
        }
    }
}

fn fill(
    path: &Path,
    mut file: std::fs::File,
    size: u64,
    mut chunks: impl FnMut() -> Option<Bytes>,
) -> Result<(), StoreError> {
    use std::io::Write as _;

    let io = |error| StoreError::io(path.display().to_string(), error);
    let mut received = 0;
    while let Some(chunk) = chunks() {
        received += chunk.len() as u64;
        file.write_all(&chunk).map_err(io)?;
    }
    if received != size {
        let reason = format!("{received} bytes arrived instead of {size}");
        return Err(StoreError::corrupt(path.display().to_string(), reason));
    }
    file.sync_all().map_err(io)
}

fn answer(vote: Vote) -> InstallSnapshotResponse {
    InstallSnapshotResponse { payload: VoteMessage::from(vote).encode_to_vec().into() }
}

fn lost(error: StoreError) -> Status {
    Status::data_loss(error.to_string())
}

fn invalid(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}
