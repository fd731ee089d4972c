//! `file:///…`: this machine's files, or a file system that all machines mount.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tokio::fs;
use tokio::io::AsyncWriteExt as _;

use crate::hdfs::chunk;
use crate::limits::{ENTRIES_MAX, within};
use crate::{Entry, Error, Kind, Limits, Uri};

fn path(uri: &Uri) -> Result<PathBuf, Error> {
    uri.local().ok_or_else(|| Error::refused(uri, "it is no file of this machine"))
}

/// Errors of a path that a URI names.
fn said(uri: &Uri) -> impl FnOnce(std::io::Error) -> Error {
    let uri = uri.clone();
    move |error| match error.kind() {
        ErrorKind::NotFound => Error::not_found(&uri),
        ErrorKind::PermissionDenied => Error::refused(&uri, format!("{error}; check its owner and mode")),
        ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty | ErrorKind::IsADirectory => {
            Error::refused(&uri, format!("{error}; remove it first"))
        }
        ErrorKind::NotADirectory => Error::refused(&uri, "something above it is a file"),
        _ => Error::away(&uri, error),
    }
}

fn entry(name: String, data: &std::fs::Metadata) -> Entry {
    let kind = if data.is_dir() { Kind::Directory } else { Kind::File };
    Entry { name, kind, bytes: if data.is_dir() { 0 } else { data.len() } }
}

pub async fn stat(uri: &Uri) -> Result<Entry, Error> {
    let data = fs::metadata(path(uri)?).await.map_err(said(uri))?;
    Ok(entry(uri.name().unwrap_or_default().to_owned(), &data))
}

pub async fn list(uri: &Uri) -> Result<Vec<Entry>, Error> {
    let mut reading = fs::read_dir(path(uri)?).await.map_err(said(uri))?;
    let mut entries = Vec::new();
    while let Some(found) = reading.next_entry().await.map_err(said(uri))? {
        if entries.len() >= ENTRIES_MAX {
            return Err(Error::refused(uri, format!("it has more than {ENTRIES_MAX} entries")));
        }
        // One that is gone meanwhile is not there; one without a name in Unicode has no URI.
        let (Ok(data), Ok(name)) = (found.metadata().await, found.file_name().into_string()) else {
            continue;
        };
        entries.push(entry(name, &data));
    }
    Ok(entries)
}

pub async fn make_dir(uri: &Uri) -> Result<(), Error> {
    fs::create_dir_all(path(uri)?).await.map_err(said(uri))
}

pub async fn remove(uri: &Uri) -> Result<(), Error> {
    let path = path(uri)?;
    let removed = match fs::symlink_metadata(&path).await {
        Ok(data) if data.is_dir() => fs::remove_dir_all(&path).await,
        Ok(_) => fs::remove_file(&path).await,
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(said(uri)),
    }
}

pub async fn rename(from: &Uri, to: &Uri) -> Result<(), Error> {
    fs::rename(path(from)?, path(to)?).await.map_err(said(to))
}

pub async fn read(uri: &Uri, to: &Path, bytes_max: u64, limits: &Limits) -> Result<u64, Error> {
    let from = path(uri)?;
    let too_large = || Error::TooLarge { uri: uri.to_string(), bytes_max };
    let open = async {
        let source = fs::File::open(&from).await.map_err(said(uri))?;
        let length = source.metadata().await.map_err(said(uri))?.len();
        Ok((source, length))
    };
    let (mut source, length) = within(limits.call, uri, open).await?;
    if length > bytes_max {
        return Err(too_large());
    }
    let mut copy = fs::File::create(to).await.map_err(Error::local(to))?;
    let mut bytes = 0;
    loop {
        let next = async { chunk(&mut source).await.map_err(said(uri)) };
        let piece = within(limits.idle, uri, next).await?;
        bytes += piece.len() as u64;
        // It may grow while it is read.
        if bytes > bytes_max {
            return Err(too_large());
        }
        if piece.is_empty() {
            copy.flush().await.map_err(Error::local(to))?;
            return Ok(bytes);
        }
        copy.write_all(&piece).await.map_err(Error::local(to))?;
    }
}

pub async fn write(from: &Path, uri: &Uri, limits: &Limits) -> Result<(), Error> {
    let to = path(uri)?;
    let mut source = fs::File::open(from).await.map_err(Error::local(from))?;
    let create = async {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).await.map_err(said(uri))?;
        }
        fs::File::create_new(&to).await.map_err(said(uri))
    };
    let mut copy = within(limits.call, uri, create).await?;
    loop {
        let piece = chunk(&mut source).await.map_err(Error::local(from))?;
        if piece.is_empty() {
            break;
        }
        let write = async { copy.write_all(&piece).await.map_err(said(uri)) };
        within(limits.idle, uri, write).await?;
    }
    // A crash after the rename must not leave a name without its content.
    let sync = async {
        copy.flush().await.map_err(said(uri))?;
        copy.sync_data().await.map_err(said(uri))
    };
    within(limits.silent, uri, sync).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_hangs_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let uri = Uri::parse(&format!("file://{}", pipe.display())).unwrap();
        let short = std::time::Duration::from_millis(100);
        let limits = Limits { call: short, idle: short, silent: short };
        let hung = read(&uri, &dir.path().join("to"), 9, &limits).await;
        assert!(matches!(hung, Err(Error::Away { .. })), "{hung:?}");
        // So that the thread that waits for somebody who writes ends too.
        drop(std::fs::File::options().write(true).open(&pipe));
        // One that writes and then says nothing more.
        let mut writer = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
        std::io::Write::write_all(&mut writer, b"some").unwrap();
        let hung = read(&uri, &dir.path().join("to"), 9, &limits).await;
        assert!(matches!(hung, Err(Error::Away { .. })), "{hung:?}");
        std::io::Write::write_all(&mut writer, b"grows beyond").unwrap();
        drop(writer);
    }

    #[tokio::test]
    async fn what_grows_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        // Its length is said to be none.
        let uri = Uri::parse("file:///proc/self/status").unwrap();
        let grown = read(&uri, &dir.path().join("to"), 9, &Limits::default()).await;
        assert!(matches!(grown, Err(Error::TooLarge { bytes_max: 9, .. })), "{grown:?}");
    }
}
