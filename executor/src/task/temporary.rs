//! The directory for an attempt's temporary files (`TMPDIR`), removed when the attempt has ended: programs that are killed
//! remove nothing themselves.
//!
//! It is in the system's own place for such files, because that is where operators have room for them, and its name is short,
//! because programs make sockets in it, whose paths may have 107 bytes. A link among the attempt's files tells where it is. Its
//! supervisor removes it, as that is there whenever the attempt ends, also when its executor is not; what that has no time
//! for, or did not live to do, is left to the executor.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::Duration;

use super::dirs::AttemptDir;
use super::trees::remove_tree;

/// The variable that programs find it by.
pub const VARIABLE: &str = "TMPDIR";

/// Other users of the machine have no business in it.
const MODE: u32 = 0o700;

/// How long the end of an attempt may wait for the removal.
const REMOVE_MAX: Duration = Duration::from_secs(5);

/// Makes it, for this user alone.
///
/// # Errors
/// When the disk refuses.
pub fn make(dir: &AttemptDir) -> io::Result<()> {
    let own = Permissions::from_mode(MODE);
    let made = tempfile::Builder::new().prefix("meson-").permissions(own).tempdir()?;
    // Until the link is there, an error removes it.
    symlink(made.path(), dir.temporary())?;
    let _ = made.keep();
    Ok(())
}

/// Where the attempt's is, if it has one.
pub fn of(dir: &AttemptDir) -> Option<PathBuf> {
    std::fs::read_link(dir.temporary()).ok()
}

/// Removes it with all that is in it.
///
/// # Errors
/// When something in it cannot be removed.
pub fn remove(dir: &AttemptDir) -> io::Result<()> {
    let Some(path) = of(dir) else { return Ok(()) };
    match remove_tree(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        }
        _ => std::fs::remove_file(dir.temporary()),
    }
}

/// The same, but not for longer than the end of an attempt may wait. What is left is for the executor, when it forgets the
/// attempt.
pub async fn remove_soon(dir: &AttemptDir) {
    let (done, removed) = tokio::sync::oneshot::channel();
    let dir = dir.clone();
    // Not a thread of the runtime, which would wait for it at its own end.
    let started = std::thread::Builder::new().spawn(move || {
        // Nobody listens any more when it took too long.
        let _ = done.send(remove(&dir));
    });
    if started.is_ok() {
        let _ = tokio::time::timeout(REMOVE_MAX, removed).await;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[tokio::test]
    async fn it_is_the_attempts_alone_and_goes_with_it() {
        let root = tempfile::tempdir().unwrap();
        let dir = AttemptDir::new(root.path().to_owned());
        assert_eq!(of(&dir), None);
        remove(&dir).unwrap();
        make(&dir).unwrap();
        let path = of(&dir).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, MODE);
        assert!(path.file_name().unwrap().len() < 16, "{}", path.display());
        assert!(make(&dir).is_err(), "an attempt has one");
        std::fs::create_dir(path.join("sub")).unwrap();
        std::fs::write(path.join("sub/file"), "x").unwrap();
        remove_soon(&dir).await;
        assert!(!path.exists() && of(&dir).is_none());
        // Somebody tidied the system's place for such files before.
        make(&dir).unwrap();
        std::fs::remove_dir(of(&dir).unwrap()).unwrap();
        remove(&dir).unwrap();
        assert_eq!(of(&dir), None);
    }
}
