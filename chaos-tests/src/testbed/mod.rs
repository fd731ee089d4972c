//! A trio, executors and clients, each on a machine of its own: a host in a network of namespaces, with a disk of its
//! own for each replica. Everything that a fault needs a handle for is reachable from here.

mod control;
mod disk;
mod look;
mod process;
mod shim;

pub use look::Look;
pub use process::{Death, Process};

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::history::Amounts;
use crate::network::{Host, Network, Port};
use disk::Disk;

/// Ports of a replica, the same on each machine.
const API_PORT: u16 = 7400;
const RAFT_PORT: u16 = 7401;
const HTTP_PORT: u16 = 7402;

/// A machine of the test, from 0 among those of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Machine {
    /// Runs a scheduler.
    Replica(u8),
    /// Runs an executor and its attempts; with Mesos, an agent that starts both.
    Executor(u8),
    /// Runs a master of the stand-in of Mesos.
    Master(u8),
    /// Where clients call from.
    Client(u8),
    /// Where the test itself looks from; no fault touches it.
    Control,
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Machine::Replica(place) => write!(out, "replica-{}", place + 1),
            Machine::Executor(place) => write!(out, "executor-{}", place + 1),
            Machine::Master(place) => write!(out, "master-{}", place + 1),
            Machine::Client(place) => write!(out, "client-{}", place + 1),
            Machine::Control => out.write_str("control"),
        }
    }
}

/// How many machines of each kind there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Replicas of the scheduler.
    pub replicas: u8,
    /// Executors.
    pub executors: u8,
    /// Masters of the stand-in of Mesos; with none, executors connect by themselves.
    pub masters: u8,
    /// Machines that clients are on.
    pub clients: u8,
}

impl Size {
    /// All machines that are replicas.
    pub fn replicas(self) -> impl DoubleEndedIterator<Item = Machine> + Clone {
        (0..self.replicas).map(Machine::Replica)
    }

    /// All machines that are executors.
    pub fn executors(self) -> impl DoubleEndedIterator<Item = Machine> + Clone {
        (0..self.executors).map(Machine::Executor)
    }

    /// All machines that are masters.
    pub fn masters(self) -> impl DoubleEndedIterator<Item = Machine> + Clone {
        (0..self.masters).map(Machine::Master)
    }

    /// All machines that clients are on.
    pub fn clients(self) -> impl DoubleEndedIterator<Item = Machine> + Clone {
        (0..self.clients).map(Machine::Client)
    }

    /// All machines, in the order of their ports.
    pub fn machines(self) -> impl Iterator<Item = Machine> + Clone {
        let under_test = self.replicas().chain(self.executors()).chain(self.masters());
        under_test.chain(self.clients()).chain([Machine::Control])
    }
}

/// What a testbed is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its machines.
    pub size: Size,
    /// What each executor offers.
    pub offer: Amounts,
    /// Length of the lease; shorter than by default, so that a fault that outlasts it fits into a short test.
    pub lease_ms: u64,
    /// What the leader waits beyond the lease.
    pub lease_margin_ms: u64,
    /// Size of each replica's disk.
    pub disk_bytes: u64,
    /// Whether disks answer syncs without doing them. Nothing can keep its promises then: a test of the test.
    pub disks_lie: bool,
    /// More `MESON_*` variables, for all processes.
    pub env: Vec<(String, String)>,
    /// Where data and logs go; must exist.
    pub dir: PathBuf,
    /// Seed of the network's chance.
    pub seed: u64,
}

impl Options {
    /// The usual trio with three executors, in a directory.
    pub fn new(dir: PathBuf, seed: u64) -> Self {
        Options {
            size: Size { replicas: 3, executors: 3, masters: 0, clients: 2 },
            offer: Amounts { cpu_millis: 2_000, mem_bytes: 2 << 30 },
            lease_ms: 6_000,
            lease_margin_ms: 2_000,
            disk_bytes: 1 << 30,
            disks_lie: false,
            env: Vec::new(),
            dir,
            seed,
        }
    }
}

/// The running machines; all ends when it is dropped.
pub struct Testbed {
    options: Options,
    /// Processes go before the hosts and disks that they live on.
    processes: Vec<(Machine, Process)>,
    disks: Vec<Disk>,
    network: Network,
    look: Look,
}

impl Testbed {
    /// Makes the machines and starts the processes on them; does not wait for a leader.
    ///
    /// # Errors
    /// When this process may not make them, or a binary is missing.
    pub fn start(options: Options) -> anyhow::Result<Testbed> {
        let names: Vec<String> = options.size.machines().map(|machine| machine.to_string()).collect();
        let network = Network::new(&names, options.seed)?;
        let shim = shim::build(&options.dir)?;
        let mut disks = Vec::new();
        for machine in options.size.replicas() {
            let host = network.host(port(options.size, machine));
            let dir = options.dir.join(machine.to_string());
            disks.push(Disk::make(host, &dir, options.disk_bytes)?);
        }
        let mut processes = Vec::new();
        let size = options.size;
        for machine in size.masters().chain(size.replicas()).chain(size.executors()) {
            let recipe = control::recipe(&options, machine, &shim)?;
            let process = Process::new(recipe, network.host(port(options.size, machine)))?;
            processes.push((machine, process));
        }
        let endpoints = options.size.replicas().map(|machine| endpoint(options.size, machine));
        let look = Look::new(endpoints.collect());
        Ok(Testbed { options, processes, disks, network, look })
    }

    /// What it is made of.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Its data and logs.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// The network between its machines.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// What replicas say of themselves; to be asked from [`Machine::Control`].
    pub fn look(&self) -> &Look {
        &self.look
    }

    /// Where a machine is plugged in.
    pub fn port(&self, machine: Machine) -> Port {
        port(self.options.size, machine)
    }

    /// The host that a machine is.
    pub fn host(&self, machine: Machine) -> &Host {
        self.network.host(self.port(machine))
    }

    /// Addresses of all replicas' gRPC faces.
    pub fn endpoints(&self) -> Vec<String> {
        self.options.size.replicas().map(|machine| endpoint(self.options.size, machine)).collect()
    }

    fn process(&self, machine: Machine) -> anyhow::Result<&Process> {
        let found = self.processes.iter().find(|(of, _)| *of == machine).map(|(_, process)| process);
        found.with_context(|| format!("{machine} runs no process"))
    }

    fn disk(&self, machine: Machine) -> anyhow::Result<&Disk> {
        match machine {
            Machine::Replica(place) => self.disks.get(usize::from(place)),
            _ => None,
        }
        .with_context(|| format!("{machine} has no disk of its own"))
    }

    /// Ends a machine's process at once. What an executor had started lives on.
    ///
    /// # Errors
    /// When the machine has none.
    pub fn kill(&self, machine: Machine) -> anyhow::Result<()> {
        self.process(machine)?.kill();
        Ok(())
    }

    /// Ends all that runs on a machine at once, as a power cut would.
    ///
    /// # Errors
    /// When the machine has no process.
    pub fn kill_all_on(&self, machine: Machine) -> anyhow::Result<()> {
        self.process(machine)?.kill();
        for pid in self.host(machine).processes() {
            // Only fails for one that has just ended.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
        Ok(())
    }

    /// Loses what a replica has not synced; nothing may run on it.
    ///
    /// # Errors
    /// When the machine has no disk of its own.
    pub fn lose_unsynced(&self, machine: Machine) -> anyhow::Result<()> {
        self.disk(machine)?.lose_unsynced(self.host(machine))
    }

    /// Starts the process of a machine, unless it runs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&self, machine: Machine) -> anyhow::Result<()> {
        self.process(machine)?.start(self.host(machine))
    }

    /// Sends a signal to a machine's process: SIGSTOP pauses it, SIGCONT lets it go on.
    ///
    /// # Errors
    /// When the machine has none.
    pub fn signal(&self, machine: Machine, signal: Signal) -> anyhow::Result<()> {
        self.process(machine)?.signal(signal);
        Ok(())
    }

    /// Shifts the wall clock of a machine's process.
    ///
    /// # Errors
    /// When the machine has none.
    pub fn shift_clock(&self, machine: Machine, by_ms: i64) -> anyhow::Result<()> {
        self.process(machine)?.shim().shift_clock(by_ms)
    }

    /// Makes each sync of a machine's process take longer.
    ///
    /// # Errors
    /// When the machine has no process.
    pub fn slow_syncs(&self, machine: Machine, by_ms: u64) -> anyhow::Result<()> {
        self.process(machine)?.shim().slow_syncs(by_ms)
    }

    /// Leaves no room on a replica's disk.
    ///
    /// # Errors
    /// When the machine has no disk of its own.
    pub fn fill_disk(&self, machine: Machine) -> anyhow::Result<()> {
        self.disk(machine)?.fill(self.host(machine))
    }

    /// Gives the room on a replica's disk back.
    ///
    /// # Errors
    /// When the machine has no disk of its own.
    pub fn free_disk(&self, machine: Machine) -> anyhow::Result<()> {
        self.disk(machine)?.free(self.host(machine))
    }

    /// Starts again what ended by itself, as a service manager would; gives the deaths that nobody had ordered.
    ///
    /// # Errors
    /// When a process cannot be started again.
    pub fn revive(&self) -> anyhow::Result<Vec<Death>> {
        let mut deaths = Vec::new();
        for (machine, process) in &self.processes {
            deaths.extend(process.revive(*machine, self.host(*machine))?);
        }
        Ok(deaths)
    }
}

fn port(size: Size, machine: Machine) -> Port {
    Port(match machine {
        Machine::Replica(place) => place,
        Machine::Executor(place) => size.replicas + place,
        Machine::Master(place) => size.replicas + size.executors + place,
        Machine::Client(place) => size.replicas + size.executors + size.masters + place,
        Machine::Control => size.replicas + size.executors + size.masters + size.clients,
    })
}

fn url(size: Size, machine: Machine, number: u16) -> String {
    format!("http://{}:{number}", port(size, machine).address())
}

fn endpoint(size: Size, machine: Machine) -> String {
    url(size, machine, API_PORT)
}
