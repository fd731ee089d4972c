//! The store: what can be asked for, for every kind of URI alike.

use std::path::Path;
use std::sync::Arc;

use crate::limits::within;
use crate::{Error, Limits, Scheme, Uri, hdfs, local, s3, tree};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A file or object.
    File,
    /// A directory, or what objects' names have in common.
    Directory,
}

/// What stands in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The last name of its path.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its size, of a file.
    pub bytes: u64,
}

/// All stores. Connections are made when first needed, and kept. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Store(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    limits: Limits,
    hdfs: hdfs::Clients,
    s3: s3::Clients,
}

impl Store {
    /// With bounds of its own.
    pub fn new(limits: Limits) -> Self {
        Store(Arc::new(Inner { limits, ..Inner::default() }))
    }

    /// Whether something is there.
    ///
    /// # Errors
    /// When the store does not say.
    pub async fn exists(&self, uri: &Uri) -> Result<bool, Error> {
        match self.stat(uri).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What is there.
    ///
    /// # Errors
    /// When nothing is, or the store does not say.
    pub async fn stat(&self, uri: &Uri) -> Result<Entry, Error> {
        let call = async {
            match uri.scheme() {
                Scheme::File => local::stat(uri).await,
                Scheme::Hdfs => self.hdfs(uri)?.stat(uri).await,
                Scheme::S3 | Scheme::S3a => self.s3(uri)?.stat(uri).await,
            }
        };
        self.answered(uri, within(self.0.limits.call, uri, call).await)
    }

    /// The entries of a directory, by name, without what is only half there.
    ///
    /// # Errors
    /// When there is no such directory, or the store does not say.
    pub async fn list(&self, uri: &Uri) -> Result<Vec<Entry>, Error> {
        let listed = match uri.scheme() {
            Scheme::File => within(self.0.limits.call, uri, local::list(uri)).await,
            Scheme::Hdfs => self.hdfs(uri)?.list(uri).await,
            Scheme::S3 | Scheme::S3a => self.s3(uri)?.list(uri).await,
        };
        let mut entries = self.answered(uri, listed)?;
        entries.retain(|entry| !tree::is_part(&entry.name));
        entries.sort();
        Ok(entries)
    }

    /// Makes a directory and those above it; one that is there already is as good.
    ///
    /// # Errors
    /// When the store refuses or is away.
    pub async fn make_dir(&self, uri: &Uri) -> Result<(), Error> {
        let call = async {
            match uri.scheme() {
                Scheme::File => local::make_dir(uri).await,
                Scheme::Hdfs => self.hdfs(uri)?.make_dir(uri).await,
                Scheme::S3 | Scheme::S3a => Ok(()),
            }
        };
        self.answered(uri, within(self.0.limits.call, uri, call).await)
    }

    /// Removes a file, or a directory with all that is in it; what is not there is removed already.
    ///
    /// # Errors
    /// When the store refuses or is away. It may have removed all or, of several objects, some of it then.
    pub async fn remove(&self, uri: &Uri) -> Result<(), Error> {
        if uri.name().is_none() {
            return Err(Error::refused(uri, "the root of a store is not removed; name what lies below it"));
        }
        let removed = match uri.scheme() {
            Scheme::File => within(self.0.limits.silent, uri, local::remove(uri)).await,
            Scheme::Hdfs => {
                within(self.0.limits.call, uri, async { self.hdfs(uri)?.remove(uri).await }).await
            }
            Scheme::S3 | Scheme::S3a => self.s3(uri)?.remove(uri).await,
        };
        self.answered(uri, removed)
    }

    /// Copies a file, or a directory with all that is in it, to this machine. Until it is complete it has another name.
    ///
    /// # Errors
    /// When it is not there, is larger than that, or the store is away.
    pub async fn get(&self, uri: &Uri, to: &Path, bytes_max: u64) -> Result<u64, Error> {
        tree::get(self, uri, to, bytes_max).await
    }

    /// Copies a file, or a directory with all that is in it, into the store. A file replaces an older one of that name; a
    /// directory does not. In the end it is there whole or not at all; but directories in S3 come object by object.
    ///
    /// # Errors
    /// When it is not there, the store refuses, or is away.
    pub async fn put(&self, from: &Path, uri: &Uri) -> Result<(), Error> {
        tree::put(self, from, uri).await
    }

    /// Copies one file from the store to a new file.
    pub(crate) async fn read(&self, uri: &Uri, to: &Path, bytes_max: u64) -> Result<u64, Error> {
        let read = match uri.scheme() {
            Scheme::File => local::read(uri, to, bytes_max, &self.0.limits).await,
            Scheme::Hdfs => self.hdfs(uri)?.read(uri, to, bytes_max).await,
            Scheme::S3 | Scheme::S3a => self.s3(uri)?.read(uri, to, bytes_max).await,
        };
        self.answered(uri, read)
    }

    /// Copies one file to the store, where it is new unless the store replaces it as a whole.
    pub(crate) async fn write(&self, from: &Path, uri: &Uri) -> Result<(), Error> {
        let written = match uri.scheme() {
            Scheme::File => local::write(from, uri, &self.0.limits).await,
            Scheme::Hdfs => self.hdfs(uri)?.write(from, uri).await,
            Scheme::S3 | Scheme::S3a => self.s3(uri)?.write(from, uri).await,
        };
        self.answered(uri, written)
    }

    /// Gives a file or directory another name, where the store can.
    pub(crate) async fn rename(&self, from: &Uri, to: &Uri) -> Result<(), Error> {
        let call = async {
            match to.scheme() {
                Scheme::File => local::rename(from, to).await,
                Scheme::Hdfs => self.hdfs(to)?.rename(from, to).await,
                Scheme::S3 | Scheme::S3a => Err(Error::refused(to, "objects have no other names")),
            }
        };
        self.answered(to, within(self.0.limits.call, to, call).await)
    }

    fn hdfs(&self, uri: &Uri) -> Result<hdfs::Hdfs, Error> {
        self.0.hdfs.of(uri, &self.0.limits)
    }

    fn s3(&self, uri: &Uri) -> Result<s3::S3, Error> {
        self.0.s3.of(uri, &self.0.limits)
    }

    fn answered<T>(&self, uri: &Uri, result: Result<T, Error>) -> Result<T, Error> {
        if matches!(result, Err(Error::Away { .. })) && uri.scheme() == Scheme::Hdfs {
            self.0.hdfs.forget(uri);
        }
        result
    }
}
