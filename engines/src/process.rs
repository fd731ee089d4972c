//! Processes of real engines: waiting until one is up, which is in vain once it has ended, and ending
//! one.

use std::future::ready;
use std::process::Child;
use std::time::Duration;

use anyhow::anyhow;
use meson_chaos_tests::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Waits until a condition holds, for as long as the process lives that shall bring it about.
///
/// # Errors
/// When it has ended, or the condition does not hold in time.
pub async fn until_up(
    what: &str,
    process: &mut Child,
    mut is_up: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let look = || {
        let ended = process.try_wait().ok().flatten();
        let failure = ended.map(|status| Err(anyhow!("it has ended, with {status}, before: {what}")));
        ready(failure.or_else(|| is_up().then_some(Ok(()))))
    };
    until(what, look).await?
}

/// How often it is looked whether a process ends, and how long between.
const END_LOOKS: u32 = 200;
const END_LOOK_EVERY: Duration = Duration::from_millis(50);

/// Ends a process that has something to end itself: politely, then by force.
pub fn end(process: &mut Child) {
    // All of these fail only when it has ended already.
    if let Ok(pid) = i32::try_from(process.id()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    for _ in 0..END_LOOKS {
        if matches!(process.try_wait(), Ok(Some(_))) {
            return;
        }
        // tidy: allow sleep: dropping cannot wait on a condition otherwise
        std::thread::sleep(END_LOOK_EVERY);
    }
    let _ = process.kill();
    let _ = process.wait();
}
