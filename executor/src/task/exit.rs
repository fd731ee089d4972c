//! From the end of a process tree to what is reported: state, failure class and message.

use meson_proto::v1::{Failure, FailureClass};

use super::spec::{Cause, Exit};

/// Longest tail of stderr in a failure's message. The leader keeps the last 4 KiB of a message: what stands before the tail
/// must fit in there, too.
pub const TAIL_BYTES_MAX: usize = 3 << 10;

/// What an exit means; `None` is success.
pub fn failure(exit: &Exit, stderr_tail: &str) -> Option<Failure> {
    let (class, reason, what) = match exit.cause {
        Cause::Exited => match (exit.code, exit.signal) {
            (Some(0), _) => return None,
            (Some(JVM_OUT_OF_MEMORY), _) if says_out_of_memory(stderr_tail) => {
                (FailureClass::User, "out_of_memory", "its virtual machine had no memory left".to_owned())
            }
            (Some(code), _) => (FailureClass::User, "exit_status", format!("exit status {code}")),
            (None, signal) => (FailureClass::User, "signal", format!("ended by {}", signal_name(signal))),
        },
        Cause::StartFailed => (FailureClass::User, "start_failed", exit.message.clone()),
        Cause::StartRefused => (FailureClass::Platform, "start_refused", exit.message.clone()),
        Cause::Killed => (FailureClass::Cancelled, "killed", "killed by order of the scheduler".to_owned()),
        Cause::TimedOut => (FailureClass::Timeout, "timeout", "took longer than its timeout".to_owned()),
        Cause::OutOfMemory => (FailureClass::User, "out_of_memory", exit.message.clone()),
        Cause::ExecutorGone => {
            (FailureClass::Platform, "executor_gone", "the executor that ran it was gone".to_owned())
        }
        Cause::LeaseExpired => (
            FailureClass::Platform,
            "lease_expired",
            "the executor was cut off from the scheduler for longer than its lease".to_owned(),
        ),
    };
    Some(new(class, reason, &with_tail(what, stderr_tail)))
}

/// The exit status of a virtual machine of Java that was told to end when it has no memory left.
const JVM_OUT_OF_MEMORY: i32 = 3;

/// Whether the last words are those of such a virtual machine.
fn says_out_of_memory(stderr_tail: &str) -> bool {
    stderr_tail
        .lines()
        .last()
        .is_some_and(|line| line.starts_with("Terminating due to java.lang.OutOfMemoryError"))
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

fn with_tail(what: String, stderr_tail: &str) -> String {
    if stderr_tail.is_empty() { what } else { format!("{what}: {stderr_tail}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(cause: Cause, code: Option<i32>, signal: Option<i32>) -> Exit {
        Exit { cause, code, signal, message: "details".into(), ..Exit::default() }
    }

    #[test]
    fn a_virtual_machine_without_memory_says_so_with_its_last_words() {
        let reason = |code, tail: &str| failure(&exit(Cause::Exited, Some(code), None), tail).unwrap().reason;
        let words = "x\nTerminating due to java.lang.OutOfMemoryError: Java heap space\n";
        assert_eq!(reason(3, words), "out_of_memory");
        assert_eq!(reason(1, words), "exit_status");
        assert_eq!(reason(3, "Terminating due to java.lang.OutOfMemoryError\nor not"), "exit_status");
    }

    #[test]
    fn causes_have_their_classes() {
        let class =
            |cause, code, signal| failure(&exit(cause, code, signal), "").map(|f| (f.class(), f.reason));
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
        let message = failure(&exit(Cause::Exited, Some(1), None), "no such region").unwrap().message;
        assert_eq!(message, "exit status 1: no such region");
    }
}
