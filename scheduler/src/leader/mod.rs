//! Leadership, gained and lost side by side. Gaining it: a read barrier, the term into the state, actors from
//! `recover(state)`, then the faces serve as leader. Losing it: all of that stops.

mod dispatch;
mod formats;

use std::time::Duration;

use meson_engine::command::Lead;
use meson_engine::recover;
use meson_raft::{Role, RoleKind, sabotage};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::astray;
use crate::machine::{Effects, Next};
use crate::shared::Shared;
use dispatch::Dispatch;

/// How often all owed effects are derived from the state again, in case a message was lost.
const RECONCILE_EVERY: Duration = Duration::from_secs(5);

/// How often a leader looks whether a majority still answers it.
const LOOK_FOR_MAJORITY: Duration = Duration::from_millis(100);

/// How often a leader whose disk is nearly full looks for another one.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);

/// Pause before trying again to begin a term.
const RETRY: Duration = Duration::from_millis(50);

/// Follows the replica's role until `stop` turns true. Runs on the actors' thread.
pub async fn run(shared: Shared, mut effects: Effects, mut stop: watch::Receiver<bool>) {
    let mut role = shared.replica.role();
    while !*stop.borrow() {
        let now = role.borrow_and_update().clone();
        if now.kind == RoleKind::Leader {
            let begun = tokio::select! {
                begun = begin(&shared, now.term) => begun,
                // Without a majority it would take its time.
                _ = stop.changed() => return,
            };
            if begun {
                serve(&shared, now.term, &mut effects, &mut role, &mut stop).await;
                end(&shared, now.term);
            } else {
                tokio::time::sleep(RETRY).await;
            }
            continue;
        }
        tokio::select! {
            changed = role.changed() => if changed.is_err() { return },
            _ = stop.changed() => {}
        }
    }
}

/// Makes sure that everything committed is applied here and that older terms are refused from now on.
async fn begin(shared: &Shared, term: u64) -> bool {
    if let Err(error) = shared.replica.read_barrier().await {
        info!(term, %error, "not confirmed as leader yet");
        return false;
    }
    match shared.proposer.propose(Lead {}).await {
        Ok(_) => true,
        Err(error) => {
            info!(term, %error, "could not begin the term");
            false
        }
    }
}

async fn serve(
    shared: &Shared,
    term: u64,
    effects: &mut Effects,
    role: &mut watch::Receiver<Role>,
    stop: &mut watch::Receiver<bool>,
) {
    let still_leads = |role: &Role| {
        (role.kind == RoleKind::Leader && role.term == term) || sabotage::without("stepping-down")
    };
    if !still_leads(&role.borrow()) {
        return;
    }
    info!(term, "leading");
    effects.clear();
    shared.sessions.begin(term);
    shared.leading.send_replace(Some(term));
    let mut dispatch = Dispatch::new(shared.clone());
    dispatch.all(recover(&shared.published.state()));
    let astray = actix::spawn(astray::run(shared.clone()));
    let mut reconcile = tokio::time::interval(RECONCILE_EVERY);
    reconcile.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut majority = tokio::time::interval(LOOK_FOR_MAJORITY);
    majority.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut relief = tokio::time::interval(LOOK_FOR_ROOM);
    relief.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let since = Instant::now();
    loop {
        tokio::select! {
            next = effects.next() => match next {
                Next::Effects(effects) => dispatch.all(effects),
                Next::Dropped => {
                    warn!("effects were dropped; deriving them from the state");
                    dispatch.all(recover(&shared.published.state()));
                    dispatch.lost_effects();
                }
                Next::Closed => break,
            },
            _ = shared.reconcile.notified() => dispatch.all(recover(&shared.published.state())),
            _ = reconcile.tick() => {
                dispatch.all(recover(&shared.published.state()));
                actix::spawn(formats::raise(shared.clone()));
            }
            changed = role.changed() => {
                if changed.is_err() || !still_leads(&role.borrow_and_update()) {
                    break;
                }
            }
            _ = majority.tick() => {
                let silence = shared.replica.quorum_acked_at().unwrap_or(since).elapsed();
                if silence > shared.config.majority_patience() && !sabotage::without("stepping-down") {
                    warn!(term, "no majority answers: stepping down");
                    break;
                }
            }
            _ = relief.tick() => {
                actix::spawn(relieve(shared.clone()));
            }
            _ = stop.changed() => break,
        }
    }
    astray.abort();
    dispatch.stop();
}

/// A leader without room on its disk has to refuse what another would take.
async fn relieve(shared: Shared) {
    if let Some(successor) = shared.replica.relieve().await {
        warn!(successor = successor.node_id, "the disk is nearly full: handed over");
    }
}

fn end(shared: &Shared, term: u64) {
    shared.leading.send_replace(None);
    shared.sessions.end();
    shared.soft.clear();
    info!(term, "no longer leading");
}
