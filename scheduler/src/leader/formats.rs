//! Raises the state's format once every member says that it understands a newer one.

use meson_engine::command::Raise;
use tracing::{debug, info};

use crate::shared::Shared;

/// Looks at all members once, unless the state is where this replica's program is.
pub async fn raise(shared: Shared) {
    let reached = shared.published.state().format();
    if reached >= shared.replica.format_level() {
        return;
    }
    let mut all = u32::MAX;
    for (member, format) in shared.replica.format_levels().await {
        match format {
            Ok(format) => all = all.min(format),
            Err(why) => {
                debug!(member, why, "a member does not say which format it understands");
                return;
            }
        }
    }
    if all <= reached {
        return;
    }
    match shared.proposer.propose(Raise { format: all }).await {
        Ok(_) => info!(format = all, "all replicas understand a newer format"),
        Err(error) => debug!(%error, "the format is raised at a later look"),
    }
}
