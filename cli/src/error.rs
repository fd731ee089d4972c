//! What can go wrong, how it is shown, and the exit code it gives.

use std::fmt;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a command did not do what it should.
#[derive(Debug)]
pub enum Error {
    /// The words of the command, or a file it names, are wrong.
    Usage(String),
    /// Files have mistakes: a line each, which begins with its place as editors understand it.
    Mistakes(String),
    /// The cluster refused.
    Refused(Box<Status>),
    /// No replica answered in time.
    Unreachable(String),
}

impl Error {
    /// Wrong words or files.
    pub fn usage(message: impl Into<String>) -> Error {
        Error::Usage(message.into())
    }

    /// 2 for usage and refusals, 3 when nobody answers.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) | Error::Mistakes(_) | Error::Refused(_) => 2,
            Error::Unreachable(_) => 3,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Error {
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded => Error::Unreachable(status.message().to_owned()),
            _ => Error::Refused(Box::new(status)),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(message) | Error::Mistakes(message) => write!(f, "{message}"),
            Error::Unreachable(message) => {
                write!(f, "the cluster cannot be reached: {message}\n  is it running? see --endpoints")
            }
            Error::Refused(status) => refused(f, status),
        }
    }
}

/// The status with its google.rpc details: a line for each field that is wrong.
fn refused(f: &mut fmt::Formatter<'_>, status: &Status) -> fmt::Result {
    let details = status.get_error_details();
    match details.bad_request() {
        Some(bad) if !bad.field_violations.is_empty() => {
            write!(f, "refused:")?;
            for violation in &bad.field_violations {
                write!(f, "\n  {}: {}", violation.field, violation.description)?;
            }
        }
        _ if status.code() == Code::Unimplemented => {
            write!(f, "the replica does not know this call: its program is older than this one")?;
        }
        _ => write!(f, "{}", status.message())?,
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        write!(f, "\n  try again in {} ms", delay.as_millis())?;
    }
    Ok(())
}
