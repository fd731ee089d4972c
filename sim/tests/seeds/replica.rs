//! One replica of the trio: the real log and scheduler on a simulated disk and network; killed and started at will.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use meson_engine::State;
use meson_raft::sim::Memory;
use meson_raft::{AdminError, Applied, Member, Position, Replica, RoleKind, SnapshotView, StateMachine};
use meson_scheduler::clock::Clock;
use meson_scheduler::config::Config;
use meson_scheduler::leader;
use meson_scheduler::machine::{Effects, Machine, Published};
use meson_scheduler::shared::Shared;
use tokio::sync::watch;

use crate::network::Wire;
use crate::world::{Host, Up, World, fnv};

/// Unix time at the beginning of every simulation.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);

/// What stays of a replica when its process does not.
#[derive(Clone)]
pub struct Machinery {
    /// Which replica.
    pub host: Host,
    /// Its disk.
    pub disk: Memory,
    /// Where its snapshots are.
    pub directory: PathBuf,
    /// How fast leases end, and how often snapshots are taken.
    pub settings: Settings,
    /// The replicas it is told of: those that there were when it was set up.
    peers: Vec<Host>,
    starts: Arc<AtomicU64>,
    stop: Arc<std::sync::Mutex<Option<watch::Sender<bool>>>>,
}

/// What differs from seed to seed.
#[derive(Clone, Copy)]
pub struct Settings {
    /// The executors' lease.
    pub lease_ms: u64,
    /// Entries between snapshots.
    pub snapshot_every: u64,
}

/// What stands before a replica's number in its address.
const ADDRESS: &str = "http://sim-";

/// A replica as members know it.
pub fn member(host: Host) -> Member {
    let address = format!("{ADDRESS}{host}");
    let (raft_address, api_address) = (address.clone(), address.clone());
    Member { node_id: host, raft_address, api_address, http_address: address }
}

/// Whose address it is.
pub fn host_of(address: &str) -> Option<Host> {
    address.strip_prefix(ADDRESS)?.parse().ok()
}

impl Machinery {
    /// A new machine.
    pub fn new(host: Host, directory: PathBuf, settings: Settings, peers: Vec<Host>) -> Self {
        let (starts, stop) = Default::default();
        Self { host, disk: Memory::default(), directory, settings, peers, starts, stop }
    }

    /// Starts the replica on what the disk holds.
    pub async fn start(&self, world: &World) {
        let incarnation = self.starts.fetch_add(1, Ordering::Relaxed) + 1;
        let (machine, published, effects) = Machine::new(self.config().format());
        let watched =
            Watched { machine, published: published.clone(), world: world.clone(), host: self.host };
        let mut raft = self.config().raft();
        raft.keep_entries_after_snapshot = 5;
        let wire = Wire { world: world.clone(), from: self.host, incarnation };
        let replica = match Replica::open_simulated(raft, watched, &self.disk, Arc::new(wire)).await {
            Ok(replica) => replica,
            Err(error) => return world.fail(format!("replica {} does not open: {error}", self.host)),
        };
        // Skewed clocks: the state's time must not depend on them.
        let clock = Clock::at(EPOCH + world.elapsed() + Duration::from_millis(self.host * 700));
        let shared = Shared::new(self.config(), published, replica.clone(), clock);
        let up = Up { incarnation, server: replica.simulated_server(), shared: shared.clone() };
        world.set_up(self.host, up);
        world.note(format!("replica {} is up", self.host));
        let (stop, stopping) = watch::channel(false);
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop);
        tokio::task::spawn_local(watch_role(world.clone(), self.host, replica.clone()));
        tokio::task::spawn_local(watch_end(self.clone(), world.clone(), incarnation, replica.clone()));
        tokio::task::spawn_local(take_part(world.clone(), shared, self.peers.clone(), effects, stopping));
    }

    fn config(&self) -> Config {
        Config {
            node_id: self.host,
            lease_ms: self.settings.lease_ms,
            lease_margin_ms: 500,
            heartbeat_ms: 500,
            kill_grace_ms: 300,
            snapshot_every_entries: self.settings.snapshot_every,
            data_dir: self.directory.clone(),
            ..Config::default()
        }
    }

    /// The process is gone from one instant to the next, and with it what the disk had not synced.
    pub fn kill(&self, world: &World) {
        let Some(up) = world.take_down(self.host) else { return };
        let lost = self.disk.cut();
        world.note(format!("replica {} is killed, {lost} unsynced changes are lost", self.host));
        // What is left of it can reach neither disk nor network any more; it is swept away.
        if let Some(stop) = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take() {
            stop.send_replace(true);
        }
        tokio::task::spawn_local(async move { up.shared.replica.shutdown().await });
    }
}

/// Takes part in the group, and leads when it is its turn.
async fn take_part(
    world: World,
    shared: Shared,
    members: Vec<Host>,
    effects: Effects,
    stopping: watch::Receiver<bool>,
) {
    let host = shared.config.node_id;
    let mut stopped = stopping.clone();
    let founded = tokio::select! {
        founded = shared.replica.found(members.into_iter().map(member).collect()) => founded,
        _ = stopped.wait_for(|stop| *stop) => return,
    };
    match founded {
        Ok(()) => leader::run(shared, effects, stopping).await,
        Err(error @ AdminError::Forgotten { .. }) => world.fail(format!("replica {host}: {error}")),
        Err(error) => world.note(format!("replica {host} does not take part: {error}")),
    }
}

/// Notes who leads.
async fn watch_role(world: World, host: Host, replica: Replica) {
    let mut roles = replica.role();
    loop {
        let role = roles.borrow_and_update().clone();
        if role.kind == RoleKind::Leader {
            world.note(format!("replica {host} leads in term {}", role.term));
            world.history(|history| history.leads(host, role.term));
        }
        if roles.changed().await.is_err() {
            return;
        }
    }
}

/// A replica that fails by itself ends its process, as the real one does.
async fn watch_end(machinery: Machinery, world: World, incarnation: u64, replica: Replica) {
    let reason = replica.stopped().await;
    if world.is_up(machinery.host, incarnation) {
        world.note(format!("replica {} failed: {}", machinery.host, reason.is_some()));
        machinery.kill(&world);
    }
}

/// The scheduler's machine, with a look at what it does.
struct Watched {
    machine: Machine,
    published: Published,
    world: World,
    host: Host,
}

impl StateMachine for Watched {
    fn apply(&mut self, at: Position, commands: &[Bytes]) -> std::io::Result<Applied> {
        let applied = self.machine.apply(at, commands)?;
        let digest = commands.iter().fold(0, |digest, command| fnv(digest, command));
        let state: Arc<State> = self.published.state();
        self.world.history(|history| history.applied(self.host, at, digest, &state));
        self.world.note(format!("{} applied {} of term {}: {digest:x}", self.host, at.index, at.term));
        Ok(applied)
    }

    fn snapshot(&self) -> Box<dyn SnapshotView> {
        self.machine.snapshot()
    }

    fn restore(&mut self, input: &mut dyn std::io::Read) -> std::io::Result<()> {
        self.world.note(format!("{} restores a snapshot", self.host));
        self.machine.restore(input)
    }
}
