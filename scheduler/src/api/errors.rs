//! From our errors to gRPC statuses with google.rpc details. All that travels in HTTP/2 trailers, of which many clients
//! take no more than 8 KiB: whoever gets more drops the connection. So texts are cut here, whatever they came from.

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

/// After what time trying again makes sense when a disk is full: somebody has to make room.
const DISK_RETRY: Duration = Duration::from_secs(5);

/// Longest texts, in bytes. The message travels twice, once with up to three bytes for each of its own, and all field
/// violations together once, with four for three.
const MESSAGE_BYTES_MAX: usize = 1_000;
const VIOLATIONS_BYTES_MAX: usize = 2_000;
const FIELD_BYTES_MAX: usize = 256;

/// The text, or its beginning.
fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(bytes_max)])
}

/// An invalid field, with what is wrong and the remedy.
pub fn invalid(field: &str, message: impl Into<String>) -> Status {
    let message = cut(&message.into(), MESSAGE_BYTES_MAX);
    let details = ErrorDetails::with_bad_request_violation(field, message.clone());
    Status::with_error_details(Code::InvalidArgument, format!("{field}: {message}"), details)
}

/// Problems of a definition or of parameters, one field violation each; where there are many, the first ones and how
/// many more there are.
pub fn problems(prefix: &str, problems: &Problems) -> Status {
    let mut details = ErrorDetails::new();
    let mut left = VIOLATIONS_BYTES_MAX;
    for (shown, problem) in problems.iter().enumerate() {
        let field = match problem.path.as_str() {
            "" => prefix.to_owned(),
            path => cut(&format!("{prefix}.{path}"), FIELD_BYTES_MAX),
        };
        let description = cut(&problem.to_string(), MESSAGE_BYTES_MAX);
        match left.checked_sub(field.len() + description.len()) {
            Some(rest) => left = rest,
            None => {
                let more = format!("there are {} more problems: mend these first", problems.len() - shown);
                details.add_bad_request_violation(prefix, more);
                break;
            }
        }
        details.add_bad_request_violation(field, description);
    }
    let message = cut(&problems.to_string(), MESSAGE_BYTES_MAX);
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// Nothing of this name.
pub fn not_found(what: &str, name: &str, hint: &str) -> Status {
    let (name, hint) = (cut(name, FIELD_BYTES_MAX), cut(hint, FIELD_BYTES_MAX));
    let details = ErrorDetails::with_resource_info(what, &name, "", &hint);
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
        Error::Format { .. } => {
            let details = ErrorDetails::with_error_info("FORMAT", DOMAIN, []);
            Status::with_error_details(Code::FailedPrecondition, message, details)
        }
        Error::DiskFull { .. } => {
            let details = ErrorDetails::with_retry_info(Some(DISK_RETRY));
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
    Status::with_error_details(code, cut(&refusal.message, MESSAGE_BYTES_MAX), details)
}
