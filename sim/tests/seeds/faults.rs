//! What goes wrong, drawn from the seed: kills, power cuts, cuts of links in one direction or both, loss, doubling,
//! delay, slow and full disks, executors that die or are cut off. Each fault ends by itself after a while.

use std::future::Future;
use std::time::Duration;

use meson_raft::sim::{Room, random, random_in, set_apply_pause_ms};

use crate::executor::Executor;
use crate::fleet::Fleet;
use crate::operator::Operator;
use crate::replica::Machinery;
use crate::world::{CLIENTS, EXECUTORS, Host, World};

/// What can be harmed.
#[derive(Clone)]
pub struct Faults {
    /// The world.
    pub world: World,
    /// The replicas.
    pub fleet: Fleet,
    /// Who looks after them.
    pub operator: Operator,
    /// The executors.
    pub executors: Vec<Executor>,
    /// Whether executors are harmed too.
    pub harm_executors: bool,
}

impl Faults {
    /// Harms things for some time.
    pub async fn run(&self, over: Duration) {
        let end = self.world.elapsed() + over;
        while self.world.elapsed() < end && self.world.failure().is_none() {
            tokio::time::sleep(Duration::from_millis(random_in(50..1_500))).await;
            let kinds = if self.harm_executors { 19 } else { 15 };
            match random_in(0..kinds) {
                0 => self.kill(&self.fleet.some()),
                1 | 2 => self.kill(&self.fleet.leader()),
                3 => self.fleet.all().iter().for_each(|replica| self.kill(replica)),
                4 => self.cut(self.fleet.leader().host, self.world.replicas(), random_in(0..3)),
                5 => self.cut(self.fleet.some().host, self.world.replicas(), random_in(0..3)),
                6 => self.cut(self.fleet.some().host, CLIENTS.to_vec(), 2),
                7 => self.bad_network(),
                8 => self.slow_disk(&self.fleet.some()),
                9 => self.full_disk(&self.fleet.some(), Room::Low),
                10 => self.full_disk(&self.fleet.some(), Room::None),
                11 | 12 => drop(tokio::task::spawn_local(self.operator.clone().hand_over())),
                13 => drop(tokio::task::spawn_local(self.operator.clone().replace())),
                14 => drop(tokio::task::spawn_local(self.operator.clone().snapshot())),
                15 => self.cut(EXECUTORS[self.one_of(2)], self.world.replicas(), random_in(0..3)),
                16 => self.cut(EXECUTORS[self.one_of(2)], vec![self.world.any_replica()], 2),
                17 => self.restart_executor(false),
                _ => self.restart_executor(true),
            }
        }
    }

    /// Undoes all that is wrong with the network and the disks, and starts what is down.
    pub async fn heal(&self) {
        self.world.note("everything heals");
        self.world.network(|network| {
            network.cut.clear();
            network.delay_ms = 1..4;
            (network.loss, network.doubled) = (0, 0);
        });
        set_apply_pause_ms(0);
        for replica in self.fleet.all() {
            replica.disk.set_room(Room::Enough);
            replica.disk.set_sync_ms(1..5);
        }
        // Faults that were under way end by themselves, and start what they had stopped.
        tokio::time::sleep(Duration::from_secs(4)).await;
        for replica in self.fleet.all() {
            if self.world.up(replica.host).is_none() {
                replica.start(&self.world).await;
            }
        }
    }

    fn one_of(&self, count: usize) -> usize {
        random() as usize % count
    }

    fn later(&self, ms: std::ops::Range<u64>, act: impl Future<Output = ()> + 'static) {
        let pause = Duration::from_millis(random_in(ms));
        tokio::task::spawn_local(async move {
            tokio::time::sleep(pause).await;
            act.await;
        });
    }

    fn kill(&self, replica: &Machinery) {
        if self.world.up(replica.host).is_none() {
            return;
        }
        replica.kill(&self.world);
        self.restart(replica);
    }

    fn restart(&self, replica: &Machinery) {
        let (replica, world, fleet) = (replica.clone(), self.world.clone(), self.fleet.clone());
        self.later(50..3_000, async move {
            if world.up(replica.host).is_none() && fleet.has(replica.host) {
                replica.start(&world).await;
            }
        });
    }

    /// Cuts a host off from others: what it hears, what it says, or both.
    fn cut(&self, host: Host, others: Vec<Host>, way: u64) {
        self.world.note(format!("{host} is cut off from {others:?}, way {way}"));
        let others = others.into_iter().filter(move |other| *other != host);
        let links: Vec<_> = others
            .flat_map(|other| [(host, other), (other, host)])
            .filter(|(from, _)| way == 2 || (*from == host) == (way == 0))
            .collect();
        self.world.network(|network| network.cut.extend(links.iter().copied()));
        let world = self.world.clone();
        self.later(300..4_000, async move {
            world.note(format!("{host} is cut off no more"));
            world.network(|network| network.cut.retain(|link| !links.contains(link)));
        });
    }

    fn bad_network(&self) {
        self.world.note("the network is bad");
        self.world.network(|network| {
            network.delay_ms = 1..random_in(5..150);
            (network.loss, network.doubled) = (random_in(0..30), random_in(0..30));
        });
        set_apply_pause_ms(random_in(0..100));
        let world = self.world.clone();
        self.later(500..4_000, async move {
            set_apply_pause_ms(0);
            world.network(|network| {
                network.delay_ms = 1..4;
                (network.loss, network.doubled) = (0, 0);
            });
        });
    }

    fn slow_disk(&self, replica: &Machinery) {
        self.world.note(format!("the disk of {} is slow", replica.host));
        replica.disk.set_sync_ms(20..random_in(40..600));
        let disk = replica.disk.clone();
        self.later(500..4_000, async move { disk.set_sync_ms(1..5) });
    }

    /// A disk that is full, or nearly so, for a while.
    fn full_disk(&self, replica: &Machinery, room: Room) {
        self.world.note(format!("the disk of {} has this room: {room:?}", replica.host));
        replica.disk.set_room(room);
        let (disk, world, host) = (replica.disk.clone(), self.world.clone(), replica.host);
        self.later(300..3_000, async move {
            world.note(format!("the disk of {host} has room again"));
            disk.set_room(Room::Enough);
        });
    }

    fn restart_executor(&self, power: bool) {
        let executor = self.executors[self.one_of(self.executors.len())].clone();
        if power {
            executor.cut_power()
        } else {
            executor.crash()
        }
        self.later(50..4_000, async move { executor.boot() });
    }
}
