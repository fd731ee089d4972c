//! Brings in the files a step needs before it starts: over HTTP, from HDFS or S3, or from this machine; checked, unpacked,
//! cached.

mod archive;
mod cache;
mod http;
mod stored;
mod target;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use meson_proto::v1::{Failure, FailureClass, Fetch};
use meson_store::Store;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::task::exit;
use cache::Cache;
use http::Http;
use stored::Stored;

/// Why a file could not be brought in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Asking again will not help: not found, not allowed, not what it should be.
    #[error("{0}")]
    User(String),
    /// Network or disk; may go better elsewhere or later.
    #[error("{0}")]
    Platform(String),
}

impl Error {
    fn disk(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                Self::User(format!("{}: {error}", path.display()))
            }
            _ => Self::Platform(format!("{}: {error}", path.display())),
        }
    }

    /// As the failure of an attempt.
    pub fn failure(&self) -> Failure {
        let class = match self {
            Self::User(_) => FailureClass::User,
            Self::Platform(_) => FailureClass::Platform,
        };
        exit::new(class, "fetch_failed", &self.to_string())
    }
}

/// Fetches for all attempts of this executor.
#[derive(Debug)]
pub struct Fetcher {
    http: Http,
    stored: Stored,
    bytes_max: u64,
}

/// A file found: open, so that the cache may evict it meanwhile.
#[derive(Debug)]
struct Found {
    file: File,
    /// Whether its checksum is known to be the wanted one.
    checked: bool,
}

impl Fetcher {
    /// A fetcher with its cache.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(config: &Config, store: Store) -> io::Result<Self> {
        let cache = Arc::new(Cache::open(config.data_dir.join("cache"), config.cache_bytes_max)?);
        let timeout = std::time::Duration::from_millis(config.fetch_timeout_ms);
        Ok(Self {
            http: Http::new(cache.clone(), timeout, config.fetch_bytes_max),
            stored: Stored::new(store, cache, config.fetch_bytes_max),
            bytes_max: config.fetch_bytes_max,
        })
    }

    /// Brings in all files, one after the other, below `work`.
    ///
    /// # Errors
    /// At the first that cannot be had.
    pub async fn bring_all(&self, fetches: &[Fetch], work: &Path) -> Result<(), Error> {
        for fetch in fetches {
            let found = self.find(fetch).await?;
            let (fetch, work, bytes_max) = (fetch.clone(), work.to_owned(), self.bytes_max);
            tokio::task::spawn_blocking(move || place(found, &fetch, &work, bytes_max))
                .await
                .map_err(|error| Error::Platform(error.to_string()))??;
        }
        Ok(())
    }

    async fn find(&self, fetch: &Fetch) -> Result<Found, Error> {
        let uri = fetch.uri.as_str();
        if uri.starts_with("http://") || uri.starts_with("https://") {
            return self.http.find(uri, &fetch.sha256.to_ascii_lowercase()).await;
        }
        if stored::is_stored(uri) {
            return self.stored.find(uri, &fetch.sha256.to_ascii_lowercase()).await;
        }
        let path = PathBuf::from(uri.strip_prefix("file://").unwrap_or(uri));
        if !path.is_absolute() {
            return Err(Error::User(format!(
                "`{uri}` is neither http(s), hdfs, s3, file:// nor an absolute path"
            )));
        }
        let file = File::open(&path).map_err(Error::disk(&path))?;
        Ok(Found { file, checked: false })
    }
}

/// Checks a found file and puts it where the step wants it.
fn place(mut found: Found, fetch: &Fetch, work: &Path, bytes_max: u64) -> Result<(), Error> {
    let length = found.file.metadata().map_err(Error::disk(Path::new(&fetch.uri)))?.len();
    if length > bytes_max {
        return Err(Error::User(format!(
            "{} has {length} bytes, more than the limit of {bytes_max}",
            fetch.uri
        )));
    }
    if !found.checked && !fetch.sha256.is_empty() {
        check(&mut found.file, fetch)?;
    }
    if fetch.extract {
        let target = target::directory(work, &fetch.to)?;
        return archive::unpack(found.file, &fetch.uri, &target, bytes_max);
    }
    let target = target::file(work, fetch)?;
    let mut copy = File::create(&target).map_err(Error::disk(&target))?;
    io::copy(&mut found.file, &mut copy).map_err(Error::disk(&target))?;
    let mode = if fetch.executable { 0o755 } else { 0o644 };
    copy.set_permissions(PermissionsExt::from_mode(mode)).map_err(Error::disk(&target))
}

fn check(file: &mut File, fetch: &Fetch) -> Result<(), Error> {
    use std::io::Seek as _;
    let disk = |error: io::Error| Error::disk(Path::new(&fetch.uri))(error);
    let actual = sha256(file).map_err(disk)?;
    file.rewind().map_err(disk)?;
    compare(&fetch.uri, &fetch.sha256.to_ascii_lowercase(), &actual)
}

fn compare(uri: &str, wanted: &str, actual: &str) -> Result<(), Error> {
    if wanted == actual {
        return Ok(());
    }
    Err(Error::User(format!("{uri} has the sha256 {actual}, not {wanted}")))
}

fn sha256(file: &mut File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let bytes = file.read(&mut buffer)?;
        if bytes == 0 {
            return Ok(hexadecimal(&hash.finalize()));
        }
        hash.update(&buffer[..bytes]);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bring(fetch: Fetch, work: &Path) -> Result<(), Error> {
        let data = tempfile::tempdir().unwrap();
        let config = Config { data_dir: data.path().to_owned(), fetch_bytes_max: 1_000, ..Config::default() };
        Fetcher::open(&config, Store::default()).unwrap().bring_all(&[fetch], work).await
    }

    #[tokio::test]
    async fn local_files_are_copied_checked_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("tool");
        std::fs::write(&source, "abc").unwrap();
        let good = Fetch {
            uri: format!("file://{}", source.display()),
            to: "bin/tool".into(),
            sha256: "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD".into(),
            executable: true,
            ..Fetch::default()
        };
        bring(good.clone(), dir.path()).await.unwrap();
        let mode = std::fs::metadata(dir.path().join("bin/tool")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);

        let wrong = Fetch { sha256: "00".into(), ..good.clone() };
        assert!(matches!(bring(wrong, dir.path()).await, Err(Error::User(_))));
        let missing = Fetch { uri: "/no/such/file".into(), ..good.clone() };
        assert!(matches!(bring(missing, dir.path()).await, Err(Error::User(_))));
        let outside = Fetch { to: "../escaped".into(), ..good.clone() };
        assert!(matches!(bring(outside, dir.path()).await, Err(Error::User(_))));
        let strange = Fetch { uri: "gopher://x".into(), ..good.clone() };
        assert!(matches!(bring(strange, dir.path()).await, Err(Error::User(_))));
        let climbing = Fetch { uri: "hdfs://nn:1/a/../b".into(), ..good.clone() };
        assert!(matches!(bring(climbing, dir.path()).await, Err(Error::User(_))));
        std::fs::write(&source, vec![0; 2_000]).unwrap();
        assert!(matches!(
            bring(Fetch { sha256: String::new(), ..good }, dir.path()).await,
            Err(Error::User(_))
        ));
    }
}
