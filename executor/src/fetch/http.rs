//! Files over HTTP and HTTPS, through the cache: by checksum where one is given, else by address and the server's
//! word (ETag, Last-Modified) that nothing changed.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Client, Response, StatusCode};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::cache::{About, Cache};
use super::{Error, Found, compare, hexadecimal};

/// The fetcher's web side.
#[derive(Debug)]
pub struct Http {
    cache: Arc<Cache>,
    timeout: Duration,
    bytes_max: u64,
    client: Mutex<Option<Client>>,
}

impl Http {
    /// A fetcher that gives up after `timeout` without progress.
    pub fn new(cache: Arc<Cache>, timeout: Duration, bytes_max: u64) -> Self {
        Self { cache, timeout, bytes_max, client: Mutex::new(None) }
    }

    /// Finds a file in the cache or on the web.
    pub async fn find(&self, uri: &str, sha256: &str) -> Result<Found, Error> {
        let key = if sha256.is_empty() { uri } else { sha256 };
        let turn = self.cache.turn(key);
        let _turn = turn.lock().await;
        let cached = match self.cache.get(key) {
            Some((file, _)) if !sha256.is_empty() => return Ok(Found { file, checked: true }),
            cached => cached,
        };
        let response = self.ask(uri, cached.as_ref().map(|(_, about)| about)).await?;
        match (response.status(), cached) {
            (StatusCode::NOT_MODIFIED, Some((file, _))) => Ok(Found { file, checked: true }),
            (status, _) if status.is_success() => self.download(uri, sha256, key, response).await,
            (status, _) => Err(refused(uri, status)),
        }
    }

    async fn ask(&self, uri: &str, about: Option<&About>) -> Result<Response, Error> {
        let mut request = self.client()?.get(uri);
        if let Some(etag) = about.and_then(|about| about.etag.as_ref()) {
            request = request.header(IF_NONE_MATCH, etag);
        } else if let Some(time) = about.and_then(|about| about.last_modified.as_ref()) {
            request = request.header(IF_MODIFIED_SINCE, time);
        }
        request.send().await.map_err(|error| failed(uri, &error))
    }

    async fn download(
        &self,
        uri: &str,
        sha256: &str,
        key: &str,
        mut response: Response,
    ) -> Result<Found, Error> {
        let header = |name: HeaderName| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let mut about = About {
            uri: uri.to_owned(),
            sha256: String::new(),
            etag: header(ETAG),
            last_modified: header(LAST_MODIFIED),
        };
        let part = self.cache.part();
        let written = self.write(uri, &mut response, &part).await;
        let result = written.and_then(|actual| {
            if !sha256.is_empty() {
                compare(uri, sha256, &actual)?;
            }
            about.sha256 = actual;
            self.cache.put(key, &part, &about).map_err(Error::disk(&part))
        });
        if result.is_err() {
            // What stays is removed at the next start.
            let _ = std::fs::remove_file(&part);
        }
        Ok(Found { file: result?, checked: true })
    }

    /// Writes the body to a file and returns its checksum.
    async fn write(&self, uri: &str, response: &mut Response, path: &Path) -> Result<String, Error> {
        let disk = |error| Error::Platform(format!("{}: {error}", path.display()));
        let mut file = tokio::fs::File::create(path).await.map_err(disk)?;
        let mut hash = Sha256::new();
        let mut bytes = 0;
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(uri, &error))? {
            bytes += chunk.len() as u64;
            if bytes > self.bytes_max {
                return Err(Error::User(format!(
                    "{uri} has more bytes than the limit of {}",
                    self.bytes_max
                )));
            }
            hash.update(&chunk);
            file.write_all(&chunk).await.map_err(disk)?;
        }
        file.flush().await.map_err(disk)?;
        Ok(hexadecimal(&hash.finalize()))
    }

    /// The client, made at its first use: most executors never fetch from the web.
    fn client(&self) -> Result<Client, Error> {
        let mut client = self.client.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(client) = client.as_ref() {
            return Ok(client.clone());
        }
        // Fails when somebody installed a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let built = Client::builder()
            .connect_timeout(self.timeout)
            .read_timeout(self.timeout)
            .user_agent(concat!("meson-executor/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Platform(format!("no web client: {error}")))?;
        Ok(client.insert(built).clone())
    }
}

fn refused(uri: &str, status: StatusCode) -> Error {
    let message = format!("{uri}: {status}");
    let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    if status.is_client_error() && !passing.contains(&status) {
        Error::User(message)
    } else {
        Error::Platform(message)
    }
}

fn failed(uri: &str, error: &reqwest::Error) -> Error {
    let mut message = format!("{uri}: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        message = format!("{message}: {inner}");
        cause = inner.source();
    }
    if error.is_builder() { Error::User(message) } else { Error::Platform(message) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A web server of one file, `/file`, with an ETag; counts how often it sent it.
    async fn serve() -> (String, Arc<AtomicUsize>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let sent = Arc::new(AtomicUsize::new(0));
        let count = sent.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let count = count.clone();
                tokio::spawn(async move {
                    let mut head = vec![0; 4096];
                    let bytes = socket.read(&mut head).await.unwrap();
                    let head = String::from_utf8_lossy(&head[..bytes]).to_lowercase();
                    let answer = if !head.starts_with("get /file ") {
                        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    } else if head.contains("if-none-match: \"v1\"") {
                        "HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n"
                    } else {
                        count.fetch_add(1, Ordering::SeqCst);
                        "HTTP/1.1 200 OK\r\netag: \"v1\"\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc"
                    };
                    socket.write_all(answer.as_bytes()).await.unwrap();
                });
            }
        });
        (address, sent)
    }

    fn http(dir: &Path) -> Http {
        Http::new(Arc::new(Cache::open(dir.to_owned(), 1_000).unwrap()), Duration::from_secs(5), 100)
    }

    #[tokio::test]
    async fn the_same_thing_is_fetched_once() {
        let dir = tempfile::tempdir().unwrap();
        let (address, sent) = serve().await;
        let (http, uri) = (http(dir.path()), format!("{address}/file"));
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let all = futures::future::join_all((0..8).map(|_| http.find(&uri, sha256))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(sent.load(Ordering::SeqCst), 1);
        http.find(&uri, "").await.unwrap();
        http.find(&uri, "").await.unwrap();
        assert_eq!(
            sent.load(Ordering::SeqCst),
            2,
            "without a checksum the server is asked, and says unchanged"
        );
    }

    #[tokio::test]
    async fn failures_have_their_classes() {
        let dir = tempfile::tempdir().unwrap();
        let (address, _) = serve().await;
        let http = http(dir.path());
        assert!(matches!(http.find(&format!("{address}/other"), "").await, Err(Error::User(_))));
        assert!(matches!(http.find(&format!("{address}/file"), "00").await, Err(Error::User(_))));
        assert!(matches!(http.find("http://127.0.0.1:1/x", "").await, Err(Error::Platform(_))));
        assert!(matches!(http.find("https://127.0.0.1:1/x", "").await, Err(Error::Platform(_))));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing half is kept");
    }
}
