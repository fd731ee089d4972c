//! A replica: opens the files, starts the tasks, and is the handle on all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meson_proto::raft::v1::raft_service_server::{RaftService, RaftServiceServer};
use openraft::error::{Fatal, InitializeError, RaftError};
use openraft::{LogIdOptionExt, ServerState, SnapshotPolicy};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::acks::Acks;
use crate::archive::Archive;
use crate::batcher::Proposals;
use crate::compaction;
use crate::config::{Config, Member};
use crate::disk::Disk;
use crate::elections::Elections;
use crate::error::{AdminError, OpenError, ProposeError, ReadError, StoreError};
use crate::files;
use crate::founding::Founding;
use crate::grpc::Grpc;
use crate::log_store::LogStore;
use crate::network::{Network, Transport};
use crate::reads::Reads;
use crate::role::{Role, publish};
use crate::sabotage;
use crate::service::Service;
use crate::snapshot::Snapshots;
use crate::space::Space;
use crate::state_machine::StateMachine;
use crate::status::{Status, status_of};
use crate::types::Raft;

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
    network: Network,
    founding: Arc<Founding>,
    proposals: Proposals,
    space: Space,
    reads: Reads,
    role: watch::Receiver<Role>,
    stop: watch::Sender<bool>,
}

impl Replica {
    /// Opens the files, restores the state machine from snapshot and log, and takes part in the group.
    pub async fn open(config: Config, state_machine: impl StateMachine) -> Result<Replica, OpenError> {
        let (directory, cache_bytes) = (files::store(&config), config.cache_bytes);
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
        let paths = config.clone();
        let opening = crate::blocking(move || files::open(disk, &paths, state_machine));
        let opened = opening.await.map_err(|error| OpenError::Consensus(error.to_string()))??;
        let acks = Acks::default();
        let network = Network::new(&config, acks.clone(), transport);
        let (library_config, log) = (Arc::new(library_config), opened.log.clone());
        let started = Raft::new(config.node_id, library_config, network.clone(), log, opened.machine);
        let raft = match started.await {
            Ok(raft) => raft,
            Err(error) => {
                close(opened.disk).await;
                return Err(OpenError::Consensus(error.to_string()));
            }
        };
        let (stop, stopping) = watch::channel(false);
        let role = publish(&raft);
        let space = Space::new(
            config.data_dir.clone(),
            config.disk_reserve_bytes,
            opened.disk.clone(),
            opened.snapshots.clone(),
        );
        let compacting =
            compaction::run(raft.clone(), opened.log.clone(), config.snapshot_every_bytes, stopping.clone());
        tokio::spawn(compacting);
        let proposals =
            Proposals::start(&config, raft.clone(), role.clone(), space.clone(), stopping.clone());
        let elections = Elections {
            raft: raft.clone(),
            pace: opened.log.pace(),
            space: space.clone(),
            network: network.clone(),
            proposals: proposals.clone(),
            election_min: Duration::from_millis(config.election_min_ms),
            lease: Duration::from_millis(config.election_max_ms),
        };
        tokio::spawn(elections.run(stopping.clone()));
        let inner = Inner {
            proposals,
            space,
            reads: Reads::start(&config, raft.clone(), stopping),
            raft,
            disk: opened.disk,
            log: opened.log,
            snapshots: opened.snapshots,
            acks,
            network,
            founding: Arc::new(Founding::new(config.hold_until_founded)),
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
        self.propose_within(commands, false).await
    }

    /// As [`Replica::propose_all`], for commands that bring to an end what was accepted before: while the disk is
    /// nearly full these are still taken when new ones are refused, as long as half of the reserve is left.
    pub async fn propose_urgent(&self, commands: Vec<Bytes>) -> Result<Vec<Bytes>, ProposeError> {
        self.propose_within(commands, true).await
    }

    async fn propose_within(&self, commands: Vec<Bytes>, urgent: bool) -> Result<Vec<Bytes>, ProposeError> {
        if *self.inner.stop.borrow() {
            return Err(ProposeError::Stopped);
        }
        self.inner.proposals.propose(commands, urgent).await
    }

    /// Returns once this replica is known to have led after the call, with all applied that was committed then:
    /// what is read from the state afterwards is current.
    pub async fn read_barrier(&self) -> Result<(), ReadError> {
        if sabotage::without("read-barrier") {
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

    /// When a majority of these voters last confirmed this replica as leader, if it leads.
    pub(crate) fn confirmed_by(&self, voters: &BTreeSet<u64>, now: Instant) -> Option<Instant> {
        let vote = self.inner.raft.server_metrics().borrow().vote;
        self.inner.acks.quorum_at(vote, self.inner.config.node_id, std::slice::from_ref(voters), now)
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
        status.disk_free_bytes = self.inner.space.free_bytes();
        status.disk_low = self.inner.space.shortage(false).is_some();
        status
    }

    /// The members, by number.
    pub fn members(&self) -> Vec<Member> {
        let metrics = self.inner.raft.server_metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().nodes().map(|(_, member)| member.clone()).collect()
    }

    /// This replica's number.
    pub fn node_id(&self) -> u64 {
        self.inner.config.node_id
    }

    /// The newest format of commands and states that this program understands.
    pub fn format_level(&self) -> u32 {
        self.inner.config.format_level
    }

    /// A voter that was not heard for this long counts as away.
    pub(crate) fn contact_max(&self) -> Duration {
        2 * self.lease()
    }

    /// For so long after an election, or a word of the leader, a replica votes for nobody else.
    pub(crate) fn lease(&self) -> Duration {
        Duration::from_millis(self.inner.config.election_max_ms)
    }

    pub(crate) fn space(&self) -> &Space {
        &self.inner.space
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.inner.raft
    }

    pub(crate) fn snapshots(&self) -> &Snapshots {
        &self.inner.snapshots
    }

    pub(crate) fn network(&self) -> &Network {
        &self.inner.network
    }

    pub(crate) fn founding(&self) -> &Founding {
        &self.inner.founding
    }

    pub(crate) fn proposals(&self) -> &Proposals {
        &self.inner.proposals
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
        // The consensus task may be waiting for a write that waits for room.
        self.inner.disk.stop_waiting();
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
            format_level: self.config.format_level,
            founding: self.founding.clone(),
            raft: self.raft.clone(),
            snapshots: self.snapshots.clone(),
            space: self.space.clone(),
            disk: self.disk.clone(),
            low_pause: Duration::from_millis(self.config.heartbeat_ms / 2),
        }
    }
}

async fn close(disk: Disk) {
    if let Err(error) = crate::blocking(move || disk.close()).await {
        tracing::error!(%error, "closing the log failed");
    }
}

fn library_config(config: &Config) -> Result<openraft::Config, OpenError> {
    let positive = [config.batch_commands_max, config.batches_in_flight_max, config.queue_commands_max];
    if positive.contains(&0) || config.batch_bytes_max == 0 || config.snapshot_every_bytes == 0 {
        return Err(OpenError::Config("limits must be positive".into()));
    }
    let library = openraft::Config {
        cluster_name: config.group_id.to_string(),
        heartbeat_interval: config.heartbeat_ms,
        election_timeout_min: config.election_min_ms,
        election_timeout_max: config.election_max_ms,
        // See `elections`.
        enable_elect: false,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_every_entries),
        max_in_snapshot_log_to_keep: config.keep_entries_after_snapshot,
        ..openraft::Config::default()
    };
    library.validate().map_err(|error| OpenError::Config(error.to_string()))
}
