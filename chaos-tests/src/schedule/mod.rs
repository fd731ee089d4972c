//! Which faults strike when: a pure function of a seed. What it gives can be printed, saved and played again.
//!
//! Faults come in two lanes that run beside each other. In the lane of replicas one fault ends, and a breath is taken,
//! before the next begins: so a majority is there at all times, except for the few faults that take it away on purpose,
//! and those are short. The lane of the others strikes executors, clients and links. Every fault is healed.

mod draw;

use serde::{Deserialize, Serialize};

use crate::chance::Chance;
use crate::faults::Fault;
use crate::testbed::Size;

/// Longest time for which a fault may take the majority of replicas away.
pub const NO_MAJORITY_MS_MAX: u64 = 8_000;

/// One fault and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// When it strikes, from the beginning of the test.
    pub at_ms: u64,
    /// How long until it is healed.
    pub lasts_ms: u64,
    /// What it is.
    pub fault: Fault,
}

/// Which faults strike when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// The seed it came from.
    pub seed: u64,
    /// How long faults strike.
    pub lasts_ms: u64,
    /// Whether each fault of replicas waits until all of them are well again.
    pub each_when_well: bool,
    /// Faults of replicas, one after the other.
    pub replicas: Vec<Planned>,
    /// Faults of executors, clients and links, one after the other.
    pub others: Vec<Planned>,
}

impl Schedule {
    /// The schedule of a seed.
    pub fn of(seed: u64, size: Size, limits: Limits) -> Schedule {
        let replicas =
            lane(Chance::part(seed, "replicas"), limits, |chance| draw::of_replicas(chance, size, limits));
        let others =
            lane(Chance::part(seed, "others"), limits, |chance| draw::of_others(chance, size, limits));
        Schedule { seed, lasts_ms: limits.lasts_ms, each_when_well: false, replicas, others }
    }

    /// One leader's death after the other, each when all replicas are well again; nothing else.
    pub fn kills(seed: u64, kills: u32) -> Schedule {
        let mut chance = Chance::part(seed, "kills");
        let mut at_ms = 2_000;
        let mut replicas = Vec::new();
        for _ in 0..kills {
            let lasts_ms = chance.between(1_000, 2_500);
            let fault = Fault::Kill { who: crate::faults::Who::Leader };
            replicas.push(Planned { at_ms, lasts_ms, fault });
            at_ms += lasts_ms + chance.between(1_000, 2_000);
        }
        Schedule { seed, lasts_ms: at_ms, each_when_well: true, replicas, others: Vec::new() }
    }
}

/// Within what faults are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long faults strike.
    pub lasts_ms: u64,
    /// The lease of the executors with the leader's margin: some faults outlast it.
    pub lease_ms: u64,
    /// Whether disks may fill up.
    pub disk_full: bool,
}

/// Draws faults until the time is over.
fn lane(
    mut chance: Chance,
    limits: Limits,
    mut draw: impl FnMut(&mut Chance) -> (Fault, u64),
) -> Vec<Planned> {
    let mut planned = Vec::new();
    let mut at_ms = chance.between(1_000, 3_000);
    loop {
        let (fault, lasts_ms) = draw(&mut chance);
        if at_ms + lasts_ms > limits.lasts_ms {
            return planned;
        }
        planned.push(Planned { at_ms, lasts_ms, fault });
        at_ms += lasts_ms + chance.between(2_000, 6_000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Others, Way, Who};

    const SIZE: Size = Size { replicas: 3, executors: 3, masters: 0, clients: 2 };
    const HOUR: Limits = Limits { lasts_ms: 3_600_000, lease_ms: 8_000, disk_full: true };

    #[test]
    fn a_seed_gives_one_schedule() {
        assert_eq!(Schedule::of(1, SIZE, HOUR), Schedule::of(1, SIZE, HOUR));
        assert_ne!(Schedule::of(1, SIZE, HOUR), Schedule::of(2, SIZE, HOUR));
    }

    #[test]
    fn a_schedule_is_read_as_it_was_written() -> anyhow::Result<()> {
        let schedule = Schedule::of(3, SIZE, HOUR);
        let text = serde_json::to_string(&schedule)?;
        assert_eq!(serde_json::from_str::<Schedule>(&text)?, schedule);
        Ok(())
    }

    #[test]
    fn faults_of_a_lane_follow_each_other_and_are_healed_in_time() {
        for seed in 0..50 {
            let schedule = Schedule::of(seed, SIZE, HOUR);
            for lane in [&schedule.replicas, &schedule.others] {
                assert!(lane.len() > 200, "an hour has room for more than {} faults", lane.len());
                for pair in lane.windows(2) {
                    assert!(pair[0].at_ms + pair[0].lasts_ms + 2_000 <= pair[1].at_ms);
                }
                assert!(lane.iter().all(|planned| planned.at_ms + planned.lasts_ms <= HOUR.lasts_ms));
            }
        }
    }

    #[test]
    fn a_majority_is_away_for_a_short_time_only() {
        for seed in 0..50 {
            for planned in Schedule::of(seed, SIZE, HOUR).replicas {
                let slow_only = matches!(
                    planned.fault,
                    Fault::Delay { .. }
                        | Fault::Loss { .. }
                        | Fault::ClockJump { .. }
                        | Fault::DiskSlow { .. }
                );
                if planned.fault.who() == Who::AllReplicas && !slow_only {
                    assert!(planned.lasts_ms <= NO_MAJORITY_MS_MAX, "{planned:?}");
                }
            }
        }
    }

    #[test]
    fn every_kind_of_fault_is_drawn_within_an_hour_or_two() {
        let mut kinds = std::collections::BTreeSet::new();
        let mut ways = Vec::new();
        for seed in 0..4 {
            let schedule = Schedule::of(seed, SIZE, HOUR);
            for planned in schedule.replicas.iter().chain(&schedule.others) {
                kinds.insert(planned.fault.kind());
                if let Fault::Cut { from: Others::Machines(from), way, .. } = &planned.fault {
                    ways.push((from.len(), *way));
                }
            }
        }
        for kind in [
            "kill -9 leader",
            "kill -9 all replicas",
            "kill -9 executor",
            "kill -9 executor and its attempts",
            "power cut of leader",
            "power cut of all replicas",
            "pause leader",
            "pause executor",
            "clock jump of replica",
            "clock jump of leader",
            "clock jump of executor",
            "disk full of leader",
            "slow disk of leader",
            "lossy links of all replicas",
            "delay links of all replicas",
        ] {
            assert!(kinds.contains(kind), "no `{kind}` among {kinds:?}");
        }
        for replicas in 1..=3 {
            for way in [Way::Both, Way::In, Way::Out] {
                assert!(ways.contains(&(replicas, way)), "nobody is cut {way} {replicas} replicas");
            }
        }
    }

    #[test]
    fn no_disk_fills_up_where_that_is_not_wanted() {
        let limits = Limits { disk_full: false, ..HOUR };
        let full = |planned: &Planned| matches!(planned.fault, Fault::DiskFull { .. });
        assert!(!(0..20).any(|seed| Schedule::of(seed, SIZE, limits).replicas.iter().any(full)));
    }
}
