//! One seed from beginning to end: a quiet start, faults under load, healing, and the last checks.

use std::time::Duration;

use meson_raft::sim::{self, random_in};
use tokio::task::JoinHandle;

use crate::check;
use crate::client::Client;
use crate::executor::Executor;
use crate::faults::Faults;
use crate::fleet::Fleet;
use crate::operator::Operator;
use crate::replica::Settings;
use crate::world::{CLIENTS, EXECUTORS, World};

/// After healing everything must have ended within this.
const PROGRESS: Duration = Duration::from_secs(120);

/// What came of a seed.
pub struct Report {
    /// What was broken first.
    pub failure: Option<String>,
    /// A digest of all that happened.
    pub hash: u64,
    /// All that was noted.
    pub trace: Vec<String>,
    /// Virtual seconds.
    pub seconds: u64,
    /// Checks made.
    pub checks: u64,
}

/// Runs one seed on this thread.
pub fn simulate(seed: u64) -> Report {
    sim::enter(seed);
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().expect("a runtime of one thread starts")
    };
    meson_scheduler::sim::block_on(runtime, async {
        let world = World::new();
        world.note(format!("seed {seed}"));
        // In memory where there is such a place: only snapshots are real files, and their syncs cost real time.
        let memory = std::path::Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
            .expect("a temporary folder can be made");
        story(&world, directory.path()).await;
        Report {
            failure: world.failure(),
            hash: world.hash(),
            trace: world.trace(),
            seconds: world.elapsed().as_secs(),
            checks: world.history(|history| Ok(history.checks)).unwrap_or_default(),
        }
    })
}

async fn story(world: &World, directory: &std::path::Path) {
    let harm_executors = random_in(0..4) > 0;
    // With executors in peace, leases outlast every outage: then no attempt may be lost (P4).
    let lease_ms = if harm_executors { 3_000 } else { 600_000 };
    let settings = Settings { lease_ms, snapshot_every: random_in(10..200) };
    let fleet = Fleet::start(world, directory.to_owned(), settings).await;
    let operator = Operator::new(fleet.clone());
    let executors: Vec<_> = EXECUTORS.into_iter().map(|host| Executor::start(world, host)).collect();
    let clients = CLIENTS.map(|host| Client { world: world.clone(), host });
    clients[0].register().await;
    let over = Duration::from_millis(random_in(4_000..10_000));
    for client in clients.clone() {
        tokio::task::spawn_local(client.watch(over));
    }
    let working: Vec<JoinHandle<()>> =
        clients.into_iter().map(|client| tokio::task::spawn_local(client.work(over))).collect();
    let faults =
        Faults { world: world.clone(), fleet, operator: operator.clone(), executors, harm_executors };
    faults.run(over).await;
    faults.heal().await;
    let ended = async {
        for client in working {
            if client.await.is_err() {
                world.fail("a client panicked");
            }
        }
        while world.failure().is_none() && (operator.is_replacing() || !check::all_ended(world)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    if tokio::time::timeout(PROGRESS, ended).await.is_err() {
        world.fail(format!("P7: not all has ended {PROGRESS:?} after everything healed"));
    }
    if world.failure().is_none() {
        check::at_the_end(world, !harm_executors).await;
    }
}
