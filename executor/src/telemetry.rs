//! What this process says about itself: tracing to standard error.

use tracing_subscriber::EnvFilter;

/// Starts tracing at the level of `RUST_LOG`, or of the setting.
pub fn start(log_level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(log_level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
