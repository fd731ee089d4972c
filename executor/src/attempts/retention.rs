//! What is kept, and for how long: files of finished attempts, and workspaces of runs.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::warn;

use super::Executor;
use crate::task::dirs::is_safe_name;
use crate::task::temporary;
use crate::task::trees::remove_tree;

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
            let dir = self.dir(&attempt_id);
            // What its supervisor had no time for.
            if let Err(error) = temporary::remove(&dir) {
                warn!(attempt_id, %error, "temporary files of an attempt cannot be removed");
            }
            // Whole or not at all: what is half removed would look like an attempt to the next executor.
            if let Err(error) = put_aside(dir.root()) {
                warn!(attempt_id, %error, "files of an attempt cannot be removed");
            }
        }
        remove_set_aside(&self.attempts_dir(), is_safe_name)?;
        self.tidy_workspaces()
    }

    fn tidy_workspaces(&self) -> io::Result<()> {
        let dir = self.config.workspaces();
        let keep = Duration::from_millis(self.config.keep_workspaces_ms);
        // Other executors may share the directory, and know by its age alone that a workspace is in use.
        for run_id in self.table().active_runs() {
            if let Ok(workspace) = File::open(dir.join(&run_id)) {
                let _ = workspace.set_modified(SystemTime::now());
            }
        }
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            let is_run = path.file_name().and_then(|name| name.to_str()).is_some_and(is_run_id);
            if is_run && is_old(&path, keep) {
                self.set_aside(&path, keep);
            }
        }
        remove_set_aside(&dir, is_run_id)
    }

    /// Renames an idle workspace, so that a launch in the next moment makes a new one. A launch enters the table before
    /// it makes its workspace; both happen under, or after, the table's lock.
    fn set_aside(&self, path: &Path, keep: Duration) {
        let table = self.table();
        if !path.file_name().and_then(|name| name.to_str()).is_some_and(|run_id| table.is_idle(run_id)) {
            return;
        }
        match put_aside(path) {
            // Another executor began to use it just now.
            Ok(aside) if !is_old(&aside, keep) => drop(std::fs::rename(&aside, path)),
            Ok(_) => {}
            Err(error) => warn!(path = %path.display(), %error, "a workspace cannot be removed"),
        }
    }
}

/// How names begin of what is being removed.
const ASIDE: &str = ".removed-";

/// Renames a directory to one that the next look at its place removes.
///
/// # Errors
/// When the disk refuses.
pub(super) fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!("{ASIDE}{name}"));
    std::fs::rename(path, &aside).map(|()| aside)
}

/// Whether a directory was put aside.
pub(super) fn is_aside(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(ASIDE))
}

/// Removes what was set aside. What a step made unremovable, such as files of another user, stays and is told; nothing
/// else waits for it.
fn remove_set_aside(dir: &Path, is_own: fn(&str) -> bool) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.strip_prefix(ASIDE).is_some_and(is_own)
            && let Err(error) = remove_tree(&path)
        {
            warn!(path = %path.display(), %error, "old files cannot be removed");
        }
    }
    Ok(())
}

/// Whether a name is that of a run: anything else in a directory that is shared is somebody else's. As `meson-workflow`
/// writes it: `g<number>-<ULID in small letters>`.
fn is_run_id(name: &str) -> bool {
    let parts = name.strip_prefix('g').and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(group, ulid)| {
        let is_lower = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        group.parse::<u32>().is_ok() && ulid.len() == 26 && ulid.bytes().all(is_lower)
    })
}

/// Whether a directory was not changed for so long. A clock that was set back makes it young, which only keeps it longer.
fn is_old(path: &Path, keep: Duration) -> bool {
    let data = path.symlink_metadata().ok().filter(std::fs::Metadata::is_dir);
    let age = |modified| SystemTime::now().duration_since(modified).unwrap_or_default();
    data.and_then(|data| data.modified().ok()).is_some_and(|modified| age(modified) > keep)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_directories_of_runs_are_touched() {
        for (name, is_run) in [
            ("g1-01m8hjqcynqzmv2rkebzn8wt9b", true),
            ("g1-01M8HJQCYNQZMV2RKEBZN8WT9B", false),
            ("g1-01m8hjqcynqzmv2rkebzn8wt9b.1.1", false),
            ("datasets", false),
            (".git", false),
        ] {
            assert_eq!(is_run_id(name), is_run, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_removed_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let run = "g1-01m8hjqcynqzmv2rkebzn8wt9b";
        std::fs::create_dir_all(at(&format!("{ASIDE}{run}/a/b"))).unwrap();
        std::fs::set_permissions(at(&format!("{ASIDE}{run}/a")), std::fs::Permissions::from_mode(0o500))
            .unwrap();
        // Neither of these is a directory of ours.
        std::fs::write(at(".removed-notes.txt"), "").unwrap();
        std::fs::create_dir(at(".snapshot")).unwrap();
        remove_set_aside(dir.path(), is_run_id).unwrap();
        assert!(!at(&format!("{ASIDE}{run}")).exists());
        assert!(at(".snapshot").exists() && at(".removed-notes.txt").exists());
        assert!(is_old(dir.path(), Duration::ZERO) && !is_old(dir.path(), Duration::from_secs(3_600)));
        assert!(!is_old(&at(".removed-notes.txt"), Duration::ZERO), "a file is no workspace");
    }
}
