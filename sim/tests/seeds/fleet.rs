//! The machines that replicas run on: those of the founders, and of replicas that are added later.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meson_raft::RoleKind;
use meson_raft::sim::random;

use crate::replica::{Machinery, Settings};
use crate::world::{FOUNDERS, Host, World};

/// All machines; clones share them.
#[derive(Clone)]
pub struct Fleet {
    /// The world.
    pub world: World,
    directory: PathBuf,
    settings: Settings,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    machines: Vec<Machinery>,
    /// The newest number that was given to a replica; none is given again.
    newest: Host,
}

impl Fleet {
    /// The founders' machines, all running.
    pub async fn start(world: &World, directory: PathBuf, settings: Settings) -> Self {
        let fleet = Self { world: world.clone(), directory, settings, inner: Arc::default() };
        for host in FOUNDERS {
            fleet.add(host).await;
        }
        fleet
    }

    /// Another machine, running, with a number that no replica had before.
    pub async fn enlist(&self) -> Machinery {
        let host = self.lock().newest + 1;
        self.world.add_replica(host);
        self.add(host).await
    }

    async fn add(&self, host: Host) -> Machinery {
        let machine =
            Machinery::new(host, self.directory.join(host.to_string()), self.settings, self.world.replicas());
        machine.disk.set_sync_ms(1..5);
        {
            let mut inner = self.lock();
            inner.newest = host;
            inner.machines.push(machine.clone());
        }
        machine.start(&self.world).await;
        machine
    }

    /// This machine is switched off for good.
    pub fn retire(&self, machine: &Machinery) {
        self.lock().machines.retain(|other| other.host != machine.host);
        self.world.note(format!("replica {} is retired", machine.host));
        self.world.forget_replica(machine.host);
        machine.kill(&self.world);
    }

    /// Whether this machine was not switched off for good.
    pub fn has(&self, host: Host) -> bool {
        self.lock().machines.iter().any(|machine| machine.host == host)
    }

    /// All of them.
    pub fn all(&self) -> Vec<Machinery> {
        self.lock().machines.clone()
    }

    /// One of them.
    pub fn some(&self) -> Machinery {
        let machines = self.all();
        machines[random() as usize % machines.len()].clone()
    }

    /// One that believes that it leads, if there is one.
    pub fn leader(&self) -> Machinery {
        let leads = |machine: &Machinery| {
            self.world
                .up(machine.host)
                .is_some_and(|up| up.shared.replica.role().borrow().kind == RoleKind::Leader)
        };
        self.all().into_iter().find(leads).unwrap_or_else(|| self.some())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
