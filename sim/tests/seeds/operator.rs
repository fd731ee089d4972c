//! An operator, whom nothing keeps from working while faults strike: hands over, takes snapshots, and replaces replicas
//! by new ones, living or dead. What was answered is done for good; what was not is asked for again until it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meson_raft::sim::{random, random_in};
use meson_raft::{AdminError, Replica};

use crate::fleet::Fleet;
use crate::replica::{Machinery, member};
use crate::world::Host;

/// How long the operator waits for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The operator; clones are the same one.
#[derive(Clone)]
pub struct Operator {
    fleet: Fleet,
    replacing: Arc<AtomicBool>,
}

impl Operator {
    /// Of this fleet.
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet, replacing: Arc::default() }
    }

    /// Whether a replacement is under way.
    pub fn is_replacing(&self) -> bool {
        self.replacing.load(Ordering::Relaxed)
    }

    /// Has the leader hand over, to somebody or to a certain replica.
    pub async fn hand_over(self) {
        let to = (random_in(0..2) == 0).then(|| self.fleet.some().host);
        let Some(leader) = self.leader() else { return };
        self.note(format!("hand over to {to:?}"));
        let answer = tokio::time::timeout(PATIENCE, leader.hand_over(to)).await;
        let answer =
            answer.map(|answer| answer.map(|member| member.node_id).map_err(|error| error.to_string()));
        self.note(format!("handed over: {answer:?}"));
    }

    /// Has a replica take a snapshot.
    pub async fn snapshot(self) {
        let host = self.fleet.some().host;
        let Some(up) = self.fleet.world.up(host) else { return };
        let done = tokio::time::timeout(PATIENCE, up.shared.replica.snapshot_now()).await;
        self.note(format!("snapshot on {host}: {}", matches!(done, Ok(Ok(())))));
    }

    /// Replaces a replica by a new one, unless that is under way already.
    pub async fn replace(self) {
        if self.replacing.swap(true, Ordering::Relaxed) {
            return;
        }
        let old = self.fleet.some();
        // It runs on, or its machine was lost: then nobody may count on it again.
        let dead = random_in(0..2) == 0;
        let at_once = random_in(0..2) == 0;
        self.note(format!("replace {}, dead: {dead}, at once: {at_once}", old.host));
        if dead {
            self.fleet.retire(&old);
        }
        let new = self.fleet.enlist().await.host;
        self.until_done(|leader| add(leader, new)).await;
        if at_once {
            self.until_done(|leader| swap(leader, new, old.host)).await;
        } else {
            self.until_done(|leader| async move { leader.promote(new, None).await }).await;
            self.until_done(|leader| remove(leader, old.host)).await;
        }
        self.fleet.world.history(|history| {
            history.replaced.push((old.host, new));
            Ok(())
        });
        if !dead {
            self.retire_later(old);
        }
        self.replacing.store(false, Ordering::Relaxed);
    }

    /// A replica that is no member any more runs on for a while.
    fn retire_later(&self, old: Machinery) {
        let (fleet, pause) = (self.fleet.clone(), Duration::from_millis(random_in(0..3_000)));
        tokio::task::spawn_local(async move {
            tokio::time::sleep(pause).await;
            fleet.retire(&old);
        });
    }

    /// Asks whoever leads until the answer is that it is done.
    async fn until_done<F: Future<Output = Result<(), AdminError>>>(&self, ask: impl Fn(Replica) -> F) {
        while self.fleet.world.failure().is_none() {
            if let Some(leader) = self.leader() {
                let answer = tokio::time::timeout(PATIENCE, ask(leader)).await;
                match answer {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => self.note(error.to_string()),
                    Err(_) => self.note("no answer"),
                }
            }
            tokio::time::sleep(Duration::from_millis(random_in(50..500))).await;
        }
    }

    /// A replica that serves as leader, or believes so.
    fn leader(&self) -> Option<Replica> {
        let leading = self.fleet.all().into_iter().filter_map(|machine| self.fleet.world.up(machine.host));
        let leading: Vec<_> = leading.filter(|up| up.shared.is_leading()).collect();
        let chosen = random() as usize % leading.len().max(1);
        leading.get(chosen).map(|up| up.shared.replica.clone())
    }

    fn note(&self, what: impl AsRef<str>) {
        self.fleet.world.note(format!("operator: {}", what.as_ref()));
    }
}

async fn add(leader: Replica, new: Host) -> Result<(), AdminError> {
    leader.format_level_of(&member(new)).await?;
    leader.add_learner(member(new)).await
}

async fn swap(leader: Replica, new: Host, old: Host) -> Result<(), AdminError> {
    if leader.node_id() == old {
        leader.hand_over(None).await?;
        return Err(AdminError::Refused("it led".into()));
    }
    leader.promote(new, Some(old)).await
}

async fn remove(leader: Replica, old: Host) -> Result<(), AdminError> {
    if leader.node_id() == old {
        leader.hand_over(None).await?;
        return Err(AdminError::Refused("it led".into()));
    }
    leader.remove(old).await
}
