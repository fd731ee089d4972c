//! Files from a store: hdfs:// and s3://. Those with a checksum come through the cache, all others are copied each time, for a
//! store does not say cheaply that nothing changed.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use meson_store::{Store, Uri};

use super::cache::{About, Cache};
use super::{Error, Found, compare, sha256 as sum};

/// The schemes that stores understand, beside files of this machine.
const SCHEMES: [&str; 3] = ["hdfs://", "s3://", "s3a://"];

/// The fetcher's side of stores.
#[derive(Debug)]
pub struct Stored {
    store: Store,
    cache: Arc<Cache>,
    bytes_max: u64,
}

impl From<meson_store::Error> for Error {
    fn from(error: meson_store::Error) -> Self {
        if error.is_retryable() { Error::Platform(error.to_string()) } else { Error::User(error.to_string()) }
    }
}

/// Whether a URI is meant for a store.
pub fn is_stored(uri: &str) -> bool {
    SCHEMES.iter().any(|scheme| uri.starts_with(scheme))
}

impl Stored {
    /// Over this store and cache.
    pub fn new(store: Store, cache: Arc<Cache>, bytes_max: u64) -> Self {
        Self { store, cache, bytes_max }
    }

    /// Finds a file in the cache or in its store.
    pub async fn find(&self, text: &str, sha256: &str) -> Result<Found, Error> {
        let uri = Uri::parse(text)?;
        // The same file is not copied twice at once; and one with a checksum may be known by another URI.
        let key = if sha256.is_empty() { text } else { sha256 };
        let turn = self.cache.turn(key);
        let _turn = turn.lock().await;
        if let Some((file, _)) = self.cache.get(key).filter(|_| !sha256.is_empty()) {
            return Ok(Found { file, checked: true });
        }
        let part = self.cache.part();
        let found = self.copy(&uri, sha256, &part).await;
        // Gone already when the cache has taken it; whoever has it open reads on.
        let _ = std::fs::remove_file(&part);
        found
    }

    async fn copy(&self, uri: &Uri, sha256: &str, part: &Path) -> Result<Found, Error> {
        if self.store.stat(uri).await?.kind == meson_store::Kind::Directory {
            return Err(Error::User(format!("{uri} is a directory; fetch its files, or an archive of it")));
        }
        self.store.get(uri, part, self.bytes_max).await?;
        let (cache, uri, sha256, part) =
            (self.cache.clone(), uri.to_string(), sha256.to_owned(), part.to_owned());
        let taken = move || {
            if sha256.is_empty() {
                let file = File::open(&part).map_err(Error::disk(&part))?;
                return Ok(Found { file, checked: true });
            }
            let mut file = File::open(&part).map_err(Error::disk(&part))?;
            let actual = sum(&mut file).map_err(Error::disk(&part))?;
            compare(&uri, &sha256, &actual)?;
            let about = About { uri, sha256: actual, ..About::default() };
            let file = cache.put(&sha256, &part, &about).map_err(Error::disk(&part))?;
            Ok(Found { file, checked: true })
        };
        tokio::task::spawn_blocking(taken).await.map_err(|error| Error::Platform(error.to_string()))?
    }
}
