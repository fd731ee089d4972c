//! From the end of a process tree to what is reported: state, failure class and message.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use meson_proto::v1::{Failure, FailureClass};

use super::spec::{Cause, Exit};

/// Longest tail of stderr in a failure's message.
const TAIL_BYTES_MAX: u64 = 4096;

/// What an exit means; `None` is success.
pub fn failure(exit: &Exit, stderr: &Path) -> Option<Failure> {
    let (class, reason, what) = match exit.cause {
        Cause::Exited => match (exit.code, exit.signal) {
            (Some(0), _) => return None,
            (Some(code), _) => (FailureClass::User, "exit_status", format!("exit status {code}")),
            (None, signal) => (FailureClass::User, "signal", format!("ended by {}", signal_name(signal))),
        },
        Cause::StartFailed => (FailureClass::User, "start_failed", exit.message.clone()),
        Cause::Killed => (FailureClass::Cancelled, "killed", "killed by order of the scheduler".to_owned()),
        Cause::TimedOut => (FailureClass::Timeout, "timeout", "took longer than its timeout".to_owned()),
        Cause::OutOfMemory => (FailureClass::User, "out_of_memory", exit.message.clone()),
        Cause::LeaseExpired => (
            FailureClass::Platform,
            "lease_expired",
            "the executor was cut off from the scheduler for longer than its lease".to_owned(),
        ),
    };
    Some(new(class, reason, &with_tail(what, stderr)))
}

/// A failure.
pub fn new(class: FailureClass, reason: &str, message: &str) -> Failure {
    Failure { class: class.into(), reason: reason.to_owned(), message: message.to_owned() }
}

fn signal_name(signal: Option<i32>) -> String {
    signal
        .and_then(|number| nix::sys::signal::Signal::try_from(number).ok())
        .map_or_else(|| "an unknown signal".to_owned(), |signal| signal.as_str().to_owned())
}

fn with_tail(what: String, stderr: &Path) -> String {
    match tail(stderr) {
        Some(tail) => format!("{what}: {tail}"),
        None => what,
    }
}

/// The end of a text file, whole characters, without the blanks around it; `None` when there is nothing.
fn tail(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES_MAX))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(cause: Cause, code: Option<i32>, signal: Option<i32>) -> Exit {
        Exit { cause, code, signal, message: "details".into(), started_at_ms: 1, ended_at_ms: 2 }
    }

    #[test]
    fn causes_have_their_classes() {
        let nowhere = Path::new("/nonexistent");
        let class =
            |cause, code, signal| failure(&exit(cause, code, signal), nowhere).map(|f| (f.class(), f.reason));
        assert_eq!(class(Cause::Exited, Some(0), None), None);
        assert_eq!(class(Cause::Exited, Some(3), None), Some((FailureClass::User, "exit_status".into())));
        assert_eq!(class(Cause::Exited, None, Some(9)), Some((FailureClass::User, "signal".into())));
        assert_eq!(class(Cause::Killed, None, Some(15)), Some((FailureClass::Cancelled, "killed".into())));
        assert_eq!(class(Cause::TimedOut, None, None), Some((FailureClass::Timeout, "timeout".into())));
        assert_eq!(
            class(Cause::LeaseExpired, None, None),
            Some((FailureClass::Platform, "lease_expired".into()))
        );
    }

    #[test]
    fn the_message_ends_with_the_tail_of_stderr() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stderr");
        std::fs::write(&path, format!("{}\nValueError: no such region\n", "x".repeat(10_000))).unwrap();
        let message = failure(&exit(Cause::Exited, Some(1), None), &path).unwrap().message;
        assert!(message.starts_with("exit status 1: x") && message.ends_with("no such region"));
        assert!(message.len() < 5_000);
    }
}
