//! Processes of real engines: waiting until one is up, which is in vain once it has ended.

use std::future::ready;
use std::process::Child;

use anyhow::anyhow;
use meson_chaos_tests::until;

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
