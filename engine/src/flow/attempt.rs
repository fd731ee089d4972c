//! Attempts that end without success: again, or for good.

use meson_workflow::definition::{Retry, RetryPolicy};

use super::Flow;
use crate::ids::NodeNo;
use crate::record::{Failure, Node};
use crate::status::{FailureClass, KillCause, NodeStatus};

/// The policy for a class, and how often attempts failed by it so far; none for classes that are never retried.
fn policy(retry: &Retry, class: FailureClass, node: &Node) -> Option<(RetryPolicy, u32)> {
    match class {
        FailureClass::User => Some((retry.user, node.failures_user)),
        FailureClass::Platform => Some((retry.platform, node.failures_platform)),
        FailureClass::Timeout => Some((retry.timeout, node.failures_timeout)),
        FailureClass::Cancelled | FailureClass::Rejected | FailureClass::Unspecified => None,
    }
}

/// Pause before retry number `retry` (from 1): `min(delay · factor^(retry−1), max_delay)`.
pub(crate) fn pause_ms(policy: &RetryPolicy, retry: u32) -> u64 {
    let exponent = i32::try_from(retry.saturating_sub(1)).unwrap_or(i32::MAX);
    let pause = policy.delay.0 as f64 * policy.factor.powi(exponent);
    // A float beyond the range, infinity included, is brought to the longest pause.
    if pause >= policy.max_delay.0 as f64 { policy.max_delay.0 } else { pause as u64 }
}

/// The reason that executors give when they killed an attempt for using more memory than it had.
pub const OUT_OF_MEMORY: &str = "out_of_memory";

/// The format from which on an end that nobody asked for is the platform's.
const UNASKED: u32 = 3;
/// The format from which on an attempt that was killed for its timeout has that for its reason.
const TIMED_OUT: u32 = 4;

impl Flow<'_> {
    /// The living attempt of a step ended without success.
    pub fn attempt_failed(&mut self, no: NodeNo, mut failure: Failure) {
        let kill = self.node(no).attempt.as_ref().map_or(KillCause::No, |attempt| attempt.kill());
        match kill {
            KillCause::Stopped => return self.end(no, NodeStatus::Cancelled, Some(failure)),
            KillCause::Timeout => {
                // Its executor says only that it was told to end it.
                if failure.class() == FailureClass::Cancelled && self.format >= TIMED_OUT {
                    failure.reason = "timeout".to_owned();
                }
                failure.class = FailureClass::Timeout as i32;
            }
            // Nobody here asked for its end, so whoever did is the platform: an agent that shuts its executor down, say.
            KillCause::No if failure.class() == FailureClass::Cancelled && self.format >= UNASKED => {
                failure.class = FailureClass::Platform as i32;
            }
            KillCause::No => {}
        }
        let class = failure.class();
        let stopped = self.stop_over(self.node(no).scope()).is_some();
        if class == FailureClass::User && failure.reason == OUT_OF_MEMORY && !stopped {
            let pause_ms = self.grow(no, &mut failure);
            if let Some(pause_ms) = pause_ms {
                return self.back_off(no, failure, pause_ms);
            }
        }
        let node = self.node_mut(no);
        match class {
            FailureClass::User => node.failures_user += 1,
            FailureClass::Platform => node.failures_platform += 1,
            FailureClass::Timeout => node.failures_timeout += 1,
            FailureClass::Cancelled | FailureClass::Rejected | FailureClass::Unspecified => {}
        }
        let planned = self.planned(no);
        let retry = planned.step().and_then(|step| policy(&step.retry, class, self.node(no)));
        match retry {
            Some((policy, failures)) if failures <= policy.retries && !stopped => {
                self.back_off(no, failure, pause_ms(&policy, failures));
            }
            _ => self.fail(no, failure),
        }
    }

    /// Gives the next attempt more memory, if the step allows it and the most was not tried yet. Returns the pause before
    /// that attempt; none makes it a failure like others of the step's own, which says what was tried.
    fn grow(&mut self, no: NodeNo, failure: &mut Failure) -> Option<u64> {
        let planned = self.planned(no);
        let step = planned.step()?;
        let growth = step.retry.memory.as_ref()?;
        let (mem, kills) = (step.resources.mem, self.node(no).memory_kills);
        let (had, next) = (growth.size_after(mem, kills), growth.sizes(mem).nth(kills as usize + 1));
        let said = match next {
            Some(next) => format!("too little memory with {had}; the next attempt gets {next}"),
            None if kills == 0 => format!("too little memory with {had}, the most that it may have"),
            None => format!(
                "too little memory with {had}, the most that it may have; {} sizes were tried, from {mem} on",
                kills + 1
            ),
        };
        failure.message = format!("{}\n{said}", failure.message);
        next?;
        self.node_mut(no).memory_kills += 1;
        Some(growth.delay.0)
    }

    fn back_off(&mut self, no: NodeNo, failure: Failure, pause_ms: u64) {
        self.leave(no);
        self.node_mut(no).failure = Some(Box::new(failure));
        if pause_ms == 0 {
            return self.make_ready(no);
        }
        self.set_status(no, NodeStatus::BackingOff);
        self.set_timer(no, self.now_ms.saturating_add(pause_ms));
    }
}

#[cfg(test)]
mod tests {
    use meson_workflow::units::Millis;

    use super::*;

    #[test]
    fn pauses_grow_up_to_their_bound() {
        let policy = RetryPolicy { retries: 9, delay: Millis(100), factor: 2.0, max_delay: Millis(1_000) };
        let pauses: Vec<u64> = (1..=6).map(|retry| pause_ms(&policy, retry)).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(pause_ms(&policy, u32::MAX), 1_000);
    }
}
