//! What is done to a data directory while no replica runs on it.

use std::path::Path;

use anyhow::Context as _;

use crate::config::Config;

/// Makes the data directory of a backup, and says what it is.
///
/// # Errors
/// When the directory holds a log already, or the backup is damaged or another group's.
pub fn restore(config: &Config, file: &Path) -> anyhow::Result<()> {
    let restored =
        meson_raft::restore(&config.raft(), config.members()?, file).context("nothing was restored")?;
    println!(
        "{}: replica {}, up to log entry {}. Restore the other replicas from the same file, then start all of them.",
        config.data_dir.display(),
        config.node_id,
        restored.position.index
    );
    Ok(())
}
