//! S3 and what speaks its protocol. Region, endpoint and credentials come from the environment of the process (`AWS_…`). It
//! has no directories: they are what the names of objects have in common, and making one does nothing.
//!
//! An object is there whole or not at all; a directory appears object by object.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{
    ClientOptions, ListResult, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload, PutPayloadMut,
    RetryConfig,
};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use crate::hdfs::chunk;
use crate::limits::{CHUNK_BYTES, ENTRIES_MAX, within};
use crate::{Entry, Error, Kind, Limits, Uri};

/// Size of the parts of a large object.
const PART_BYTES: usize = 8 * CHUNK_BYTES;

/// Parts on the way at once.
const PARTS_MAX: usize = 4;

/// How often a request is repeated.
const RETRIES_MAX: usize = 2;

/// One client for each bucket.
#[derive(Debug, Default)]
pub struct Clients(Mutex<HashMap<String, Arc<AmazonS3>>>);

impl Clients {
    /// The client for a URI.
    pub fn of(&self, uri: &Uri, limits: &Limits) -> Result<S3, Error> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match clients.get(uri.authority()) {
            Some(client) => client.clone(),
            None => {
                let client = Arc::new(open(AmazonS3Builder::from_env(), uri, limits)?);
                clients.insert(uri.authority().to_owned(), client.clone());
                client
            }
        };
        Ok(S3 { client, limits: *limits })
    }
}

fn open(builder: AmazonS3Builder, uri: &Uri, limits: &Limits) -> Result<AmazonS3, Error> {
    // reqwest::Client has no provider of its own here and would panic. An error says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A plain connection only where the endpoint says so itself.
    let plain = std::env::var("AWS_ENDPOINT_URL").or_else(|_| std::env::var("AWS_ENDPOINT"));
    let plain = plain.is_ok_and(|endpoint| endpoint.starts_with("http://"));
    let options = ClientOptions::new()
        .with_allow_http(plain)
        .with_connect_timeout(limits.call)
        .with_timeout_disabled()
        .with_read_timeout(limits.idle);
    let retry =
        RetryConfig { max_retries: RETRIES_MAX, retry_timeout: limits.call, ..RetryConfig::default() };
    builder
        .with_bucket_name(uri.authority())
        .with_client_options(options)
        .with_retry(retry)
        .build()
        .map_err(|error| Error::refused(uri, format!("{error}; check the variables AWS_… of this process")))
}

/// A bucket.
pub struct S3 {
    client: Arc<AmazonS3>,
    limits: Limits,
}

impl S3 {
    pub async fn stat(&self, uri: &Uri) -> Result<Entry, Error> {
        let name = uri.name().unwrap_or_default().to_owned();
        if uri.name().is_some() {
            match self.client.head(&key(uri)?).await {
                Ok(object) => return Ok(Entry { name, kind: Kind::File, bytes: object.size }),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(said(uri, &error)),
            }
        }
        match self.client.list(Some(&key(uri)?)).next().await {
            Some(Ok(_)) => Ok(Entry { name, kind: Kind::Directory, bytes: 0 }),
            Some(Err(error)) => Err(said(uri, &error)),
            None => Err(Error::not_found(uri)),
        }
    }

    pub async fn list(&self, uri: &Uri) -> Result<Vec<Entry>, Error> {
        let own = key(uri)?;
        let listing =
            async { self.client.list_with_delimiter(Some(&own)).await.map_err(|error| said(uri, &error)) };
        let found = within(self.limits.idle, uri, listing).await?;
        if found.objects.len() + found.common_prefixes.len() > ENTRIES_MAX {
            return Err(Error::refused(uri, format!("it has more than {ENTRIES_MAX} entries")));
        }
        Ok(entries(&found, &own))
    }

    pub async fn remove(&self, uri: &Uri) -> Result<(), Error> {
        let own = key(uri)?;
        match self.client.delete(&own).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(said(uri, &error)),
        }
        let below = self.client.list(Some(&own)).map_ok(|object| object.location).boxed();
        let mut removed = self.client.delete_stream(below);
        let mut next = async || removed.next().await.transpose().map_err(|error| said(uri, &error));
        while within(self.limits.idle, uri, next()).await?.is_some() {}
        Ok(())
    }

    pub async fn read(&self, uri: &Uri, to: &Path, bytes_max: u64) -> Result<u64, Error> {
        let key = key(uri)?;
        let open = async { self.client.get(&key).await.map_err(|error| said(uri, &error)) };
        let object = within(self.limits.call, uri, open).await?;
        if object.meta.size > bytes_max {
            return Err(Error::TooLarge { uri: uri.to_string(), bytes_max });
        }
        let mut file = File::create(to).await.map_err(Error::local(to))?;
        let mut chunks = object.into_stream();
        let mut next = async || chunks.next().await.transpose().map_err(|error| said(uri, &error));
        let mut bytes = 0;
        while let Some(chunk) = within(self.limits.idle, uri, next()).await? {
            bytes += chunk.len() as u64;
            file.write_all(&chunk).await.map_err(Error::local(to))?;
        }
        file.flush().await.map_err(Error::local(to))?;
        Ok(bytes)
    }

    pub async fn write(&self, from: &Path, uri: &Uri) -> Result<(), Error> {
        let key = key(uri)?;
        let mut file = File::open(from).await.map_err(Error::local(from))?;
        let length = file.metadata().await.map_err(Error::local(from))?.len();
        if length <= CHUNK_BYTES as u64 {
            let content = chunk(&mut file).await.map_err(Error::local(from))?;
            let put = async {
                let put = self.client.put(&key, PutPayload::from_bytes(content)).await;
                put.map(|_| ()).map_err(|error| said(uri, &error))
            };
            return within(self.limits.idle, uri, put).await;
        }
        let begin = async { self.client.put_multipart(&key).await.map_err(|error| said(uri, &error)) };
        let mut upload = within(self.limits.call, uri, begin).await?;
        let sent = send(upload.as_mut(), &mut file, from, uri, &self.limits).await;
        if sent.is_err() {
            // Parts without an end cost money until somebody clears them away.
            let _ = tokio::time::timeout(self.limits.call, upload.abort()).await;
        }
        sent
    }
}

/// Sends a file in parts, some of them at once, and ends the upload.
async fn send(
    upload: &mut dyn MultipartUpload,
    file: &mut File,
    from: &Path,
    uri: &Uri,
    limits: &Limits,
) -> Result<(), Error> {
    let mut under_way = FuturesUnordered::new();
    let mut is_read = false;
    while !is_read || !under_way.is_empty() {
        if !is_read && under_way.len() < PARTS_MAX {
            let part = part(file).await.map_err(Error::local(from))?;
            match part.content_length() {
                0 => is_read = true,
                _ => under_way.push(upload.put_part(part)),
            }
            continue;
        }
        // They share the way, so each may take as long as all of them one after the other.
        let limit = limits.idle * u32::try_from(under_way.len()).unwrap_or(u32::MAX);
        let next = async { under_way.next().await.transpose().map_err(|error| said(uri, &error)) };
        within(limit, uri, next).await?;
    }
    let complete = async { upload.complete().await.map(drop).map_err(|error| said(uri, &error)) };
    within(limits.idle, uri, complete).await
}

/// The next part of a file; empty at its end.
async fn part(file: &mut File) -> std::io::Result<PutPayload> {
    let mut part = PutPayloadMut::new();
    while part.content_length() < PART_BYTES {
        let piece = chunk(file).await?;
        if piece.is_empty() {
            break;
        }
        part.push(piece);
    }
    Ok(part.freeze())
}

/// What was found in a directory. What has the directory's own name is a mark that others set where one is to be seen.
fn entries(found: &ListResult, own: &Key) -> Vec<Entry> {
    let name = |key: &Key| key.filename().unwrap_or_default().to_owned();
    let directories = found.common_prefixes.iter();
    let directories = directories.map(|key| Entry { name: name(key), kind: Kind::Directory, bytes: 0 });
    let files = found.objects.iter().filter(|object| object.location != *own);
    let files =
        files.map(|object| Entry { name: name(&object.location), kind: Kind::File, bytes: object.size });
    directories.chain(files).collect()
}

fn key(uri: &Uri) -> Result<Key, Error> {
    Key::parse(uri.names().join("/")).map_err(|error| Error::refused(uri, error))
}

fn said(uri: &Uri, error: &object_store::Error) -> Error {
    use object_store::Error as Said;
    match error {
        Said::NotFound { .. } => Error::not_found(uri),
        Said::PermissionDenied { .. } | Said::Unauthenticated { .. } => Error::refused(
            uri,
            format!("{error}; check the credentials in the variables AWS_… of this process"),
        ),
        Said::InvalidPath { .. }
        | Said::NotSupported { .. }
        | Said::NotImplemented { .. }
        | Said::AlreadyExists { .. }
        | Said::Precondition { .. }
        | Said::UnknownConfigurationKey { .. } => Error::refused(uri, error),
        error => {
            let said = error.to_string();
            if said.contains("<Code>NoSuchBucket</Code>") {
                return Error::refused(uri, "there is no such bucket; check its name and region");
            }
            // What follows the first line is the service's answer in XML.
            Error::away(uri, said.lines().next().unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn keys_are_names_as_they_stand() {
        let uri = Uri::parse("s3://bucket/a b/%2e%2e/x?y#z").unwrap();
        assert_eq!(key(&uri).unwrap().as_ref(), "a b/%2e%2e/x?y#z");
        assert_eq!(key(&Uri::parse("s3://bucket").unwrap()).unwrap().as_ref(), "");
    }

    #[test]
    fn a_missing_bucket_stays_missing() {
        let uri = Uri::parse("s3://bucket/x").unwrap();
        let generic =
            |said: &str| object_store::Error::Generic { store: "S3", source: said.to_owned().into() };
        let missing = said(&uri, &generic("404\n<Error><Code>NoSuchBucket</Code></Error>"));
        assert!(matches!(missing, Error::Refused { .. }), "{missing}");
        let away = said(&uri, &generic("timed out\n<x>"));
        assert!(away.is_retryable() && !away.to_string().contains('\n'), "{away}");
    }

    #[tokio::test]
    async fn large_files_go_in_parts() {
        let (dir, store) = (tempfile::tempdir().unwrap(), InMemory::new());
        let (from, uri) = (dir.path().join("from"), Uri::parse("s3://bucket/x").unwrap());
        let content: Vec<u8> = (0..5 * PART_BYTES as u64 / 16 + 1)
            .flat_map(|number| [number, !number])
            .flat_map(u64::to_le_bytes)
            .collect();
        std::fs::write(&from, &content).unwrap();
        let mut file = File::open(&from).await.unwrap();
        let mut upload = store.put_multipart(&key(&uri).unwrap()).await.unwrap();
        send(upload.as_mut(), &mut file, &from, &uri, &Limits::default()).await.unwrap();
        let there = store.get(&key(&uri).unwrap()).await.unwrap().bytes().await.unwrap();
        assert!(there == content, "{} of {} bytes", there.len(), content.len());
    }

    #[tokio::test]
    async fn a_mark_of_a_directory_is_no_file_in_it() {
        let store = InMemory::new();
        for name in ["dir", "dir/x"] {
            store.put(&Key::from(name), PutPayload::from_static(b"")).await.unwrap();
        }
        // A real service lists a mark `dir/` within the directory, and its last slash is lost on the way.
        let found = store.list_with_delimiter(None).await.unwrap();
        assert_eq!(entries(&found, &Key::from("dir")).len(), 1);
        assert_eq!(entries(&found, &Key::default()).len(), 2);
    }

    #[test]
    fn clients_are_made_of_what_the_environment_says() {
        let uri = Uri::parse("s3://bucket/x").unwrap();
        let client =
            open(AmazonS3Builder::new().with_region("eu-central-1"), &uri, &Limits::default()).unwrap();
        assert!(client.to_string().contains("bucket"));
    }
}
