//! A replica: opens the files, starts the tasks, and is the handle on all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meson_proto::raft::v1::raft_service_server::{RaftService, RaftServiceServer};
use openraft::error::{ClientWriteError, Fatal, InitializeError, RaftError};
use openraft::{LogIdOptionExt, ServerState, SnapshotPolicy};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::acks::Acks;
use crate::archive::Archive;
use crate::batcher::Proposals;
use crate::config::{Config, Member};
use crate::disk::{Disk, Op, Tree};
use crate::error::{AdminError, OpenError, ProposeError, ReadError, StoreError};
use crate::grpc::Grpc;
use crate::log_store::LogStore;
use crate::machine::Machine;
use crate::network::{Network, Transport};
use crate::reads::Reads;
use crate::role::{Role, RoleKind, publish};
use crate::service::Service;
use crate::snapshot::Snapshots;
use crate::state_machine::StateMachine;
use crate::status::{Status, status_of};
use crate::types::Raft;

const IDENTITY: &[u8] = b"identity";
/// Membership changes are answered within this.
const CHANGE_DEADLINE: Duration = Duration::from_secs(30);
/// A snapshot that was asked for is waited for this long.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(600);
/// A snapshot is asked for again when nothing was heard for this long: one already under way may stop short.
const SNAPSHOT_RETRY: Duration = Duration::from_millis(500);

/// One member of a group; clones are handles on the same one. [`Replica::shutdown`] ends it.
#[derive(Clone)]
pub struct Replica {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    raft: Raft,
    disk: Disk,
    log: LogStore,
    snapshots: Snapshots,
    acks: Acks,
    proposals: Proposals,
    reads: Reads,
    role: watch::Receiver<Role>,
    stop: watch::Sender<bool>,
}

/// What opening the files gives.
struct Opened {
    disk: Disk,
    log: LogStore,
    snapshots: Snapshots,
    machine: Machine,
}

impl Replica {
    /// Opens the files, restores the state machine from snapshot and log, and takes part in the group.
    pub async fn open(config: Config, state_machine: impl StateMachine) -> Result<Replica, OpenError> {
        let (directory, cache_bytes) = (config.data_dir.join("store"), config.cache_bytes);
        let transport = Arc::new(Grpc::new(&config));
        let disk = move || Disk::open(&directory, cache_bytes);
        Self::open_with(config, state_machine, disk, transport).await
    }

    /// Opens a replica whose disk and network are simulated; snapshots are files all the same.
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    pub async fn open_simulated(
        config: Config,
        state_machine: impl StateMachine,
        memory: &crate::sim::Memory,
        transport: Arc<dyn Transport>,
    ) -> Result<Replica, OpenError> {
        let disk = Disk::simulated(memory);
        Self::open_with(config, state_machine, move || Ok(disk), transport).await
    }

    async fn open_with(
        config: Config,
        state_machine: impl StateMachine,
        disk: impl FnOnce() -> Result<Disk, StoreError> + Send + 'static,
        transport: Arc<dyn Transport>,
    ) -> Result<Replica, OpenError> {
        let library_config = library_config(&config)?;
        let files = config.clone();
        let opening = crate::blocking(move || open_files(disk()?, &files, state_machine));
        let opened = opening.await.map_err(|error| OpenError::Consensus(error.to_string()))??;
        let acks = Acks::default();
        let network = Network::new(&config, acks.clone(), transport);
        let started =
            Raft::new(config.node_id, Arc::new(library_config), network, opened.log.clone(), opened.machine);
        let raft = match started.await {
            Ok(raft) => raft,
            Err(error) => {
                close(opened.disk).await;
                return Err(OpenError::Consensus(error.to_string()));
            }
        };
        let (stop, stopping) = watch::channel(false);
        let role = publish(&raft);
        let inner = Inner {
            proposals: Proposals::start(&config, raft.clone(), role.clone(), stopping.clone()),
            reads: Reads::start(&config, raft.clone(), stopping),
            raft,
            disk: opened.disk,
            log: opened.log,
            snapshots: opened.snapshots,
            acks,
            role,
            stop,
            config,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Founds the group with these members, on any or all of them. Nothing happens if that was done before.
    pub async fn initialize(&self, members: Vec<Member>) -> Result<(), AdminError> {
        let members: BTreeMap<u64, Member> =
            members.into_iter().map(|member| (member.node_id, member)).collect();
        match self.inner.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(error)) => Err(AdminError::Refused(error.to_string())),
            Err(RaftError::Fatal(_)) => Err(AdminError::Stopped),
        }
    }

    /// Whether this replica belongs to a founded group.
    pub async fn is_initialized(&self) -> bool {
        self.inner.raft.is_initialized().await.unwrap_or(false)
    }

    /// Has one command committed and applied, and gives its outcome.
    pub async fn propose(&self, command: Bytes) -> Result<Bytes, ProposeError> {
        let outcomes = self.propose_all(vec![command]).await?;
        Ok(outcomes.into_iter().next().unwrap_or_default())
    }

    /// Has commands committed next to each other in one entry, and gives their outcomes.
    pub async fn propose_all(&self, commands: Vec<Bytes>) -> Result<Vec<Bytes>, ProposeError> {
        if *self.inner.stop.borrow() {
            return Err(ProposeError::Stopped);
        }
        self.inner.proposals.propose(commands).await
    }

    /// Returns once this replica is known to have led after the call, with all applied that was committed then:
    /// what is read from the state afterwards is current.
    pub async fn read_barrier(&self) -> Result<(), ReadError> {
        #[cfg(feature = "sim")]
        if crate::sim::is_planted(crate::sim::Bug::ReadWithoutBarrier) {
            return Ok(());
        }
        self.inner.reads.barrier().await
    }

    /// An instant at which this replica is known to have led: just before a read barrier that succeeded.
    pub async fn confirm_leadership(&self) -> Result<Instant, ReadError> {
        let before = Instant::now();
        self.read_barrier().await.map(|()| before)
    }

    /// The part this replica plays, as it changes.
    pub fn role(&self) -> watch::Receiver<Role> {
        self.inner.role.clone()
    }

    /// On a leader, an instant at or before which a quorum is known to have confirmed it: when the calls were sent
    /// that a quorum has answered. A single replica needs nobody's word.
    pub fn quorum_acked_at(&self) -> Option<Instant> {
        let now = Instant::now();
        let metrics = self.inner.raft.server_metrics();
        let metrics = metrics.borrow();
        if metrics.state != ServerState::Leader || *self.inner.stop.borrow() {
            return None;
        }
        let voters = metrics.membership_config.membership().get_joint_config();
        self.inner.acks.quorum_at(metrics.vote, self.inner.config.node_id, voters, now)
    }

    /// Waits until this replica takes part no more: with the reason if it failed. What failed once is not trusted
    /// again; the process should end, and the replica be opened anew.
    pub async fn stopped(&self) -> Option<String> {
        let mut metrics = self.inner.raft.metrics();
        let last = metrics.wait_for(|metrics| metrics.running_state.is_err()).await;
        let state = last.map(|metrics| metrics.running_state.clone());
        match state {
            Ok(Err(Fatal::Stopped)) | Err(_) if *self.inner.stop.borrow() => None,
            Ok(Err(fatal)) => Some(fatal.to_string()),
            Ok(Ok(())) | Err(_) => Some("the consensus task ended".into()),
        }
    }

    /// How this replica is, as far as it knows.
    pub fn status(&self) -> Status {
        let mut status = status_of(&self.inner.raft.metrics().borrow());
        status.committed_index = status.committed_index.max(self.inner.log.committed().index());
        status.disk_bytes = self.inner.disk.size_bytes() + self.inner.snapshots.size_bytes();
        status
    }

    /// The members, by number.
    pub fn members(&self) -> Vec<Member> {
        let metrics = self.inner.raft.server_metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().nodes().map(|(_, member)| member.clone()).collect()
    }

    /// Adds a member that follows without a vote, or changes a member's addresses.
    pub async fn add_learner(&self, member: Member) -> Result<(), AdminError> {
        self.must_lead()?;
        let adding = self.inner.raft.add_learner(member.node_id, member, false);
        changed(tokio::time::timeout(CHANGE_DEADLINE, adding).await)
    }

    /// Makes exactly these members voters; who voted before and does not any more stays as a learner.
    pub async fn change_voters(&self, ids: BTreeSet<u64>) -> Result<(), AdminError> {
        self.must_lead()?;
        let changing = self.inner.raft.change_membership(ids, true);
        changed(tokio::time::timeout(CHANGE_DEADLINE, changing).await)
    }

    /// The library would first look whether the change fits, which a follower may not know.
    fn must_lead(&self) -> Result<(), AdminError> {
        let role = self.inner.role.borrow();
        match role.kind {
            RoleKind::Leader => Ok(()),
            RoleKind::Follower | RoleKind::Candidate | RoleKind::Learner => {
                Err(AdminError::NotLeader { leader: role.leader.clone() })
            }
        }
    }

    /// Builds a snapshot of at least what is applied now, and waits for it.
    pub async fn snapshot_now(&self) -> Result<(), AdminError> {
        let wanted = self.inner.raft.metrics().borrow().last_applied;
        let building = async {
            loop {
                self.inner.raft.trigger().snapshot().await.map_err(|_| AdminError::Stopped)?;
                let waiting = self.inner.raft.wait(Some(SNAPSHOT_RETRY));
                if waiting.metrics(|metrics| metrics.snapshot >= wanted, "snapshot").await.is_ok() {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(SNAPSHOT_DEADLINE, building).await.unwrap_or(Err(AdminError::Unknown))
    }

    /// The archive of this replica.
    pub fn archive(&self) -> Archive {
        Archive::new(self.inner.disk.clone())
    }

    /// The service to serve on the raft port.
    pub fn service(&self) -> RaftServiceServer<impl RaftService> {
        let limit = self.inner.config.message_bytes_max();
        let service = RaftServiceServer::new(self.inner.service());
        service.max_decoding_message_size(limit).max_encoding_message_size(limit)
    }

    /// The same, without gRPC around it.
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    pub fn simulated_server(&self) -> crate::sim::Server {
        crate::sim::Server(self.inner.service())
    }

    /// Stops taking part, makes everything durable and closes the files. May be called more than once.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::error!(%error, "the consensus task did not end well");
        }
        close(self.inner.disk.clone()).await;
    }
}

impl Inner {
    fn service(&self) -> Service {
        Service {
            group_id: self.config.group_id,
            node_id: self.config.node_id,
            raft: self.raft.clone(),
            snapshots: self.snapshots.clone(),
        }
    }
}

async fn close(disk: Disk) {
    if let Err(error) = crate::blocking(move || disk.close()).await {
        tracing::error!(%error, "closing the log failed");
    }
}

type ChangeResult<T> = Result<T, RaftError<u64, ClientWriteError<u64, Member>>>;

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

fn library_config(config: &Config) -> Result<openraft::Config, OpenError> {
    let positive = [config.batch_commands_max, config.batches_in_flight_max, config.queue_commands_max];
    if positive.contains(&0) || config.batch_bytes_max == 0 {
        return Err(OpenError::Config("limits must be positive".into()));
    }
    let library = openraft::Config {
        cluster_name: config.group_id.to_string(),
        heartbeat_interval: config.heartbeat_ms,
        election_timeout_min: config.election_min_ms,
        election_timeout_max: config.election_max_ms,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_every_entries),
        max_in_snapshot_log_to_keep: config.keep_entries_after_snapshot,
        ..openraft::Config::default()
    };
    library.validate().map_err(|error| OpenError::Config(error.to_string()))
}

/// Blocks.
fn open_files(disk: Disk, config: &Config, state_machine: impl StateMachine) -> Result<Opened, OpenError> {
    let opened = open_in(disk.clone(), config, state_machine);
    if opened.is_err() {
        // Whoever tries again finds the store unlocked.
        disk.close();
    }
    opened
}

fn open_in(disk: Disk, config: &Config, state_machine: impl StateMachine) -> Result<Opened, OpenError> {
    check_identity(&disk, config, &config.data_dir)?;
    let snapshots = Snapshots::open(&config.data_dir.join("snapshots"), config.group_id)?;
    let log = LogStore::open(disk.clone(), config.node_id, config.batch_bytes_max * 2)?;
    let machine = Machine::open(state_machine, disk.clone(), snapshots.clone())?;
    Ok(Opened { disk, log, snapshots, machine })
}

/// Two replicas that swap their directories would vote twice in a term.
fn check_identity(disk: &Disk, config: &Config, dir: &Path) -> Result<(), OpenError> {
    let mine = [config.group_id.to_be_bytes(), config.node_id.to_be_bytes()].concat();
    let Some(found) = disk.get(Tree::Meta, IDENTITY)? else {
        disk.write(vec![Op::Put(Tree::Meta, IDENTITY.to_vec(), mine.into())], true).wait_blocking()?;
        return Ok(());
    };
    if found[..] == mine[..] {
        return Ok(());
    }
    let part =
        |range| found.get(range).and_then(|bytes: &[u8]| bytes.try_into().ok()).map(u64::from_be_bytes);
    let (Some(found_group), Some(found_node)) = (part(0..8), part(8..16)) else {
        return Err(StoreError::corrupt("meta identity", "not two numbers").into());
    };
    let dir = dir.to_owned();
    Err(OpenError::Identity { dir, found_group, found_node, group: config.group_id, node: config.node_id })
}
