//! Faults at their times, and new life for what ended by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Happened;
use crate::faults::{Fault, Injected, Who};
use crate::schedule::Planned;
use crate::testbed::{Machine, Testbed};

/// How often it is looked whether a process has ended by itself.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a fault that asks for the leader waits for one.
const LEADER_PATIENCE: Duration = Duration::from_secs(5);

/// How long a fault waits for all replicas to be well.
const WELL_PATIENCE: Duration = Duration::from_secs(20);

/// How many entries a replica may be behind and still be well.
const LAG_MAX: u64 = 50;

/// Plays a lane: each fault at its time, or when the one before it is healed.
pub(super) async fn play(
    testbed: Arc<Testbed>,
    happened: Arc<Happened>,
    lane: Vec<Planned>,
    begun: Instant,
    each_when_well: bool,
) -> anyhow::Result<()> {
    for planned in lane {
        // tidy: allow sleep: faults strike at the times of the schedule
        tokio::time::sleep_until((begun + Duration::from_millis(planned.at_ms)).into()).await;
        if each_when_well {
            until_well(&testbed).await;
        }
        let leader = leader(&testbed, &planned.fault).await;
        let injected = Injected::inject(&testbed, planned.fault, leader)?;
        // tidy: allow sleep: a fault lasts as long as the schedule says
        tokio::time::sleep(Duration::from_millis(planned.lasts_ms)).await;
        happened.fault(injected.heal(&testbed)?);
    }
    Ok(())
}

/// Waits until all replicas answer and are about level, so that the next blow leaves a majority.
async fn until_well(testbed: &Testbed) {
    let begun = Instant::now();
    while begun.elapsed() < WELL_PATIENCE {
        let statuses = testbed.look().statuses().await.into_iter().collect::<Option<Vec<_>>>();
        let applied = statuses.iter().flatten().map(|status| status.applied_index);
        let leads = statuses.iter().flatten().all(|status| status.leader_id > 0);
        if let (Some(low), Some(high), true) = (applied.clone().min(), applied.max(), leads)
            && high - low <= LAG_MAX
        {
            return;
        }
        // tidy: allow sleep: it looks at other processes
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Who leads, as far as the fault needs to know: faults of others are never the leader's.
async fn leader(testbed: &Testbed, fault: &Fault) -> Option<Machine> {
    if !matches!(fault.who(), Who::Leader | Who::AllReplicas | Who::Machine(Machine::Replica(_))) {
        return None;
    }
    let begun = Instant::now();
    loop {
        let leader = testbed.look().leader().await;
        if leader.is_some() || begun.elapsed() > LEADER_PATIENCE {
            return leader;
        }
        // tidy: allow sleep: it looks at other processes
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Starts again what ended by itself, until it is told to stop.
pub(super) async fn revive(testbed: Arc<Testbed>, happened: Arc<Happened>) -> anyhow::Result<()> {
    loop {
        for death in testbed.revive()? {
            happened.death(death);
        }
        // tidy: allow sleep: it looks at other processes
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
