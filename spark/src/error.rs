//! What can go wrong when Spark is asked.

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answered in time: it may be starting, gone, or slow.
    #[error("no answer from {url}: {why}")]
    Away {
        /// What was asked.
        url: String,
        /// The innermost cause.
        why: String,
    },
    /// An answer, but a refusal.
    #[error("{url} answered {status}: {message}")]
    Refused {
        /// What was asked.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of what it said.
        message: String,
    },
    /// A master that does not lead, and so does not know what runs.
    #[error("{url} is a standby master: name the one that leads")]
    Standby {
        /// What was asked.
        url: String,
    },
    /// An answer that is none of what Spark says.
    #[error("{url} gave no answer of Spark: {why}")]
    Unreadable {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// Whether the same question may be answered later.
    pub fn is_away(&self) -> bool {
        matches!(self, Error::Away { .. } | Error::Standby { .. } | Error::Refused { status: 502..=504, .. })
    }
}
