//! Attempts without a child process: they wait, and say how they ended.

use std::sync::Arc;

use meson_proto::v1::{AttemptState, Failure, FailureClass, Launch, Report};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{Executor, Order, failed};
use crate::clock;
use crate::events::OUTPUT_BYTES_MAX;
use crate::runners::Ending;
use crate::task::exit;

/// Runs one that takes time.
pub async fn run(executor: Arc<Executor>, launch: Launch, ending: Ending, mut orders: mpsc::Receiver<Order>) {
    let started_at_ms = clock::unix_ms();
    let timeout = async {
        match launch.timeout_ms {
            0 => std::future::pending().await,
            ms => tokio::time::sleep(std::time::Duration::from_millis(ms)).await,
        }
    };
    let failure = |failure: Failure| Some(failed(&launch.attempt_id, launch.fence, failure));
    let work = async {
        executor.lease.held().await;
        tokio::select! {
            () = tokio::time::sleep(ending.after) => true,
            () = executor.lease.expired() => false,
        }
    };
    let report = tokio::select! {
        done = work => if done { Some(end(&launch, ending)) } else { failure(cut_off()) },
        Some(Order::Kill { discard, .. }) = orders.recv() => {
            let killed = failure(exit::new(FailureClass::Cancelled, "killed", "killed by order of the scheduler"));
            killed.filter(|_| !discard)
        }
        () = timeout => failure(exit::new(FailureClass::Timeout, "timeout", "took longer than its timeout")),
    };
    match report {
        Some(report) => drop(executor.outbox.push(Report { started_at_ms, ..report })),
        None => executor.outbox.dropped(&launch.attempt_id),
    }
    executor.table().end(&launch.attempt_id, false);
}

fn cut_off() -> Failure {
    exit::new(FailureClass::Platform, "lease_expired", "the executor was cut off from the scheduler")
}

/// The report of its end now.
pub fn end(launch: &Launch, ending: Ending) -> Report {
    if let Some(message) = ending.fail {
        return failed(
            &launch.attempt_id,
            launch.fence,
            exit::new(FailureClass::User, "noop_failed", &message),
        );
    }
    let outputs_json =
        if ending.outputs.is_empty() { String::new() } else { Value::from(ending.outputs).to_string() };
    if outputs_json.len() > OUTPUT_BYTES_MAX {
        let message = crate::events::Refused::OutputTooLarge.to_string();
        return failed(
            &launch.attempt_id,
            launch.fence,
            exit::new(FailureClass::User, "output_too_large", &message),
        );
    }
    let now = clock::unix_ms();
    Report {
        attempt_id: launch.attempt_id.clone(),
        fence: launch.fence,
        state: AttemptState::Succeeded.into(),
        outputs_json,
        started_at_ms: now,
        ended_at_ms: now,
        log_complete: true,
        ..Report::default()
    }
}
