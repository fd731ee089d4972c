//! Applications of Spark that have gone astray: their attempt is over, but nobody was left to end them. While this replica
//! leads it looks at the standalone masters that the settings name, and ends what has been astray for two looks in a row.
//!
//! What is not known for certain to be this cluster's is left alone: applications without a tag, and those of runs that
//! are not in the working state.

use std::collections::BTreeSet;
use std::time::Duration;

use meson_engine::State;
use meson_engine::ids::AttemptId;
use meson_spark::tag::Tag;
use meson_spark::{Error, Master};
use tracing::{info, warn};

use crate::shared::Shared;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// An application: the master's address and its id.
type Key = (String, String);

/// Looks for ever. To be stopped with the leadership.
pub async fn run(shared: Shared) {
    let masters: Vec<Master> = shared.config.spark_masters().map(Master::new).collect();
    if masters.is_empty() {
        return;
    }
    let mut suspects = BTreeSet::new();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let mut found = BTreeSet::new();
        for master in &masters {
            match look(&shared, master, &suspects).await {
                Ok(astray) => found.extend(astray),
                // Masters come and go; who follows an application by it says more.
                Err(error) => {
                    info!(master = master.address(), %error, "no look at the applications of Spark")
                }
            }
        }
        suspects = found;
    }
}

/// What is astray at a master. What was so before is ended.
async fn look(shared: &Shared, master: &Master, suspects: &BTreeSet<Key>) -> Result<Vec<Key>, Error> {
    let mut astray = Vec::new();
    for app in master.state().await?.active_apps {
        let Some(tag) = master.tag(&app).await? else { continue };
        if !is_astray(&shared.published.state(), &tag) {
            continue;
        }
        let key = (master.address().to_owned(), app.id.clone());
        // What this replica believes counts only while it leads: a place may have been given in the meantime.
        if suspects.contains(&key)
            && shared.replica.read_barrier().await.is_ok()
            && is_astray(&shared.published.state(), &tag)
        {
            warn!(application = app.id, attempt_id = tag.attempt_id, "gone astray: ended");
            master.kill_application(&app.id).await?;
        }
        astray.push(key);
    }
    Ok(astray)
}

/// Whether nobody will ever want this application again. One on the cluster outlives its attempt: the next attempt of the
/// step takes it over, for as long as there may be one.
pub fn is_astray(state: &State, tag: &Tag) -> bool {
    let Ok(id) = tag.attempt_id.parse::<AttemptId>() else { return false };
    let Some(run) = state.run_ids.get(&id.run_id).and_then(|no| state.runs.get(no)) else { return false };
    let Some(node) = run.nodes.get(&id.node) else { return false };
    if tag.on_cluster {
        return node.status().is_terminal() || run.head.status().is_terminal();
    }
    !(node.status().is_live() && node.attempts() == id.attempt)
}
