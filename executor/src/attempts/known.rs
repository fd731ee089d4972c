//! What Hello and heartbeats say about the attempts.

use std::collections::HashSet;

use meson_proto::v1::{AttemptProgress, KnownAttempt};

use super::Executor;

impl Executor {
    /// All attempts that run, or ended and are not yet acknowledged.
    pub fn known(&self) -> Vec<KnownAttempt> {
        let mut known = self.table().running();
        let running: HashSet<String> = known.iter().map(|attempt| attempt.attempt_id.clone()).collect();
        let ended = self.outbox.ended().into_iter().filter(|(id, _)| !running.contains(id));
        known.extend(ended.map(|(attempt_id, fence)| KnownAttempt { attempt_id, fence, running: false }));
        known
    }

    /// Progress to send: what changed, or of all running attempts.
    pub fn progress(&self, all: bool) -> Vec<AttemptProgress> {
        self.table().progress(all)
    }
}
