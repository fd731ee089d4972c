//! What a replica says of itself to people and metrics.

use openraft::{LogIdOptionExt, RaftMetrics};

use crate::config::Member;

/// A replica as it is now, as far as it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The term.
    pub term: u64,
    /// Who leads, if that is known.
    pub leader_id: Option<u64>,
    /// The last entry written here.
    pub last_log_index: Option<u64>,
    /// The last entry known to be committed.
    pub committed_index: Option<u64>,
    /// The last entry applied here.
    pub applied_index: Option<u64>,
    /// The last entry that the snapshot covers.
    pub snapshot_index: Option<u64>,
    /// Bytes of log, archive and snapshot on disk.
    pub disk_bytes: u64,
    /// Bytes free on the disk, if the operating system tells.
    pub disk_free_bytes: Option<u64>,
    /// Whether the disk has too little room for new commands: as the leader, this replica refuses them.
    pub disk_low: bool,
    /// The members, by number.
    pub members: Vec<MemberStatus>,
    /// Why the replica works no more, unless it does.
    pub failure: Option<String>,
}

/// A member as this replica sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberStatus {
    /// Who it is.
    pub member: Member,
    /// Whether it votes.
    pub voter: bool,
    /// How many entries it is behind; known to the leader only, and of a member that has confirmed any.
    pub lag: Option<u64>,
}

/// What the consensus library's figures say.
pub fn status_of(metrics: &RaftMetrics<u64, Member>) -> Status {
    let membership = metrics.membership_config.membership();
    let voters: Vec<u64> = membership.voter_ids().collect();
    let next = metrics.last_log_index.map_or(0, |index| index + 1);
    let members = membership.nodes().map(|(id, member)| {
        let matched = metrics.replication.as_ref().and_then(|replication| replication.get(id));
        // In a short log one that has confirmed nothing at all would look as if it had nearly everything.
        let lag = matched.copied().flatten().map(|matched| next.saturating_sub(matched.index + 1));
        MemberStatus { member: member.clone(), voter: voters.contains(id), lag }
    });
    Status {
        term: metrics.current_term,
        leader_id: metrics.current_leader,
        last_log_index: metrics.last_log_index,
        committed_index: metrics.last_applied.index(),
        applied_index: metrics.last_applied.index(),
        snapshot_index: metrics.snapshot.index(),
        disk_bytes: 0,
        disk_free_bytes: None,
        disk_low: false,
        members: members.collect(),
        failure: metrics.running_state.as_ref().err().map(ToString::to_string),
    }
}
