//! What can go wrong in the log store, and how clients are told.

use std::io;
use std::sync::Arc;

use tonic::Status;

use super::settings::{RECORD_BYTES_MAX, RECORDS_MAX};

/// What can go wrong in the log store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Not an attempt id.
    #[error("`{0}` is not an attempt id: 1 to 200 letters, digits, `.`, `_` or `-`")]
    AttemptName(String),
    /// A record with too much data.
    #[error("a record has {0} bytes, more than {RECORD_BYTES_MAX}")]
    RecordTooLarge(usize),
    /// A message with too many records.
    #[error("a message has {0} records, more than {RECORDS_MAX}")]
    TooManyRecords(usize),
    /// The disk refused.
    #[error("log disk: {0}")]
    Disk(Arc<io::Error>),
    /// The store does not answer in time.
    #[error("the log store did not answer in time")]
    Late,
    /// The store was closed.
    #[error("the log store is closed")]
    Closed,
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::Disk(Arc::new(error))
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::AttemptName(_) | Error::RecordTooLarge(_) | Error::TooManyRecords(_) => {
                Status::invalid_argument(text)
            }
            Error::Disk(_) | Error::Late | Error::Closed => Status::unavailable(text),
        }
    }
}
