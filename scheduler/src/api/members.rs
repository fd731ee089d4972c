//! Changes of the replicas: what ClusterService does on the leader.

use std::sync::Arc;

use futures::Stream;
use meson_proto::v1::{BackupHeader, BackupResponse, Member};
use meson_raft::{AdminError, Backup, MemberStatus};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::errors;
use crate::shared::Shared;

/// Bytes of a backup in one message.
const CHUNK_BYTES: usize = 256 << 10;

/// All replicas as they are now.
pub fn all(shared: &Shared) -> Vec<Member> {
    shared.replica.status().members.into_iter().map(wire).collect()
}

/// A replica on the wire.
pub fn wire(status: MemberStatus) -> Member {
    let lag = status.lag;
    Member { lag, voter: status.voter, ..address(status.member) }
}

/// A replica's addresses on the wire.
pub fn address(member: meson_raft::Member) -> Member {
    Member {
        node_id: member.node_id,
        raft_address: member.raft_address,
        api_address: member.api_address,
        http_address: member.http_address,
        ..Member::default()
    }
}

/// Adds a replica that follows.
pub async fn add(shared: &Shared, member: Option<Member>) -> Result<(), Status> {
    let member = member.ok_or_else(|| errors::invalid("member", "is missing: say number and addresses"))?;
    if member.node_id == 0 {
        return Err(errors::invalid("member.node_id", "must be positive"));
    }
    for (field, value) in [
        ("member.raft_address", &member.raft_address),
        ("member.api_address", &member.api_address),
        ("member.http_address", &member.http_address),
    ] {
        if tonic::transport::Endpoint::from_shared(value.clone()).is_err() || !value.starts_with("http") {
            return Err(errors::invalid(field, format!("`{value}` is not an address like http://host:7401")));
        }
    }
    let member = meson_raft::Member {
        node_id: member.node_id,
        raft_address: member.raft_address,
        api_address: member.api_address,
        http_address: member.http_address,
    };
    // Makes sure as well that the right replica listens there, before the log speaks of it.
    let format = shared.replica.format_level_of(&member).await.map_err(status)?;
    let needed = shared.published.state().format();
    if format < needed {
        let message = format!(
            "it understands format {format}, and the state needs {needed}: run a newer version there"
        );
        return Err(status(AdminError::Refused(message)));
    }
    shared.replica.add_learner(member).await.map_err(status)
}

/// The status for a change that was not made.
pub fn status(error: AdminError) -> Status {
    let message = error.to_string();
    match error {
        AdminError::Refused(reason) => {
            let details = ErrorDetails::with_error_info("MEMBERS", "meson", []);
            Status::with_error_details(Code::FailedPrecondition, reason, details)
        }
        AdminError::NotLeader { leader: Some(leader) } => {
            errors::unavailable(&format!("replica {} leads, at {}", leader.node_id, leader.api_address))
        }
        AdminError::NotLeader { leader: None } | AdminError::Unknown | AdminError::Stopped => {
            errors::unavailable(&message)
        }
        AdminError::Forgotten { .. } => Status::internal(message),
    }
}

/// The messages of a backup.
pub fn stream(backup: Backup, group_id: u64) -> impl Stream<Item = Result<BackupResponse, Status>> + Send {
    let backup = Arc::new(backup);
    async_stream::try_stream! {
        let position = backup.position();
        let header = BackupHeader {
            size_bytes: backup.size_bytes(),
            sha256: backup.sha256().to_vec().into(),
            group_id,
            log_index: position.index,
            term: position.term,
        };
        yield BackupResponse { header: Some(header), chunk: Default::default() };
        let mut offset = 0;
        while offset < backup.size_bytes() {
            let reading = backup.clone();
            let chunk = tokio::task::spawn_blocking(move || reading.read_at(offset, CHUNK_BYTES)).await;
            let chunk = chunk.map_err(std::io::Error::other).and_then(|read| read);
            let chunk = chunk.map_err(|error| Status::internal(format!("reading the backup: {error}")))?;
            offset += chunk.len() as u64;
            yield BackupResponse { header: None, chunk: chunk.into() };
        }
    }
}
