//! Changes of the members, of who leads, and of the snapshot, as an operator asks for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::error::{ClientWriteError, RaftError};
use tokio::time::Instant;

use crate::config::Member;
use crate::error::AdminError;
use crate::replica::Replica;
use crate::role::RoleKind;

/// Membership changes are answered within this.
const CHANGE_DEADLINE: Duration = Duration::from_secs(30);
/// A snapshot that was asked for is waited for this long.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(600);
/// A snapshot is asked for again when nothing was heard for this long: one already under way may stop short.
const SNAPSHOT_RETRY: Duration = Duration::from_millis(500);
/// Handing over takes a few round trips; after this long the leader goes on leading.
const HAND_OVER_DEADLINE: Duration = Duration::from_secs(3);
/// The chosen successor is asked again when it did not win within this.
const HAND_OVER_RETRY: Duration = Duration::from_millis(200);

/// A successor that gives no answer so often in a row is given up.
const SILENCES_MAX: u32 = 3;
/// How often it is looked for answers of the voters.
const CONTACT_POLL: Duration = Duration::from_millis(10);
/// A learner gets a vote when it has all but so many entries; until it has them too, they wait for the others.
const PROMOTE_LAG_MAX: u64 = 1_000;

type Change = ChangeMembers<u64, Member>;
type ChangeResult<T> = Result<T, RaftError<u64, ClientWriteError<u64, Member>>>;

impl Replica {
    /// Adds a member that follows without a vote. Asking again is harmless; other addresses under the same number are
    /// refused.
    pub async fn add_learner(&self, member: Member) -> Result<(), AdminError> {
        self.must_lead()?;
        let known = self.members().into_iter().find(|known| known.node_id == member.node_id);
        match known {
            Some(known) if known == member => return self.settled().await,
            Some(known) => {
                let text = format!("replica {} is a member at {}", known.node_id, known.raft_address);
                return Err(AdminError::Refused(text));
            }
            None => {}
        }
        let adding = self.raft().add_learner(member.node_id, member, false);
        changed(tokio::time::timeout(CHANGE_DEADLINE, adding).await)
    }

    /// Gives a learner a vote, in the same step in which another member, if one is named, loses its own and is
    /// forgotten.
    ///
    /// # Errors
    /// `Refused` when the learner lags too far behind, or when too few of the new voters answer for the group to go on.
    pub async fn promote(&self, node_id: u64, instead_of: Option<u64>) -> Result<(), AdminError> {
        self.must_lead()?;
        let mut voters = self.voters();
        if instead_of.is_none() && voters.contains(&node_id) {
            return self.settled().await;
        }
        if instead_of == Some(self.node_id()) {
            return Err(AdminError::Refused(LEADER_STAYS.into()));
        }
        voters.insert(node_id);
        if let Some(old) = instead_of {
            voters.remove(&old);
        }
        let lag = self.status().members.into_iter().find(|member| member.member.node_id == node_id);
        let why = match lag.map(|member| member.lag) {
            Some(Some(lag)) if lag <= PROMOTE_LAG_MAX => None,
            Some(Some(lag)) => Some(format!("is {lag} entries behind: wait for it")),
            Some(None) => Some("has taken nothing in yet: see that it runs, and wait for it".to_owned()),
            None => Some("is not a member: add it first".to_owned()),
        };
        if let Some(why) = why {
            return Err(AdminError::Refused(format!("replica {node_id} {why}")));
        }
        self.must_reach_quorum(&voters).await?;
        let changing = self.raft().change_membership(Change::ReplaceAllVoters(voters), false);
        changed(tokio::time::timeout(CHANGE_DEADLINE, changing).await)
    }

    /// Takes a member out of the group; asking again is harmless.
    ///
    /// # Errors
    /// `Refused` for the leader itself, and when too few of the voters that stay answer for the group to go on.
    pub async fn remove(&self, node_id: u64) -> Result<(), AdminError> {
        self.must_lead()?;
        if node_id == self.node_id() {
            return Err(AdminError::Refused(LEADER_STAYS.into()));
        }
        if !self.members().iter().any(|member| member.node_id == node_id) {
            return self.settled().await;
        }
        let mut voters = self.voters();
        let change = if voters.remove(&node_id) {
            self.must_reach_quorum(&voters).await?;
            Change::RemoveVoters(BTreeSet::from([node_id]))
        } else {
            Change::RemoveNodes(BTreeSet::from([node_id]))
        };
        let changing = self.raft().change_membership(change, false);
        changed(tokio::time::timeout(CHANGE_DEADLINE, changing).await)
    }

    /// Hands leadership over to a voter: the named one, or the one that lags least. Proposals are held back meanwhile.
    /// Gives whoever leads then, which may be another one if an election came in between.
    ///
    /// The consensus library knows no transfer of leadership. So the successor is told to stand for election while
    /// nothing new is written; the vote of this replica, which does not defend its term, and its own are a majority of
    /// three. In a larger group the other followers vote once their leader's lease has run out. A new leader first lets
    /// the lease of its own election pass, within which it votes for nobody.
    ///
    /// # Errors
    /// `Refused` when there is nobody to hand over to; `Unknown` when the successor did not win in time: then whoever
    /// leads goes on.
    pub async fn hand_over(&self, to: Option<u64>) -> Result<Member, AdminError> {
        self.must_lead()?;
        let successor = self.successor(to)?;
        if successor.node_id == self.node_id() {
            return Ok(successor);
        }
        let _held = self.proposals().hold();
        let handing = async {
            self.own_lease_over().await?;
            let mut silences = 0;
            loop {
                let (term, last) = {
                    let metrics = self.raft().metrics().borrow().clone();
                    (metrics.current_term, metrics.last_log_index.unwrap_or(0))
                };
                // Refused until it has all entries; then it stands.
                let asked = self.network().hand_over(&successor, self.node_id(), term, last).await;
                silences = match asked {
                    Err(status) if status.code() == tonic::Code::Unavailable => silences + 1,
                    _ => 0,
                };
                if silences >= SILENCES_MAX {
                    return Err(AdminError::Refused(format!(
                        "replica {} does not answer",
                        successor.node_id
                    )));
                }
                let mut role = self.role();
                let left = role.wait_for(|role| role.kind != RoleKind::Leader);
                match tokio::time::timeout(HAND_OVER_RETRY, left).await {
                    Ok(Ok(_)) => break,
                    Ok(Err(_)) => return Err(AdminError::Stopped),
                    Err(_) => {}
                }
            }
            let mut role = self.role();
            let led = role.wait_for(|role| role.leader.is_some()).await.map_err(|_| AdminError::Stopped)?;
            led.leader.clone().ok_or(AdminError::Unknown)
        };
        tokio::time::timeout(HAND_OVER_DEADLINE, handing).await.unwrap_or(Err(AdminError::Unknown))
    }

    async fn own_lease_over(&self) -> Result<(), AdminError> {
        let elected = self.raft().with_raft_state(|state| state.vote_last_modified());
        let elected = elected.await.map_err(|_| AdminError::Stopped)?;
        if let Some(elected) = elected {
            tokio::time::sleep_until(elected + self.lease()).await;
        }
        Ok(())
    }

    /// Hands over to a voter that has room on its disk, if this leader's has too little for new commands. Gives the
    /// successor, if there is one.
    pub async fn relieve(&self) -> Option<Member> {
        let short = self.space().shortage(false).is_some();
        if !short || self.must_lead().is_err() {
            return None;
        }
        for voter in self.status().members.into_iter().filter(|member| member.voter) {
            let answer = self.network().inquire(&voter.member, self.node_id(), false);
            let has_room = voter.member.node_id != self.node_id()
                && answer.await.is_ok_and(|answer| !answer.short_of_disk);
            if has_room {
                return self.hand_over(Some(voter.member.node_id)).await.ok();
            }
        }
        None
    }

    fn successor(&self, to: Option<u64>) -> Result<Member, AdminError> {
        let voters = self.status().members.into_iter().filter(|member| member.voter);
        let mut others: Vec<_> = voters.filter(|member| member.member.node_id != self.node_id()).collect();
        others.sort_by_key(|member| member.lag.unwrap_or(u64::MAX));
        let chosen = match to {
            Some(id) if id == self.node_id() => return Ok(self.myself()),
            Some(id) => others.into_iter().find(|member| member.member.node_id == id),
            None => others.into_iter().next(),
        };
        let refused = || match to {
            Some(id) => AdminError::Refused(format!("replica {id} is not a voter of this group")),
            None => AdminError::Refused("there is no other voter".into()),
        };
        chosen.map(|member| member.member).ok_or_else(refused)
    }

    fn myself(&self) -> Member {
        let me = self.members().into_iter().find(|member| member.node_id == self.node_id());
        me.unwrap_or_default()
    }

    /// What each member's program understands, or why it does not say.
    pub async fn format_levels(&self) -> BTreeMap<u64, Result<u32, String>> {
        let asking = self.members().into_iter().map(async |member| {
            if member.node_id == self.node_id() {
                return (member.node_id, Ok(self.format_level()));
            }
            let answer = self.network().inquire(&member, self.node_id(), false).await;
            let level = answer.map(|answer| answer.format_level);
            (member.node_id, level.map_err(|status| status.message().to_owned()))
        });
        futures::future::join_all(asking).await.into_iter().collect()
    }

    /// The format level of a replica that is no member yet.
    ///
    /// # Errors
    /// `Refused` when it does not answer, or is another one.
    pub async fn format_level_of(&self, member: &Member) -> Result<u32, AdminError> {
        let answer = self.network().inquire(member, self.node_id(), false).await;
        let answer = answer.map_err(|status| {
            let text = format!("replica {} does not answer at {}", member.node_id, member.raft_address);
            AdminError::Refused(format!("{text}: {}", status.message()))
        })?;
        Ok(answer.format_level)
    }

    /// Builds a snapshot of at least what is applied now, and waits for it.
    pub async fn snapshot_now(&self) -> Result<(), AdminError> {
        let wanted = self.raft().metrics().borrow().last_applied;
        let building = async {
            loop {
                self.raft().trigger().snapshot().await.map_err(|_| AdminError::Stopped)?;
                let waiting = self.raft().wait(Some(SNAPSHOT_RETRY));
                if waiting.metrics(|metrics| metrics.snapshot >= wanted, "snapshot").await.is_ok() {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(SNAPSHOT_DEADLINE, building).await.unwrap_or(Err(AdminError::Unknown))
    }

    /// The library would first look whether the change fits, which a follower may not know.
    fn must_lead(&self) -> Result<(), AdminError> {
        let role = self.role();
        let role = role.borrow();
        match role.kind {
            RoleKind::Leader => Ok(()),
            RoleKind::Follower | RoleKind::Candidate | RoleKind::Learner => {
                Err(AdminError::NotLeader { leader: role.leader.clone() })
            }
        }
    }

    fn voters(&self) -> BTreeSet<u64> {
        let metrics = self.raft().server_metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().voter_ids().collect()
    }

    /// Returns once the members as this leader has them are committed: they may be those of a change that was asked
    /// for before, and whose outcome is still open.
    async fn settled(&self) -> Result<(), AdminError> {
        let led = self.role().borrow().term;
        let committed = |metrics: &openraft::RaftMetrics<u64, Member>| {
            metrics.current_term != led || *metrics.membership_config.log_id() <= metrics.last_applied
        };
        let waiting = self.raft().wait(Some(CHANGE_DEADLINE));
        waiting.metrics(committed, "members").await.map_err(|_| AdminError::Unknown)?;
        self.must_lead()?;
        if self.role().borrow().term == led { Ok(()) } else { Err(AdminError::Unknown) }
    }

    /// A change to voters of whom most are away would be the group's last.
    async fn must_reach_quorum(&self, voters: &BTreeSet<u64>) -> Result<(), AdminError> {
        let asked = Instant::now();
        let answered = async {
            while self.confirmed_by(voters, Instant::now()).is_none_or(|at| at < asked) {
                tokio::time::sleep(CONTACT_POLL).await;
            }
        };
        if tokio::time::timeout(self.contact_max(), answered).await.is_ok() {
            return Ok(());
        }
        let ids: Vec<String> = voters.iter().map(ToString::to_string).collect();
        let text = format!(
            "the voters would be {}, and no majority of them answers: the group would stand still",
            ids.join(", ")
        );
        Err(AdminError::Refused(text))
    }
}

const LEADER_STAYS: &str = "it leads: hand over to another replica first (`mesonctl cluster transfer`)";

fn changed<T>(result: Result<ChangeResult<T>, tokio::time::error::Elapsed>) -> Result<(), AdminError> {
    match result {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
            Err(AdminError::NotLeader { leader: forward.leader_node })
        }
        Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
            Err(AdminError::Refused(error.to_string()))
        }
        Ok(Err(RaftError::Fatal(_))) => Err(AdminError::Stopped),
        Err(_) => Err(AdminError::Unknown),
    }
}
