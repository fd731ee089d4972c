//! Directories that are costly to make and the same for many steps: environments of Python, compiled helpers. Made within the
//! attempt that needs them first, so that its timeout, kill and log hold for that too, and kept for the next one.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use sha2::{Digest as _, Sha256};

/// Directories of one sort that are kept; of more, those that were not used for longest go.
const KEPT_MAX: usize = 20;
/// There once all is made. Its time is that of the last use.
const STAMP: &str = ".meson-made";
/// Bytes of the hash that name a directory.
const NAME_BYTES: usize = 16;

/// A directory that nobody removes while this lives, or a program that this process became.
#[derive(Debug)]
pub struct Kept {
    /// Where it is.
    pub dir: PathBuf,
    _lock: File,
}

/// The directory below `all` for this content, made now if it is not there.
///
/// # Errors
/// When the disk refuses, or it cannot be made.
pub fn bring(all: &Path, content: &[&[u8]], make: impl Fn(&Path) -> io::Result<()>) -> io::Result<Kept> {
    std::fs::create_dir_all(all)?;
    let mut hash = Sha256::new();
    for part in content {
        // With their lengths, so that no two lists look the same.
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    let name: String = hash.finalize().iter().take(NAME_BYTES).map(|byte| format!("{byte:02x}")).collect();
    let dir = all.join(&name);
    let lock = File::create(dir.with_extension("lock"))?;
    let stamp = dir.join(STAMP);
    lock.lock_shared()?;
    while !stamp.exists() {
        lock.unlock()?;
        lock.lock()?;
        // Another attempt may have made it while this one waited.
        if !stamp.exists() {
            if dir.exists() {
                std::fs::remove_dir_all(&dir)?;
            }
            // What is not whole is of no use to anybody, and nobody would count it.
            make(&dir).inspect_err(|_| drop(std::fs::remove_dir_all(&dir)))?;
            File::create(&stamp)?;
        }
        lock.unlock()?;
        lock.lock_shared()?;
    }
    File::open(&stamp)?.set_modified(SystemTime::now())?;
    // What this process becomes holds it on.
    fcntl(&lock, FcntlArg::F_SETFD(FdFlag::empty()))?;
    prune(all, &name);
    Ok(Kept { dir, _lock: lock })
}

/// Removes what nobody used for longest. What cannot be removed now may be so the next time.
fn prune(all: &Path, used: &str) {
    let Ok(entries) = std::fs::read_dir(all) else { return };
    let mut kept: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter(|entry| entry.file_name() != *used)
        .filter_map(|entry| Some((entry.path().join(STAMP).metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    kept.sort();
    let surplus = (kept.len() + 1).saturating_sub(KEPT_MAX);
    for (_, dir) in &kept[..surplus] {
        let Ok(lock) = File::create(dir.with_extension("lock")) else { continue };
        match lock.try_lock() {
            // The stamp first: what is half removed is not taken for whole.
            Ok(()) => drop(std::fs::remove_file(dir.join(STAMP)).and_then(|()| std::fs::remove_dir_all(dir))),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_for_each_content() {
        let all = tempfile::tempdir().unwrap();
        let made = std::cell::Cell::new(0);
        for content in [b"a", b"b", b"a"] {
            let make = |dir: &Path| {
                made.set(made.get() + 1);
                std::fs::create_dir(dir)
            };
            assert!(bring(all.path(), &[content], make).unwrap().dir.join(STAMP).exists());
        }
        assert_eq!(made.get(), 2);
        let fails = |_: &Path| Err(io::Error::other("no"));
        assert!(bring(all.path(), &[b"c"], fails).is_err());
        assert!(
            bring(all.path(), &[b"c"], |dir| std::fs::create_dir(dir)).is_ok(),
            "the next one may be luckier"
        );
    }

    #[test]
    fn the_oldest_that_nobody_uses_go() {
        let all = tempfile::tempdir().unwrap();
        let all = all.path();
        for number in 0..KEPT_MAX as u64 + 2 {
            let dir = all.join(format!("{number:03}"));
            std::fs::create_dir(&dir).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number);
            File::create(dir.join(STAMP)).unwrap().set_modified(time).unwrap();
        }
        let in_use = File::create(all.join("001.lock")).unwrap();
        in_use.lock_shared().unwrap();
        prune(all, "021");
        let is_there = |name: &str| all.join(name).exists();
        assert_eq!(["000", "001", "002", "021"].map(is_there), [false, true, true, true]);
    }
}
