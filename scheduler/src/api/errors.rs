//! From our errors to gRPC statuses with google.rpc details.

use std::time::Duration;

use meson_engine::outcome::{Refusal, RefusalKind};
use meson_raft::ReadError;
use meson_workflow::Problems;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::proposer::Error;

/// Domain of our error reasons.
const DOMAIN: &str = "meson";

/// After what time trying again makes sense.
const RETRY: Duration = Duration::from_millis(200);

/// An invalid field, with what is wrong and the remedy.
pub fn invalid(field: &str, message: impl Into<String>) -> Status {
    let message = message.into();
    let details = ErrorDetails::with_bad_request_violation(field, message.clone());
    Status::with_error_details(Code::InvalidArgument, format!("{field}: {message}"), details)
}

/// Problems of a definition or of parameters, one field violation each.
pub fn problems(prefix: &str, problems: &Problems) -> Status {
    let mut details = ErrorDetails::new();
    for problem in problems.iter() {
        details.add_bad_request_violation(format!("{prefix}{}", problem.path), problem.to_string());
    }
    Status::with_error_details(Code::InvalidArgument, problems.to_string(), details)
}

/// Nothing of this name.
pub fn not_found(what: &str, name: &str, hint: &str) -> Status {
    let details = ErrorDetails::with_resource_info(what, name, "", hint);
    let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
    Status::with_error_details(Code::NotFound, format!("there is no {what} `{name}`{hint}"), details)
}

/// Try again soon, here or at another replica.
pub fn unavailable(message: &str) -> Status {
    Status::with_error_details(Code::Unavailable, message, ErrorDetails::with_retry_info(Some(RETRY)))
}

/// The status for a read that could not be made linearizable.
pub fn read(error: &ReadError) -> Status {
    unavailable(&error.to_string())
}

/// The status for a command that did not get through or was refused.
pub fn propose(error: &Error) -> Status {
    let message = error.to_string();
    match error {
        Error::NotLeader(_) | Error::Stopped | Error::Unknown => unavailable(&message),
        Error::Busy => {
            let details = ErrorDetails::with_retry_info(Some(RETRY));
            Status::with_error_details(Code::ResourceExhausted, message, details)
        }
        Error::TooLarge { .. } => Status::invalid_argument(message),
        Error::Refused(refusal) => refused(refusal),
    }
}

fn refused(refusal: &Refusal) -> Status {
    let (code, reason) = match refusal.kind() {
        RefusalKind::StaleTerm => return unavailable("the leader changed meanwhile; try again"),
        RefusalKind::NotFound => (Code::NotFound, "NOT_FOUND"),
        RefusalKind::RequestIdReused => (Code::AlreadyExists, "REQUEST_ID_REUSED"),
        RefusalKind::WrongState => (Code::FailedPrecondition, "WRONG_STATE"),
        RefusalKind::LimitExceeded => (Code::ResourceExhausted, "LIMIT_EXCEEDED"),
        RefusalKind::StaleFence => (Code::FailedPrecondition, "STALE_FENCE"),
        RefusalKind::NoRoom => (Code::FailedPrecondition, "NO_ROOM"),
        RefusalKind::Stale => (Code::FailedPrecondition, "STALE"),
        RefusalKind::Unreadable | RefusalKind::Unspecified => (Code::Internal, "UNREADABLE"),
    };
    let details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    Status::with_error_details(code, refusal.message.clone(), details)
}
