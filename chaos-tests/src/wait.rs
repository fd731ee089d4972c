//! Waiting on conditions, with a bound that only a broken system reaches.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::bail;

/// How long any condition may take on a slow, busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `condition` gives something.
///
/// # Errors
/// When it has not within [`PATIENCE`]; `what` says what was waited for.
pub async fn until<T, F>(what: &str, mut condition: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Option<T>>,
{
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        // tidy: allow sleep: this is the one loop that waits on a condition of other processes
        tokio::time::sleep(LOOK_EVERY).await;
    }
    bail!("not within {} s: {what}", PATIENCE.as_secs())
}
