//! Removes directories that steps wrote to, whatever they did to them.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Removes a directory with all that is in it, also where directories in it are not writable.
///
/// # Errors
/// When something in it cannot be removed, such as files of another user; and before anything is, when something is mounted
/// on it or in it, which is not lost with the directory.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    if is_mounted_at(path, &mounts) {
        return Err(io::Error::other(
            "something is mounted there; unmount it, and remove the directory by hand",
        ));
    }
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path);
            std::fs::remove_dir_all(path)
        }
        removed => removed,
    }
}

/// Whether the file `mountinfo` of proc(5) names the directory or a place in it: the fifth field, with blanks and the like as
/// `\040`, which no place of ours has.
fn is_mounted_at(path: &Path, mountinfo: &[u8]) -> bool {
    let inside = [path.as_os_str().as_bytes(), b"/"].concat();
    let mut places =
        mountinfo.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    places.any(|place| place == path.as_os_str().as_bytes() || place.starts_with(&inside))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found() {
        let mounts = b"26 1 254:0 / / rw - ext4 /dev/vda rw\n\
            40 26 0:35 / /tmp/meson-a/mnt rw,relatime shared:1 - nfs server:/home rw\n";
        assert!(is_mounted_at(Path::new("/tmp/meson-a"), mounts));
        assert!(
            is_mounted_at(Path::new("/tmp/meson-a/mnt"), mounts),
            "what covers a directory is not its own"
        );
        assert!(!is_mounted_at(Path::new("/tmp/meson"), mounts));
        assert!(!is_mounted_at(Path::new("/tmp/meson-a"), b""));
    }
}
