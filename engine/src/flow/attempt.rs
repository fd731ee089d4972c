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

/// The format from which on an end that nobody asked for is the platform's.
const UNASKED: u32 = 3;

impl Flow<'_> {
    /// The living attempt of a step ended without success.
    pub fn attempt_failed(&mut self, no: NodeNo, mut failure: Failure) {
        let kill = self.node(no).attempt.as_ref().map_or(KillCause::No, |attempt| attempt.kill());
        match kill {
            KillCause::Stopped => return self.end(no, NodeStatus::Cancelled, Some(failure)),
            KillCause::Timeout => failure.class = FailureClass::Timeout as i32,
            // Nobody here asked for its end, so whoever did is the platform: an agent that shuts its executor down, say.
            KillCause::No if failure.class() == FailureClass::Cancelled && self.format >= UNASKED => {
                failure.class = FailureClass::Platform as i32;
            }
            KillCause::No => {}
        }
        let class = failure.class();
        let node = self.node_mut(no);
        match class {
            FailureClass::User => node.failures_user += 1,
            FailureClass::Platform => node.failures_platform += 1,
            FailureClass::Timeout => node.failures_timeout += 1,
            FailureClass::Cancelled | FailureClass::Rejected | FailureClass::Unspecified => {}
        }
        let planned = self.planned(no);
        let retry = planned.step().and_then(|step| policy(&step.retry, class, self.node(no)));
        let stopped = self.stop_over(self.node(no).scope()).is_some();
        match retry {
            Some((policy, failures)) if failures <= policy.retries && !stopped => {
                self.back_off(no, failure, pause_ms(&policy, failures));
            }
            _ => self.fail(no, failure),
        }
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
