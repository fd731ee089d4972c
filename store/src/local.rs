//! `file:///…`: this machine's files, or a file system that all machines mount.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tokio::fs;

use crate::limits::ENTRIES_MAX;
use crate::{Entry, Error, Kind, Uri};

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

pub async fn read(uri: &Uri, to: &Path, bytes_max: u64) -> Result<u64, Error> {
    let from = path(uri)?;
    if fs::metadata(&from).await.map_err(said(uri))?.len() > bytes_max {
        return Err(Error::TooLarge { uri: uri.to_string(), bytes_max });
    }
    let mut source = fs::File::open(&from).await.map_err(said(uri))?;
    let mut copy = fs::File::create(to).await.map_err(Error::local(to))?;
    tokio::io::copy(&mut source, &mut copy).await.map_err(Error::local(to))
}

pub async fn write(from: &Path, uri: &Uri) -> Result<(), Error> {
    let to = path(uri)?;
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).await.map_err(said(uri))?;
    }
    let mut source = fs::File::open(from).await.map_err(Error::local(from))?;
    let mut copy = fs::File::create_new(&to).await.map_err(said(uri))?;
    tokio::io::copy(&mut source, &mut copy).await.map_err(said(uri))?;
    // A crash after the rename must not leave a name without its content.
    copy.sync_data().await.map_err(said(uri))
}
