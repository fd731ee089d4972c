//! Snapshots are files: built or received under a temporary name, made durable, then renamed into place.
//!
//! The newest one is current; older ones are removed once it is. A handle keeps its file open, so that one that is
//! being sent stays readable after its removal.

pub mod format;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::sync_directory;
use crate::error::StoreError;
use crate::types::SnapshotMeta;
use format::Description;

const TEMPORARY: &str = "tmp";
const FINISHED: &str = "snap";

/// A handle on a snapshot whose content was verified, or written by this process.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    path: PathBuf,
    file: Arc<File>,
    /// Its length.
    pub size: u64,
    /// Its checksum.
    pub digest: [u8; 32],
}

impl SnapshotFile {
    /// Where it lies, unless removed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Up to `length` bytes from `offset`. Blocks.
    pub fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(left)];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

/// The current snapshot.
#[derive(Clone, Debug)]
pub struct Current {
    /// What it is.
    pub meta: SnapshotMeta,
    /// Its file.
    pub file: SnapshotFile,
}

/// The snapshots of one replica; clones share them.
#[derive(Clone)]
pub struct Snapshots {
    inner: Arc<Inner>,
}

struct Inner {
    group_id: u64,
    directory: PathBuf,
    current: Mutex<Option<Current>>,
    /// Makes temporary names and snapshot ids unique.
    counter: AtomicU64,
}

impl Snapshots {
    /// Looks into a directory, which is created when missing: removes what was not finished, verifies the newest.
    pub fn open(directory: &Path, group_id: u64) -> Result<Self, StoreError> {
        let io = |error| StoreError::io(directory.display().to_string(), error);
        std::fs::create_dir_all(directory).map_err(io)?;
        for entry in std::fs::read_dir(directory).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|extension| extension == TEMPORARY) {
                std::fs::remove_file(&path).map_err(io)?;
            }
        }
        let mut finished = finished(directory).map_err(io)?;
        let mut current = None;
        if let Some(newest) = finished.pop() {
            let (description, file) = load(&newest, group_id)?;
            current = Some(Current { meta: description.meta, file });
        }
        for older in finished {
            std::fs::remove_file(&older).map_err(io)?;
        }
        sync_directory(directory)?;
        let inner = Inner {
            group_id,
            directory: directory.to_owned(),
            current: Mutex::new(current),
            counter: AtomicU64::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where they lie.
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// The current snapshot.
    pub fn current(&self) -> Option<Current> {
        self.lock().clone()
    }

    /// A new snapshot's id: where it stands, and something no other process run uses.
    pub fn new_id(&self, index: u64) -> String {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        format!("{index:020}-{since:x}-{}", self.inner.counter.fetch_add(1, Ordering::Relaxed))
    }

    /// A new temporary file.
    pub fn create(&self) -> Result<(PathBuf, File), StoreError> {
        let number = self.inner.counter.fetch_add(1, Ordering::Relaxed);
        let path = self.inner.directory.join(format!("{}-{number}.{TEMPORARY}", std::process::id()));
        let file =
            File::create_new(&path).map_err(|error| StoreError::io(path.display().to_string(), error))?;
        Ok((path, file))
    }

    /// What a file built here says of itself.
    pub fn describe(&self, meta: SnapshotMeta) -> Description {
        Description { group_id: self.inner.group_id, meta }
    }

    /// Verifies a received temporary file.
    pub fn verify(&self, path: &Path) -> Result<(Description, SnapshotFile), StoreError> {
        load(path, self.inner.group_id)
    }

    /// A handle on a temporary file that was just written and synced here.
    pub fn written(&self, path: &Path, size: u64, digest: [u8; 32]) -> Result<SnapshotFile, StoreError> {
        let file = File::open(path).map_err(|error| StoreError::io(path.display().to_string(), error))?;
        Ok(SnapshotFile { path: path.to_owned(), file: Arc::new(file), size, digest })
    }

    /// Makes a durable temporary file the current snapshot, and removes the one before. One that is older than the
    /// current is dropped. Gives what is current afterwards.
    pub fn publish(&self, meta: &SnapshotMeta, file: &SnapshotFile) -> Result<Current, StoreError> {
        let mut current = self.lock();
        if let Some(newer) = current.as_ref().filter(|current| current.meta.last_log_id > meta.last_log_id) {
            remove(&file.path);
            return Ok(newer.clone());
        }
        let name = format!(
            "{:020}-{}.{FINISHED}",
            meta.last_log_id.map_or(0, |id| id.index),
            safe(&meta.snapshot_id)
        );
        let path = self.inner.directory.join(name);
        let io = |error| StoreError::io(path.display().to_string(), error);
        if file.path != path {
            let source = self.own(file)?;
            std::fs::rename(source, &path).map_err(io)?;
            sync_directory(&self.inner.directory)?;
        }
        let file = SnapshotFile { path: path.clone(), ..file.clone() };
        let published = Current { meta: meta.clone(), file };
        if let Some(before) = current.replace(published.clone()).filter(|before| before.file.path != path) {
            remove(&before.file.path);
        }
        Ok(published)
    }

    /// The bytes all snapshots take.
    pub fn size_bytes(&self) -> u64 {
        self.lock().as_ref().map_or(0, |current| current.file.size)
    }

    /// A file in this directory; one from elsewhere is copied.
    fn own(&self, file: &SnapshotFile) -> Result<PathBuf, StoreError> {
        if file.path.parent() == Some(&self.inner.directory) {
            return Ok(file.path.clone());
        }
        let (path, mut copy) = self.create()?;
        File::open(&file.path)
            .and_then(|mut source| io::copy(&mut source, &mut copy))
            .and_then(|_| copy.sync_all())
            .map_err(|error| StoreError::io(path.display().to_string(), error))?;
        Ok(path)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Current>> {
        self.inner.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The finished snapshots in a directory, oldest first. Names begin with the index in twenty digits.
pub fn finished(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut finished = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == FINISHED) {
            finished.push(path);
        }
    }
    finished.sort();
    Ok(finished)
}

/// Removes a file that nobody needs; what stays behind is removed at the next start.
pub fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove a snapshot");
    }
}

fn load(path: &Path, group_id: u64) -> Result<(Description, SnapshotFile), StoreError> {
    let (description, size, digest) = format::verify(path)?;
    if description.group_id != group_id {
        let reason = format!("it is of group {}, not {group_id}", description.group_id);
        return Err(StoreError::corrupt(path.display().to_string(), reason));
    }
    let file = File::open(path).map_err(|error| StoreError::io(path.display().to_string(), error))?;
    Ok((description, SnapshotFile { path: path.to_owned(), file: Arc::new(file), size, digest }))
}

/// Ids come from other replicas as well; none leads out of the directory.
fn safe(id: &str) -> String {
    id.chars().map(|char| if char.is_ascii_alphanumeric() || char == '-' { char } else { '_' }).collect()
}
