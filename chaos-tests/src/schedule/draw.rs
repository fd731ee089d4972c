//! Which fault comes next: tables of kinds with their weights.

use super::{Limits, NO_MAJORITY_MS_MAX};
use crate::chance::Chance;
use crate::faults::{Fault, Others, Way, Who};
use crate::testbed::{Machine, Size};

#[derive(Clone, Copy)]
enum OfReplicas {
    Kill,
    KillAll,
    PowerCut,
    PowerCutAll,
    PauseShort,
    PauseLong,
    CutFromReplicas,
    CutFromEverybody,
    SplitAll,
    SlowLinks,
    LossyLinks,
    ClockJump,
    DiskFull,
    DiskSlow,
}

/// What strikes replicas, and how often among a hundred.
const OF_REPLICAS: [(OfReplicas, u64); 14] = [
    (OfReplicas::Kill, 14),
    (OfReplicas::KillAll, 3),
    (OfReplicas::PowerCut, 8),
    (OfReplicas::PowerCutAll, 3),
    (OfReplicas::PauseShort, 8),
    (OfReplicas::PauseLong, 10),
    (OfReplicas::CutFromReplicas, 14),
    (OfReplicas::CutFromEverybody, 8),
    (OfReplicas::SplitAll, 3),
    (OfReplicas::SlowLinks, 6),
    (OfReplicas::LossyLinks, 6),
    (OfReplicas::ClockJump, 6),
    (OfReplicas::DiskFull, 6),
    (OfReplicas::DiskSlow, 6),
];

#[derive(Clone, Copy)]
enum OfOthers {
    Kill,
    LoseAgent,
    PauseShort,
    PauseLong,
    CutShort,
    CutLong,
    CutClient,
    SlowLinks,
    LossyLinks,
    ClockJump,
}

/// What strikes the others, and how often among a hundred.
const OF_OTHERS: [(OfOthers, u64); 10] = [
    (OfOthers::Kill, 16),
    (OfOthers::LoseAgent, 8),
    (OfOthers::PauseShort, 8),
    (OfOthers::PauseLong, 8),
    (OfOthers::CutShort, 18),
    (OfOthers::CutLong, 12),
    (OfOthers::CutClient, 10),
    (OfOthers::SlowLinks, 7),
    (OfOthers::LossyLinks, 7),
    (OfOthers::ClockJump, 6),
];

/// A fault of the lane of replicas, and how long it lasts.
pub(super) fn of_replicas(chance: &mut Chance, size: Size, limits: Limits) -> (Fault, u64) {
    let kind = loop {
        let kind = chance.weighted(&OF_REPLICAS);
        if limits.disk_full || !matches!(kind, OfReplicas::DiskFull) {
            break kind;
        }
    };
    // More often than not the leader, for that is what hurts.
    let who = if chance.in_thousand(650) {
        Who::Leader
    } else {
        Who::Machine(Machine::Replica(chance.between(0, u64::from(size.replicas) - 1) as u8))
    };
    match kind {
        OfReplicas::Kill => (Fault::Kill { who }, chance.between(200, 6_000)),
        OfReplicas::KillAll => (Fault::Kill { who: Who::AllReplicas }, chance.between(100, 4_000)),
        OfReplicas::PowerCut => (Fault::PowerCut { who }, chance.between(200, 6_000)),
        OfReplicas::PowerCutAll => (Fault::PowerCut { who: Who::AllReplicas }, chance.between(100, 4_000)),
        OfReplicas::PauseShort => (Fault::Pause { who }, chance.between(100, 900)),
        OfReplicas::PauseLong => (Fault::Pause { who }, chance.between(1_500, 2 * limits.lease_ms)),
        OfReplicas::CutFromReplicas => {
            (Fault::Cut { who, from: Others::Replicas, way: way(chance) }, chance.between(1_000, 10_000))
        }
        OfReplicas::CutFromEverybody => {
            (Fault::Cut { who, from: Others::Everybody, way: way(chance) }, chance.between(1_000, 10_000))
        }
        OfReplicas::SplitAll => {
            let fault = Fault::Cut { who: Who::AllReplicas, from: Others::Replicas, way: Way::Both };
            (fault, chance.between(1_000, NO_MAJORITY_MS_MAX))
        }
        OfReplicas::SlowLinks => {
            (slow(chance, Who::AllReplicas, Others::Replicas), chance.between(3_000, 10_000))
        }
        OfReplicas::LossyLinks => {
            (lossy(chance, Who::AllReplicas, Others::Replicas), chance.between(3_000, 10_000))
        }
        OfReplicas::ClockJump => (jump(chance, who), chance.between(1_000, 15_000)),
        OfReplicas::DiskFull => (Fault::DiskFull { who }, chance.between(4_000, 20_000)),
        OfReplicas::DiskSlow => {
            (Fault::DiskSlow { who, by_ms: chance.between(20, 400) }, chance.between(3_000, 10_000))
        }
    }
}

/// A fault of the lane of the others, and how long it lasts.
pub(super) fn of_others(chance: &mut Chance, size: Size, limits: Limits) -> (Fault, u64) {
    let who = Who::Machine(Machine::Executor(chance.between(0, u64::from(size.executors) - 1) as u8));
    let short = (300, limits.lease_ms * 2 / 3);
    let long = (limits.lease_ms * 5 / 4, limits.lease_ms * 5 / 2);
    if size.masters > 0 && chance.in_thousand(OF_MASTERS) {
        return of_masters(chance, size, short);
    }
    match chance.weighted(&OF_OTHERS) {
        OfOthers::Kill => {
            let who = if chance.in_thousand(150) { Who::AllExecutors } else { who };
            (Fault::Kill { who }, chance.between(200, 2 * limits.lease_ms))
        }
        OfOthers::LoseAgent => (Fault::LoseAgent { who }, chance.between(200, 2 * limits.lease_ms)),
        OfOthers::PauseShort => (Fault::Pause { who }, chance.between(short.0, short.1)),
        OfOthers::PauseLong => (Fault::Pause { who }, chance.between(long.0, long.1)),
        OfOthers::CutShort => (cut_from_replicas(chance, who, size), chance.between(short.0, short.1)),
        OfOthers::CutLong => (cut_from_replicas(chance, who, size), chance.between(long.0, long.1)),
        OfOthers::CutClient => {
            let client = Machine::Client(chance.between(0, u64::from(size.clients) - 1) as u8);
            (cut_from_replicas(chance, Who::Machine(client), size), chance.between(500, 10_000))
        }
        OfOthers::SlowLinks => {
            (slow(chance, Who::AllExecutors, replicas(size)), chance.between(3_000, 10_000))
        }
        OfOthers::LossyLinks => {
            (lossy(chance, Who::AllExecutors, replicas(size)), chance.between(3_000, 10_000))
        }
        OfOthers::ClockJump => (jump(chance, who), chance.between(1_000, 15_000)),
    }
}

/// Where there are masters, so many of a thousand faults of the others strike one of them, or an agent's link to them all.
const OF_MASTERS: u64 = 400;

fn of_masters(chance: &mut Chance, size: Size, short: (u64, u64)) -> (Fault, u64) {
    let who = Who::Machine(Machine::Master(chance.between(0, u64::from(size.masters) - 1) as u8));
    let executor = Who::Machine(Machine::Executor(chance.between(0, u64::from(size.executors) - 1) as u8));
    let masters = Others::Machines(size.masters().collect());
    match chance.between(0, 4) {
        0 | 1 => (Fault::Kill { who }, chance.between(200, 5_000)),
        2 => (Fault::Pause { who }, chance.between(short.0, short.1)),
        // Longer than agents may miss pings: it becomes unreachable, and comes back.
        3 => (Fault::Cut { who: executor, from: masters, way: way(chance) }, chance.between(1_000, 15_000)),
        _ => (Fault::Cut { who: Who::Leader, from: masters, way: way(chance) }, chance.between(500, 5_000)),
    }
}

fn way(chance: &mut Chance) -> Way {
    match chance.between(0, 3) {
        0 => Way::In,
        1 => Way::Out,
        _ => Way::Both,
    }
}

fn replicas(size: Size) -> Others {
    Others::Machines(size.replicas().collect())
}

/// Cuts off from one, two, or all replicas.
fn cut_from_replicas(chance: &mut Chance, who: Who, size: Size) -> Fault {
    let mut from: Vec<Machine> = size.replicas().collect();
    for _ in 0..chance.between(0, u64::from(size.replicas) - 1) {
        let leaves = chance.between(0, from.len() as u64 - 1) as usize;
        from.remove(leaves);
    }
    Fault::Cut { who, from: Others::Machines(from), way: way(chance) }
}

fn slow(chance: &mut Chance, who: Who, from: Others) -> Fault {
    Fault::Delay { who, from, delay_ms: chance.between(5, 80), jitter_ms: chance.between(0, 80) }
}

fn lossy(chance: &mut Chance, who: Who, from: Others) -> Fault {
    Fault::Loss { who, from, in_thousand: chance.between(10, 150) as u32 }
}

/// Up to a day, forward or back.
fn jump(chance: &mut Chance, who: Who) -> Fault {
    let by_ms = match chance.between(0, 2) {
        0 => chance.between(100, 3_000),
        1 => chance.between(10_000, 600_000),
        _ => chance.between(3_600_000, 86_400_000),
    } as i64;
    Fault::ClockJump { who, by_ms: if chance.in_thousand(500) { by_ms } else { -by_ms } }
}
