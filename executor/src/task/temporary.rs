//! The directory for an attempt's temporary files (`TMPDIR`), removed when the attempt has ended: programs that are killed
//! remove nothing themselves.
//!
//! It is in the system's own place for such files, because that is where operators have room for them, and because a
//! socket's path must be short (108 bytes).

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use tracing::warn;

use super::trees::remove_tree;

/// The variable that programs find it by.
pub const VARIABLE: &str = "TMPDIR";

/// Other users of the machine have no business in it.
const MODE: u32 = 0o700;

/// Where the attempt's is.
pub fn path(attempt_id: &str) -> PathBuf {
    std::env::temp_dir().join(format!("meson-{attempt_id}"))
}

/// Makes it.
///
/// # Errors
/// When the disk refuses, or when somebody has made it before.
pub fn make(attempt_id: &str) -> io::Result<()> {
    let path = path(attempt_id);
    std::fs::DirBuilder::new()
        .mode(MODE)
        .create(&path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Removes it with all that is in it.
pub async fn remove(attempt_id: &str) {
    let path = path(attempt_id);
    let removed = tokio::task::spawn_blocking({
        let path = path.clone();
        move || remove_tree(&path)
    });
    match removed.await.map_err(io::Error::other).flatten() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(path = %path.display(), %error, "temporary files of an attempt are left");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[tokio::test]
    async fn it_is_the_attempts_alone_and_goes_with_it() {
        let attempt_id = format!("test-{}", std::process::id());
        make(&attempt_id).unwrap();
        let path = path(&attempt_id);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, MODE);
        assert!(
            make(&attempt_id).unwrap_err().to_string().contains(&attempt_id),
            "what is there is not ours"
        );
        std::fs::create_dir(path.join("sub")).unwrap();
        std::fs::write(path.join("sub/file"), "x").unwrap();
        remove(&attempt_id).await;
        assert!(!path.exists());
        remove(&attempt_id).await;
    }
}
