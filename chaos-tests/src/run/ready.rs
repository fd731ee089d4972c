//! Before the load: waits until there is a leader with all executors, and registers the workflows.

use anyhow::Context as _;

use crate::load::Board;
use crate::testbed::Testbed;
use crate::{Client, until};

/// Waits until all executors have a session with a leader.
pub(super) async fn until_ready(testbed: &Testbed) -> anyhow::Result<()> {
    let client = Client::new(testbed.endpoints());
    if testbed.options().size.masters > 0 {
        // Agents come to be known with the first work.
        return until("subscribed with Mesos", || async {
            client.mesos().await.ok()?.subscribed.then_some(())
        })
        .await;
    }
    let wanted = usize::from(testbed.options().size.executors);
    until("all executors connected", || async {
        let known = client.executors().await.ok()?;
        (known.iter().filter(|executor| executor.connected).count() >= wanted).then_some(())
    })
    .await
}

/// Registers the workflows of the load.
pub(super) async fn register(testbed: &Testbed, board: &Board) -> anyhow::Result<()> {
    let client = Client::new(testbed.endpoints());
    for workload in &board.workloads {
        let name = client.register(&workload.definition).await;
        name.with_context(|| format!("the workflow {} cannot be registered", workload.name))?;
    }
    Ok(())
}
