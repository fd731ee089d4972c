//! Where work that blocks goes: to a thread of its own, as the runtime's threads must not wait.

use tokio::task::JoinError;

/// Runs work that may block, off the runtime's threads.
///
/// # Errors
/// When the work panicked or the runtime ends.
#[doc(hidden)]
pub async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, JoinError> {
    // A simulation has one thread, and its disk never makes anybody wait.
    #[cfg(feature = "sim")]
    if crate::sim::is_active() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}
