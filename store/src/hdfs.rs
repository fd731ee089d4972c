//! HDFS by its own protocol, without Java. Name services, users and Kerberos are configured as for every Hadoop client: by
//! `HADOOP_CONF_DIR`, `HADOOP_USER_NAME` and the like in the environment of the process.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use hdfs_native::client::{FileStatus, WriteOptions};
use hdfs_native::file::FileWriter;
use hdfs_native::{Client, ClientBuilder, HdfsError};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

use crate::limits::{CHUNK_BYTES, ENTRIES_MAX, within};
use crate::{Entry, Error, Kind, Limits, Uri};

/// How often another name node of the service, or the same again, is tried before an error is given.
const FAILOVERS_MAX: u32 = 3;

/// Longest pause between those, in milliseconds.
const FAILOVER_PAUSE_MS_MAX: u32 = 2_000;

/// Who may do what with a new directory, as Hadoop's own commands have it by default.
const DIRECTORY_MODE: u32 = 0o755;

/// One client for each name node or name service.
#[derive(Debug, Default)]
pub struct Clients(Mutex<HashMap<String, Client>>);

impl Clients {
    /// The client for a URI; must be called on a runtime.
    pub fn of(&self, uri: &Uri, limits: &Limits) -> Result<Hdfs, Error> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(uri.authority()) {
            return Ok(Hdfs { client: client.clone(), limits: *limits });
        }
        let client = ClientBuilder::new()
            .with_url(format!("hdfs://{}", uri.authority()))
            .with_config([
                ("dfs.client.failover.max.attempts", FAILOVERS_MAX.to_string()),
                ("dfs.client.failover.sleep.max.millis", FAILOVER_PAUSE_MS_MAX.to_string()),
                ("dfs.client.socket-timeout", limits.idle.as_millis().to_string()),
            ])
            .build()
            .map_err(|error| unconfigured(uri, error))?;
        clients.insert(uri.authority().to_owned(), client.clone());
        Ok(Hdfs { client, limits: *limits })
    }

    /// Has the next call make a new connection: one that gave no answer may never give any.
    pub fn forget(&self, uri: &Uri) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uri.authority());
    }
}

fn unconfigured(uri: &Uri, error: HdfsError) -> Error {
    match error {
        HdfsError::InvalidArgument(_) | HdfsError::UrlParseError(_) => Error::refused(
            uri,
            "no name node of that name is known: give host:port, or let HADOOP_CONF_DIR name the folder of hdfs-site.xml",
        ),
        error => Error::refused(uri, format!("the configuration of Hadoop cannot be read: {error}")),
    }
}

/// A file system.
pub struct Hdfs {
    client: Client,
    limits: Limits,
}

impl Hdfs {
    pub async fn stat(&self, uri: &Uri) -> Result<Entry, Error> {
        let status = self.client.get_file_info(&uri.path()).await.map_err(said(uri))?;
        Ok(entry(uri.name().unwrap_or_default().to_owned(), &status))
    }

    pub async fn list(&self, uri: &Uri) -> Result<Vec<Entry>, Error> {
        let iterator = self.client.list_status_iter(&uri.path(), false);
        let mut entries = Vec::new();
        // Asked for in pages, each in its own time.
        let next = || async { iterator.next().await.transpose().map_err(said(uri)) };
        while let Some(status) = within(self.limits.call, uri, next()).await? {
            if entries.len() >= ENTRIES_MAX {
                return Err(Error::refused(uri, format!("it has more than {ENTRIES_MAX} entries")));
            }
            let name = status.path.rsplit('/').next().unwrap_or_default().to_owned();
            entries.push(entry(name, &status));
        }
        Ok(entries)
    }

    pub async fn make_dir(&self, uri: &Uri) -> Result<(), Error> {
        self.client.mkdirs(&uri.path(), DIRECTORY_MODE, true).await.map_err(said(uri))
    }

    pub async fn remove(&self, uri: &Uri) -> Result<(), Error> {
        match self.client.delete(&uri.path(), true).await.map_err(said(uri)) {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub async fn rename(&self, from: &Uri, to: &Uri) -> Result<(), Error> {
        self.client.rename(&from.path(), &to.path(), true).await.map_err(said(to))
    }

    pub async fn read(&self, uri: &Uri, to: &Path, bytes_max: u64) -> Result<u64, Error> {
        let open = async { self.client.read(&uri.path()).await.map_err(said(uri)) };
        let reader = within(self.limits.call, uri, open).await?;
        let length = reader.file_length();
        if length as u64 > bytes_max {
            return Err(Error::TooLarge { uri: uri.to_string(), bytes_max });
        }
        let mut file = File::create(to).await.map_err(Error::local(to))?;
        let mut chunks = std::pin::pin!(reader.read_range_stream(0, length));
        let mut next = async || chunks.next().await.transpose().map_err(said(uri));
        let mut bytes = 0;
        while let Some(chunk) = within(self.limits.idle, uri, next()).await? {
            bytes += chunk.len() as u64;
            file.write_all(&chunk).await.map_err(Error::local(to))?;
        }
        file.flush().await.map_err(Error::local(to))?;
        if bytes != length as u64 {
            return Err(Error::away(uri, format!("it gave {bytes} of {length} bytes")));
        }
        Ok(bytes)
    }

    /// Writes a new file, which nobody else may be writing.
    pub async fn write(&self, from: &Path, uri: &Uri) -> Result<(), Error> {
        // The client's futures are large; two of them would be too much for the stack of a thread.
        match Box::pin(self.write_in_parts(from, uri, None)).await {
            // Hadoop's own client asks for the same block again; this one cannot, so each block is waited for instead.
            Err(error) if is_behind(&error) => {
                let status = async { self.client.get_file_info(&uri.path()).await.map_err(said(uri)) };
                let status = within(self.limits.call, uri, status).await?;
                within(self.limits.call, uri, self.remove(uri)).await?;
                Box::pin(self.write_in_parts(from, uri, status.blocksize.filter(|bytes| *bytes > 0))).await
            }
            done => done,
        }
    }

    /// Writes a new file, and has the name node confirm each part of so many bytes before the next is begun.
    async fn write_in_parts(&self, from: &Path, uri: &Uri, part_bytes: Option<u64>) -> Result<(), Error> {
        let mut file = File::open(from).await.map_err(Error::local(from))?;
        let (path, options) = (uri.path(), WriteOptions::default());
        let create = async { self.client.create(&path, &options).await.map_err(said(uri)) };
        let mut writer = within(self.limits.call, uri, create).await?;
        let part_bytes = part_bytes.unwrap_or(u64::MAX);
        let mut room = part_bytes;
        loop {
            let mut chunk = chunk(&mut file).await.map_err(Error::local(from))?;
            if chunk.is_empty() {
                break;
            }
            while !chunk.is_empty() {
                if room == 0 {
                    let close = async { writer.close().await.map_err(said(uri)) };
                    within(self.limits.idle, uri, close).await?;
                    // First the old one: with it the client forgets that it holds the file's lease.
                    drop(writer);
                    writer = self.append(uri).await?;
                    room = part_bytes;
                }
                let piece = chunk.split_to(chunk.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
                room -= piece.len() as u64;
                let write = async { writer.write_bytes(piece).await.map_err(said(uri)) };
                within(self.limits.idle, uri, write).await?;
            }
        }
        let close = async { writer.close().await.map_err(said(uri)) };
        within(self.limits.idle, uri, close).await
    }

    async fn append(&self, uri: &Uri) -> Result<FileWriter, Error> {
        let (path, mut pause, mut tries) = (uri.path(), APPEND_PAUSE, 1);
        loop {
            let append = async { self.client.append(&path).await.map_err(said(uri)) };
            match within(self.limits.call, uri, append).await {
                Err(error) if is_behind(&error) && tries < APPEND_TRIES => sleep(pause).await,
                done => return done,
            }
            pause *= 2;
            tries += 1;
        }
    }
}

/// How often a file is opened again for its next part, and the first pause between two tries, each twice as long as the one
/// before: as Hadoop's own client asks for blocks (`dfs.client.block.write.locateFollowingBlock`).
const APPEND_TRIES: u32 = 5;
const APPEND_PAUSE: Duration = Duration::from_millis(400);

/// What the name node says, or wraps, when it has not yet heard enough of a file's blocks from the data nodes: of the last
/// but one, to who asks for a next; of the last, to who opens the file again.
const BEHIND: [&str; 2] = ["NotReplicatedYetException", "not sufficiently replicated yet"];

fn is_behind(error: &Error) -> bool {
    matches!(error, Error::Away { why, .. } if BEHIND.iter().any(|words| why.contains(words)))
}

/// The next piece of a file; empty at its end.
pub async fn chunk(file: &mut File) -> std::io::Result<Bytes> {
    let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
    while buffer.len() < CHUNK_BYTES {
        if file.read_buf(&mut buffer).await? == 0 {
            break;
        }
    }
    Ok(buffer.freeze())
}

fn entry(name: String, status: &FileStatus) -> Entry {
    let kind = if status.isdir { Kind::Directory } else { Kind::File };
    Entry { name, kind, bytes: status.length as u64 }
}

/// What an error of HDFS means for who asked.
fn said(uri: &Uri) -> impl FnOnce(HdfsError) -> Error {
    let uri = uri.clone();
    move |error| match error {
        HdfsError::FileNotFound(_) => Error::not_found(&uri),
        HdfsError::RPCError(class, message) | HdfsError::FatalRPCError(class, message) => {
            exception(&uri, &class, &message)
        }
        HdfsError::SASLError(_) | HdfsError::GSSAPIError(..) | HdfsError::NoSASLMechanism => {
            Error::refused(&uri, format!("{error}; check the Kerberos ticket or token of this process"))
        }
        HdfsError::AlreadyExists(_) => {
            Error::refused(&uri, "it exists already, or is being written; remove it first")
        }
        HdfsError::InvalidPath(_)
        | HdfsError::InvalidArgument(_)
        | HdfsError::UrlParseError(_)
        | HdfsError::IsADirectoryError(_)
        | HdfsError::TrashNotEnabled
        | HdfsError::UnsupportedErasureCodingPolicy(_)
        | HdfsError::ErasureCodingError(_)
        | HdfsError::UnsupportedFeature(_)
        | HdfsError::XmlParseError(_) => Error::refused(&uri, error),
        HdfsError::IOError(_)
        | HdfsError::DataTransferError(_)
        | HdfsError::ChecksumError
        | HdfsError::OperationFailed(_)
        | HdfsError::BlocksNotFound(_)
        | HdfsError::InternalError(_)
        | HdfsError::InvalidRPCResponse(_) => Error::away(&uri, error),
    }
}

/// Exceptions of the name node that stay, by the end of the class's name, and what to do about them. All others may pass:
/// safe mode, a name node on standby, no data node that takes a block.
const STAYING: [(&str, &str); 13] = [
    ("AccessControlException", "check the owner, and HADOOP_USER_NAME of this process"),
    ("AuthorizationException", "check who this process is to Hadoop"),
    ("DSQuotaExceededException", "free space below it, or raise the quota"),
    ("NSQuotaExceededException", "remove files below it, or raise the quota"),
    ("FSLimitException$MaxDirectoryItemsExceededException", "spread the files over several directories"),
    ("FSLimitException$PathComponentTooLongException", "choose a shorter name"),
    ("FileAlreadyExistsException", "remove it first"),
    ("InvalidPathException", "HDFS allows no such name"),
    ("InvalidToken", "get a new token"),
    ("ParentNotDirectoryException", "something above it is a file"),
    ("PathIsNotDirectoryException", "it is a file"),
    ("PathIsNotEmptyDirectoryException", "remove it first"),
    ("UnsupportedOperationException", "choose a directory whose policy of storage allows it"),
];

fn exception(uri: &Uri, class: &str, message: &str) -> Error {
    if class.ends_with("FileNotFoundException") {
        return Error::not_found(uri);
    }
    // What follows the first line is the stack of the name node.
    let message = message.lines().next().unwrap_or_default();
    match STAYING.iter().find(|(end, _)| class.ends_with(end)) {
        Some((_, remedy)) => Error::refused(uri, format!("{message}; {remedy}")),
        None => Error::away(uri, format!("{class}: {message}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_have_their_meaning() {
        let uri = Uri::parse("hdfs://nn:1/x").unwrap();
        let error = |class: &str| exception(&uri, class, "no\n\tat org.apache.hadoop");
        assert!(matches!(error("java.io.FileNotFoundException"), Error::NotFound { .. }));
        let denied = error("org.apache.hadoop.security.AccessControlException");
        assert!(matches!(&denied, Error::Refused { why, .. } if why.starts_with("no; check the owner")));
        assert!(!denied.is_retryable());
        let safe_mode = error("org.apache.hadoop.hdfs.server.namenode.SafeModeException");
        assert!(safe_mode.is_retryable() && !safe_mode.to_string().contains("\tat"));
        let behind = error("org.apache.hadoop.hdfs.server.namenode.NotReplicatedYetException");
        assert!(is_behind(&behind) && !is_behind(&safe_mode) && !is_behind(&denied));
    }

    #[tokio::test]
    async fn an_unknown_name_service_is_refused_with_the_remedy() {
        let uri = Uri::parse("hdfs://nowhere/x").unwrap();
        let error = Clients::default().of(&uri, &Limits::default()).err().unwrap();
        assert!(matches!(&error, Error::Refused { why, .. } if why.contains("HADOOP_CONF_DIR")), "{error}");
    }
}
