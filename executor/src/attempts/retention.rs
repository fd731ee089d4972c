//! What is kept, and for how long: files of finished attempts, and workspaces of runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::warn;

use super::Executor;

/// How often retention looks, at most.
const TICK_MAX: Duration = Duration::from_secs(30);
/// How often retention looks, at least a quarter of what it keeps.
const TICK_MIN: Duration = Duration::from_millis(50);

impl Executor {
    /// Removes what is too old or too much, for ever.
    pub async fn keep_tidy(self: Arc<Self>) {
        let shortest = self.config.keep_attempts_ms.min(self.config.keep_workspaces_ms) / 4;
        let mut tick = tokio::time::interval(Duration::from_millis(shortest).clamp(TICK_MIN, TICK_MAX));
        loop {
            tick.tick().await;
            let executor = self.clone();
            let tidied = tokio::task::spawn_blocking(move || executor.tidy()).await;
            if let Err(error) = tidied.map_err(io::Error::other).flatten() {
                warn!(%error, "old files cannot be removed");
            }
        }
    }

    fn tidy(&self) -> io::Result<()> {
        let keep = Duration::from_millis(self.config.keep_attempts_ms);
        let before = SystemTime::now().checked_sub(keep).unwrap_or(SystemTime::UNIX_EPOCH);
        loop {
            let oldest = self.table().forget_oldest(before, self.config.keep_attempts_max);
            let Some(attempt_id) = oldest else { break };
            self.logs.close(&attempt_id);
            std::fs::remove_dir_all(self.dir(&attempt_id).root())?;
        }
        self.tidy_workspaces()
    }

    fn tidy_workspaces(&self) -> io::Result<()> {
        let keep = Duration::from_millis(self.config.keep_workspaces_ms);
        for (path, used) in aged(&self.config.workspaces())? {
            let Some(run_id) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let removed = path.with_file_name(format!(".removed-{run_id}"));
            if run_id.starts_with('.') {
                std::fs::remove_dir_all(&path)?;
            } else if age(used) > keep && self.set_aside(run_id, &path, &removed)? {
                std::fs::remove_dir_all(&removed)?;
            }
        }
        Ok(())
    }

    /// Renames an idle workspace, so that a launch in the next moment makes a new one. A launch enters the table before
    /// it makes its workspace; both happen under, or after, the table's lock.
    fn set_aside(&self, run_id: &str, path: &Path, removed: &Path) -> io::Result<bool> {
        let table = self.table();
        let idle = table.is_idle(run_id);
        if idle {
            std::fs::rename(path, removed)?;
        }
        Ok(idle)
    }
}

/// The entries of a directory with the time of their last change.
fn aged(dir: &Path) -> io::Result<Vec<(PathBuf, SystemTime)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        // What vanished meanwhile needs no tidying.
        if let Ok(modified) = entry.metadata().and_then(|data| data.modified()) {
            found.push((entry.path(), modified));
        }
    }
    Ok(found)
}

fn age(time: SystemTime) -> Duration {
    // A clock that was set back makes things young, which only keeps them longer.
    SystemTime::now().duration_since(time).unwrap_or_default()
}
