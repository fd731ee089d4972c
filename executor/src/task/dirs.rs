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

    /// Who supervises it and what became of it.
    pub fn record(&self) -> PathBuf {
        self.root.join("record.jsonl")
    }

    /// A link to where its temporary files are (`TMPDIR`).
    pub fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// An order to the supervisor to kill.
    pub fn kill(&self) -> PathBuf {
        self.root.join("kill.json")
    }

    /// Where the step appends its events (`MESON_EVENTS`).
    pub fn events(&self) -> PathBuf {
        self.root.join("events.jsonl")
    }

    /// The parameters (`MESON_PARAMS`).
    pub fn params(&self) -> PathBuf {
        self.root.join("params.json")
    }

    /// The step's configuration, for programs of plugins (`MESON_CONFIG`).
    pub fn config(&self) -> PathBuf {
        self.root.join("config.json")
    }

    /// What a driver is to do (see `drive`).
    pub fn job(&self) -> PathBuf {
        self.root.join("job.json")
    }

    /// There when a driver began something elsewhere.
    pub fn begun(&self) -> PathBuf {
        self.root.join("begun")
    }

    /// How it is cleaned up after, where there is something to do.
    pub fn cleanup(&self) -> PathBuf {
        self.root.join("clean-up.json")
    }

    /// What a driver says of the end.
    pub fn verdict(&self) -> PathBuf {
        self.root.join("verdict.json")
    }

    /// The index of the log: one entry a record.
    pub fn log_index(&self) -> PathBuf {
        self.root.join("log.index")
    }

    /// What the step wrote to its two output streams.
    pub fn output(&self) -> PathBuf {
        self.root.join("log.output")
    }

    /// What the executor says about the attempt.
    pub fn system(&self) -> PathBuf {
        self.root.join("log.system")
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
/// Not synced, for the reason that `record` gives.
///
/// # Errors
/// When the disk refuses.
pub fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, content)?;
    std::fs::rename(&temporary, path)
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
}
