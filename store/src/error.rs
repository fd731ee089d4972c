//! What can go wrong with a store. Each error names the URI and the remedy.

use std::path::Path;

use crate::Uri;

/// Why a store did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A text that is no URI, or that leads where none may lead.
    #[error(
        "`{uri}` is no URI of a store: {why}; write file:///path, hdfs://host:port/path or s3://bucket/path"
    )]
    BadUri {
        /// The text, without what may be a secret.
        uri: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing is there.
    #[error("{uri} is not there: check the path, and that the step that makes it has ended")]
    NotFound {
        /// What was asked for.
        uri: String,
    },
    /// The store will not do this, however often it is asked.
    #[error("{uri} was refused: {why}")]
    Refused {
        /// What was asked for.
        uri: String,
        /// The reason and the remedy.
        why: String,
    },
    /// More than may be copied.
    #[error("{uri} has more bytes than the limit of {bytes_max}: copy less, or raise the limit")]
    TooLarge {
        /// What was asked for.
        uri: String,
        /// The limit.
        bytes_max: u64,
    },
    /// The store does not answer, or not sensibly: it may later.
    #[error(
        "{uri} cannot be reached now: {why}; try again, and check the store and the network if it stays so"
    )]
    Away {
        /// What was asked for.
        uri: String,
        /// What happened.
        why: String,
    },
    /// A file of this machine.
    #[error("{path}: {why}")]
    Local {
        /// The file.
        path: String,
        /// What the system says.
        why: String,
        /// Whether it may go better later: a full disk, say, but not a file that is missing.
        retryable: bool,
    },
}

impl Error {
    /// Whether the same may succeed later or elsewhere.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Away { .. } => true,
            Error::Local { retryable, .. } => *retryable,
            Error::BadUri { .. }
            | Error::NotFound { .. }
            | Error::Refused { .. }
            | Error::TooLarge { .. } => false,
        }
    }

    pub(crate) fn not_found(uri: &Uri) -> Self {
        Error::NotFound { uri: uri.to_string() }
    }

    pub(crate) fn refused(uri: &Uri, why: impl ToString) -> Self {
        Error::Refused { uri: uri.to_string(), why: why.to_string() }
    }

    pub(crate) fn away(uri: &Uri, why: impl ToString) -> Self {
        Error::Away { uri: uri.to_string(), why: why.to_string() }
    }

    /// For errors of this machine's own files.
    pub(crate) fn local(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        use std::io::ErrorKind;
        let path = path.display().to_string();
        move |error| {
            let stays = matches!(
                error.kind(),
                ErrorKind::NotFound
                    | ErrorKind::PermissionDenied
                    | ErrorKind::IsADirectory
                    | ErrorKind::NotADirectory
                    | ErrorKind::AlreadyExists
                    | ErrorKind::DirectoryNotEmpty
            );
            Error::Local { path, why: error.to_string(), retryable: !stays }
        }
    }
}
