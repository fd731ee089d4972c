//! Who this executor is: the lock on its data directory, its lasting id, and the id of this start.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::task::dirs::write_whole;

/// What may be wrong with a data directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another executor works on it.
    #[error("another executor uses the data directory {0}")]
    InUse(PathBuf),
    /// The disk refuses.
    #[error("data directory {path}: {source}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The identity; the data directory is locked as long as it lives.
#[derive(Debug)]
pub struct Identity {
    /// Stable over restarts.
    pub executor_id: String,
    /// New for each start.
    pub incarnation: String,
    _lock: File,
}

impl Identity {
    /// Locks `data_dir`, creating it when it is missing, and reads or draws the ids.
    ///
    /// # Errors
    /// When another executor uses the directory, or the disk refuses.
    pub fn claim(data_dir: &Path) -> Result<Self, Error> {
        let disk = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Disk { path, source }
        };
        std::fs::create_dir_all(data_dir).map_err(disk(data_dir))?;
        let lock_path = data_dir.join("lock");
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(disk(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse(data_dir.to_owned())),
            Err(TryLockError::Error(source)) => return Err(disk(&lock_path)(source)),
        }
        // For people who wonder who holds it; nothing reads it.
        let _ = lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id()));
        let id_path = data_dir.join("executor_id");
        let executor_id = lasting_id(&id_path).map_err(disk(&id_path))?;
        let incarnation = random_id().map_err(disk(Path::new(RANDOM)))?;
        Ok(Self { executor_id, incarnation, _lock: lock })
    }
}

fn lasting_id(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Ok(id) if !id.trim().is_empty() => return Ok(id.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let id = format!("executor-{}", random_id()?);
    // Nobody else is here: the directory is locked.
    write_whole(path, id.as_bytes())?;
    File::open(path)?.sync_all()?;
    Ok(id)
}

const RANDOM: &str = "/dev/urandom";

fn random_id() -> io::Result<String> {
    let mut bytes = [0; 8];
    File::open(RANDOM)?.read_exact(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_le_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_executor_a_directory_and_one_id_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::claim(dir.path()).unwrap();
        assert!(matches!(Identity::claim(dir.path()), Err(Error::InUse(_))));
        let (id, incarnation) = (first.executor_id.clone(), first.incarnation.clone());
        drop(first);
        let second = Identity::claim(dir.path()).unwrap();
        assert_eq!(second.executor_id, id);
        assert_ne!(second.incarnation, incarnation);
    }
}
