//! Removes directories that steps wrote to, whatever they did to them.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Removes a directory with all that is in it, also where directories in it are not writable.
///
/// # Errors
/// When something in it cannot be removed, such as files of another user.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path);
            std::fs::remove_dir_all(path)
        }
        removed => removed,
    }
}

fn make_writable(dir: &Path) {
    const OWNERS: u32 = 0o700;
    if std::fs::set_permissions(dir, std::fs::Permissions::from_mode(OWNERS)).is_err() {
        return;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        // Of the entry itself: links are not followed.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}
