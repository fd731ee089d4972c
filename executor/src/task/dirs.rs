//! The files of one attempt. Nothing here touches the disk except `create`.

use std::io;
use std::path::{Path, PathBuf};

/// The directory of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptDir {
    root: PathBuf,
}

impl AttemptDir {
    /// The directory at `root`.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The step's working directory.
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// The launch as it came (protobuf): the intent, written before anything else.
    pub fn launch(&self) -> PathBuf {
        self.root.join("launch.pb")
    }

    /// What the supervisor shall run.
    pub fn spec(&self) -> PathBuf {
        self.root.join("spec.json")
    }

    /// Who supervises. Created exactly once: by the supervisor, or by an executor that gives the attempt up.
    pub fn claim(&self) -> PathBuf {
        self.root.join("supervisor.json")
    }

    /// The child's pid, which is its process group as well.
    pub fn child(&self) -> PathBuf {
        self.root.join("child.json")
    }

    /// An order to the supervisor to kill.
    pub fn kill(&self) -> PathBuf {
        self.root.join("kill.json")
    }

    /// How it ended.
    pub fn exit(&self) -> PathBuf {
        self.root.join("exit.json")
    }

    /// Where the step appends its events (`MESON_EVENTS`).
    pub fn events(&self) -> PathBuf {
        self.root.join("events.jsonl")
    }

    /// The parameters (`MESON_PARAMS`).
    pub fn params(&self) -> PathBuf {
        self.root.join("params.json")
    }

    /// The index of the log: one entry a record.
    pub fn log_index(&self) -> PathBuf {
        self.root.join("log.index")
    }

    /// What the step wrote to standard output.
    pub fn stdout(&self) -> PathBuf {
        self.root.join("log.stdout")
    }

    /// What the step wrote to standard error.
    pub fn stderr(&self) -> PathBuf {
        self.root.join("log.stderr")
    }

    /// What the executor says about the attempt.
    pub fn system(&self) -> PathBuf {
        self.root.join("log.system")
    }

    /// Exists once the attempt's last report was acknowledged.
    pub fn done(&self) -> PathBuf {
        self.root.join("done")
    }

    /// Exists once every replica has the whole log.
    pub fn logs_stored(&self) -> PathBuf {
        self.root.join("logs_stored")
    }

    /// Creates the directory and the working directory in it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn create(&self) -> io::Result<()> {
        std::fs::create_dir_all(self.work())
    }
}

/// Whether a text from outside may be used as the name of a directory.
pub fn is_safe_name(name: &str) -> bool {
    const NAME_BYTES_MAX: usize = 200;
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:@=+,".contains(&byte))
}

/// Writes a file so that readers see it whole or not at all.
///
/// Not synced: these files protect against the death of processes, which the page cache outlives. When the machine
/// itself dies its child processes die too, and what is then missing is reported as lost.
///
/// # Errors
/// When the disk refuses.
pub fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, content)?;
    std::fs::rename(&temporary, path)
}

/// Like [`write_whole`], but fails with `AlreadyExists` when somebody was first.
///
/// # Errors
/// When the disk refuses or the file exists.
pub fn write_once(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    std::fs::write(&temporary, content)?;
    let linked = std::fs::hard_link(&temporary, path);
    std::fs::remove_file(&temporary)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_folder() {
        assert!(is_safe_name("main:01J.train-3@2"));
        for bad in ["", "..", ".hidden", "a/b", "a\0b", &"x".repeat(201)] {
            assert!(!is_safe_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn the_first_claim_wins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("supervisor.json");
        write_once(&path, b"first").unwrap();
        assert_eq!(write_once(&path, b"second").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
