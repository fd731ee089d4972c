//! The cache of fetched files: bounded, the least recently used go first.
//!
//! A file's name is the hash of its key; what it is stands beside it in a small JSON file. The time of last use is the
//! file's modification time, so the order survives a restart.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex as Turn;

use super::hexadecimal;

/// What is known of a cached file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Where it came from.
    pub uri: String,
    /// Hexadecimal.
    pub sha256: String,
    /// The server's words for its version.
    pub etag: Option<String>,
    /// The same, by time.
    pub last_modified: Option<String>,
}

/// The cache.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    bytes_max: u64,
    turns: Mutex<HashMap<String, Arc<Turn<()>>>>,
    downloads: AtomicU64,
}

impl Cache {
    /// Opens it; half-finished downloads of before are removed.
    pub fn open(dir: PathBuf, bytes_max: u64) -> io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                std::fs::remove_file(path)?;
            }
        }
        Ok(Self { dir, bytes_max, turns: Mutex::default(), downloads: AtomicU64::new(0) })
    }

    /// The turn to fetch under a key: who comes second waits, and then finds what the first has fetched.
    pub fn turn(&self, key: &str) -> Arc<Turn<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(key.to_owned()).or_default().clone()
    }

    /// A cached file, marked as used.
    pub fn get(&self, key: &str) -> Option<(File, About)> {
        let path = self.path(key);
        let about = serde_json::from_slice(&std::fs::read(path.with_extension("json")).ok()?).ok()?;
        let file = File::options().read(true).write(true).open(&path).ok()?;
        file.set_modified(SystemTime::now()).ok()?;
        Some((File::open(path).ok()?, about))
    }

    /// Where a download may be written.
    pub fn part(&self) -> PathBuf {
        let number = self.downloads.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!("{}-{number}.part", std::process::id()))
    }

    /// Takes a finished download, and evicts others when there is too much.
    pub fn put(&self, key: &str, part: &Path, about: &About) -> io::Result<File> {
        let path = self.path(key);
        let file = File::open(part)?;
        // The old description must not stand beside the new file.
        let _ = std::fs::remove_file(path.with_extension("json"));
        std::fs::rename(part, &path)?;
        crate::task::dirs::write_whole(&path.with_extension("json"), &crate::task::spec::encode(about))?;
        self.evict()?;
        Ok(file)
    }

    fn evict(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            // Another thread may have evicted it.
            if let (None, Ok(data)) = (path.extension(), std::fs::metadata(&path)) {
                files.push((data.modified()?, data.len(), path));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if total <= self.bytes_max {
                break;
            }
            let _ = std::fs::remove_file(path.with_extension("json"));
            let _ = std::fs::remove_file(path);
            total -= bytes;
        }
        Ok(())
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(hexadecimal(&Sha256::digest(key.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_least_recently_used_goes() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().to_owned(), 25).unwrap();
        let put = |key: &str| {
            let part = cache.part();
            std::fs::write(&part, [0; 10]).unwrap();
            cache.put(key, &part, &About::default()).unwrap();
        };
        let age = |key: &str, seconds| {
            let file = File::options().write(true).open(cache.path(key)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        };
        put("a");
        put("b");
        age("a", 20);
        age("b", 10);
        assert!(cache.get("a").is_some(), "using it makes it young");
        put("c");
        assert!(cache.get("a").is_some() && cache.get("c").is_some());
        assert!(cache.get("b").is_none());
    }

    #[test]
    fn half_downloads_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("1-0.part"), "x").unwrap();
        Cache::open(dir.path().to_owned(), 25).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
