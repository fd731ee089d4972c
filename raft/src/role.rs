//! What part this replica plays in its group, published as it changes.

use openraft::ServerState;
use openraft::metrics::RaftServerMetrics;
use tokio::sync::watch;

use crate::config::Member;
use crate::types::Raft;

/// The part a replica plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoleKind {
    /// Takes proposals.
    Leader,
    /// Follows a leader, or waits for one.
    Follower,
    /// Stands for election.
    Candidate,
    /// Follows without a vote.
    #[default]
    Learner,
}

/// The part a replica plays, in which term, and who leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// The term.
    pub term: u64,
    /// The part.
    pub kind: RoleKind,
    /// The leader, if one is known.
    pub leader: Option<Member>,
}

/// Follows the consensus library until it stops; then the replica is a follower that knows no leader.
pub fn publish(raft: &Raft) -> watch::Receiver<Role> {
    let mut metrics = raft.server_metrics();
    let role = role_of(&metrics.borrow_and_update());
    let (sender, receiver) = watch::channel(role);
    tokio::spawn(async move {
        while metrics.changed().await.is_ok() {
            let role = role_of(&metrics.borrow_and_update());
            send(&sender, role);
        }
        let term = sender.borrow().term;
        send(&sender, Role { term, kind: RoleKind::Follower, leader: None });
    });
    receiver
}

fn send(sender: &watch::Sender<Role>, role: Role) {
    sender.send_if_modified(|current| {
        let changed = *current != role;
        *current = role;
        changed
    });
}

fn role_of(metrics: &RaftServerMetrics<u64, Member>) -> Role {
    let kind = match metrics.state {
        ServerState::Leader => RoleKind::Leader,
        ServerState::Candidate => RoleKind::Candidate,
        ServerState::Learner => RoleKind::Learner,
        ServerState::Follower | ServerState::Shutdown => RoleKind::Follower,
    };
    let leader = metrics.current_leader.filter(|_| metrics.state != ServerState::Shutdown);
    let leader = leader.and_then(|id| metrics.membership_config.membership().get_node(&id).cloned());
    Role { term: metrics.vote.leader_id.term, kind, leader }
}
