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

/// Plays a lane: each fault at its time, or when the one before it is healed.
pub(super) async fn play(
    testbed: Arc<Testbed>,
    happened: Arc<Happened>,
    lane: Vec<Planned>,
    begun: Instant,
) -> anyhow::Result<()> {
    for planned in lane {
        tokio::time::sleep_until((begun + Duration::from_millis(planned.at_ms)).into()).await;
        let leader = leader(&testbed, &planned.fault).await;
        let injected = Injected::inject(&testbed, planned.fault, leader)?;
        tokio::time::sleep(Duration::from_millis(planned.lasts_ms)).await;
        happened.fault(injected.heal(&testbed)?);
    }
    Ok(())
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
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Starts again what ended by itself, until it is told to stop.
pub(super) async fn revive(testbed: Arc<Testbed>, happened: Arc<Happened>) -> anyhow::Result<()> {
    loop {
        for death in testbed.revive()? {
            happened.death(death);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
