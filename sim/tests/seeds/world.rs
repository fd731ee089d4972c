//! What all parts of a simulation share: who is up, what the network does to a message, and the record of what happened.
//!
//! Everything runs on one thread, and no lock is held across an await; the locks only satisfy types that are `Send`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meson_raft::sim::{Server, random, random_in};
use meson_scheduler::shared::Shared;
use tokio::time::Instant;

use crate::history::History;

/// A replica, an executor or a client.
pub type Host = u64;

/// The replicas that found the group; those that are added later have higher numbers.
pub const FOUNDERS: [Host; 3] = [1, 2, 3];
/// The executors.
pub const EXECUTORS: [Host; 2] = [101, 102];
/// The clients.
pub const CLIENTS: [Host; 3] = [201, 202, 203];

/// The world; clones share it.
#[derive(Clone)]
pub struct World {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    started: Instant,
    network: Network,
    up: BTreeMap<Host, Up>,
    replicas: Vec<Host>,
    history: History,
    trace: Vec<String>,
    hash: u64,
    failure: Option<String>,
}

/// A replica that runs.
#[derive(Clone)]
pub struct Up {
    /// Which start of it.
    pub incarnation: u64,
    /// Its raft face.
    pub server: Server,
    /// The rest of it.
    pub shared: Shared,
}

/// What the network does.
#[derive(Clone, Default)]
pub struct Network {
    /// Links that carry nothing, each in one direction.
    pub cut: BTreeSet<(Host, Host)>,
    /// How long a message takes.
    pub delay_ms: Range<u64>,
    /// Of a hundred calls between replicas, so many are lost.
    pub loss: u64,
    /// Of a hundred calls between replicas, so many arrive twice.
    pub doubled: u64,
}

impl World {
    /// A quiet one.
    pub fn new() -> Self {
        let network = Network { delay_ms: 1..4, ..Network::default() };
        let inner = Inner {
            started: Instant::now(),
            network,
            up: BTreeMap::new(),
            replicas: FOUNDERS.to_vec(),
            history: History::default(),
            trace: Vec::new(),
            hash: 0xcbf2_9ce4_8422_2325,
            failure: None,
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what happened.
    pub fn note(&self, what: impl AsRef<str>) {
        let mut inner = self.lock();
        let line = format!("{:>8} {}", inner.started.elapsed().as_millis(), what.as_ref());
        inner.mix(line.as_bytes());
        inner.trace.push(line);
    }

    /// A promise was broken; the first one counts.
    pub fn fail(&self, what: impl AsRef<str>) {
        self.note(format!("BROKEN: {}", what.as_ref()));
        self.lock().failure.get_or_insert_with(|| what.as_ref().to_owned());
    }

    /// What was broken first.
    pub fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// All that was noted.
    pub fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }

    /// A digest of all that was noted and of every message.
    pub fn hash(&self) -> u64 {
        self.lock().hash
    }

    /// Virtual time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.lock().started.elapsed()
    }

    /// Adds to the history, or asks it; what it finds broken is noted.
    pub fn history<R>(&self, act: impl FnOnce(&mut History) -> Result<R, String>) -> Option<R> {
        let result = act(&mut self.lock().history);
        result.map_err(|broken| self.fail(broken)).ok()
    }

    /// Changes what the network does.
    pub fn network<R>(&self, act: impl FnOnce(&mut Network) -> R) -> R {
        act(&mut self.lock().network)
    }

    /// All replicas whose addresses are known, whether they run or not.
    pub fn replicas(&self) -> Vec<Host> {
        self.lock().replicas.clone()
    }

    /// Another replica has an address from now on.
    pub fn add_replica(&self, host: Host) {
        self.lock().replicas.push(host);
    }

    /// A replica's address is nobody's any more.
    pub fn forget_replica(&self, host: Host) {
        self.lock().replicas.retain(|known| *known != host);
    }

    /// One of them.
    pub fn any_replica(&self) -> Host {
        let replicas = self.replicas();
        replicas[random() as usize % replicas.len()]
    }

    /// A replica runs.
    pub fn set_up(&self, host: Host, up: Up) {
        self.lock().up.insert(host, up);
    }

    /// A replica runs no more.
    pub fn take_down(&self, host: Host) -> Option<Up> {
        self.lock().up.remove(&host)
    }

    /// A replica, if it runs.
    pub fn up(&self, host: Host) -> Option<Up> {
        self.lock().up.get(&host).cloned()
    }

    /// Whether this start of a replica still runs.
    pub fn is_up(&self, host: Host, incarnation: u64) -> bool {
        self.lock().up.get(&host).is_some_and(|up| up.incarnation == incarnation)
    }

    /// Whether a link carries messages.
    pub fn is_open(&self, from: Host, to: Host) -> bool {
        !self.lock().network.cut.contains(&(from, to))
    }

    /// Takes a message from one host to another; false when it is lost.
    pub async fn carry(&self, from: Host, to: Host) -> bool {
        let (delay, lost) = {
            let mut inner = self.lock();
            let delay = random_in(inner.network.delay_ms.clone());
            let lost = random() % 100 < inner.network.loss;
            inner.mix(&[from.to_le_bytes(), to.to_le_bytes(), delay.to_le_bytes()].concat());
            (delay, lost)
        };
        let open = self.is_open(from, to);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        open && !lost && self.is_open(from, to)
    }

    /// Whether a call arrives twice.
    pub fn is_doubled(&self) -> bool {
        random() % 100 < self.lock().network.doubled
    }
}

impl Inner {
    fn mix(&mut self, bytes: &[u8]) {
        self.hash = fnv(self.hash, bytes);
    }
}

/// FNV-1a, carried on.
pub fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
