//! From records to wire messages. The numbers of statuses and classes are the same in both, and a test keeps them so.

use meson_engine::record::{Amounts, Counts, Failure, Run};
use meson_proto::v1;
use meson_workflow::Problem;
use prost_types::Timestamp;

/// A time, unless it is 0.
pub fn timestamp(unix_ms: u64) -> Option<Timestamp> {
    let seconds = i64::try_from(unix_ms / 1_000).ok()?;
    (unix_ms != 0).then_some(Timestamp { seconds, nanos: (unix_ms % 1_000) as i32 * 1_000_000 })
}

/// Milliseconds of a time that a client gave.
pub fn unix_ms(timestamp: &Timestamp) -> u64 {
    let seconds = u64::try_from(timestamp.seconds).unwrap_or(0);
    seconds.saturating_mul(1_000).saturating_add(u64::try_from(timestamp.nanos).unwrap_or(0) / 1_000_000)
}

/// Amounts.
pub fn resources(amounts: Amounts) -> v1::Resources {
    v1::Resources {
        cpus_milli: amounts.cpus_milli,
        mem_bytes: amounts.mem_bytes,
        disk_bytes: amounts.disk_bytes,
        gpus: amounts.gpus,
    }
}

/// Amounts that an executor gave.
pub fn amounts(resources: &v1::Resources) -> Amounts {
    Amounts {
        cpus_milli: resources.cpus_milli,
        mem_bytes: resources.mem_bytes,
        disk_bytes: resources.disk_bytes,
        gpus: resources.gpus,
    }
}

/// A failure.
pub fn failure(failure: &Failure) -> v1::Failure {
    v1::Failure { class: failure.class, reason: failure.reason.clone(), message: failure.message.clone() }
}

/// A run.
pub fn run(run: &Run) -> v1::Run {
    let (info, head) = (&run.info, &run.head);
    v1::Run {
        run_id: info.run_id.clone(),
        workflow: info.workflow.clone(),
        version: info.pins.first().cloned().unwrap_or_default(),
        status: head.status,
        params_json: text(&info.params),
        outputs_json: text(&head.outputs),
        failure: head.failure.as_deref().map(failure),
        started_at: timestamp(info.started_ms),
        ended_at: timestamp(head.ended_ms),
        sequence: head.sequence,
        counts: Some(counts(&head.counts)),
        request_id: info.request_id.clone(),
        labels: info.labels.clone().into_iter().collect(),
    }
}

fn counts(counts: &Counts) -> v1::NodeCounts {
    v1::NodeCounts {
        total: counts.total,
        pending: counts.pending(),
        ready: counts.ready,
        running: counts.live + counts.active,
        succeeded: counts.succeeded,
        failed: counts.failed,
        cancelled: counts.cancelled,
        skipped: counts.skipped,
    }
}

/// JSON bytes of the state as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A problem of a definition.
pub fn problem(problem: &Problem) -> v1::Problem {
    let location = problem.location.as_ref();
    v1::Problem {
        line: location.map_or(0, |location| location.line as u32),
        column: location.map_or(0, |location| location.column as u32),
        path: problem.path.clone(),
        node: problem.node.clone().unwrap_or_default(),
        message: problem.message.clone(),
        remedy: problem.remedy.clone(),
    }
}

#[cfg(test)]
mod tests {
    use meson_engine::status::{FailureClass, NodeStatus, RunStatus};
    use meson_proto::v1;

    #[test]
    fn statuses_have_the_same_numbers_and_names_on_the_wire() {
        let upper = |name: String| {
            name.chars().fold(String::new(), |words, c| {
                let gap = if c.is_uppercase() && !words.is_empty() { "_" } else { "" };
                words + gap + &c.to_ascii_uppercase().to_string()
            })
        };
        for number in 0..20 {
            let wire = v1::NodeStatus::try_from(number).ok().map(|status| status.as_str_name().to_owned());
            let ours = NodeStatus::try_from(number)
                .ok()
                .map(|status| format!("NODE_STATUS_{}", upper(format!("{status:?}"))));
            assert_eq!(wire, ours);
            let wire = v1::RunStatus::try_from(number).ok().map(|status| status.as_str_name().to_owned());
            let ours = RunStatus::try_from(number)
                .ok()
                .map(|status| format!("RUN_STATUS_{}", upper(format!("{status:?}"))));
            assert_eq!(wire, ours);
            let wire = v1::FailureClass::try_from(number).ok().map(|class| class.as_str_name().to_owned());
            let ours = FailureClass::try_from(number)
                .ok()
                .map(|class| format!("FAILURE_CLASS_{}", upper(format!("{class:?}"))));
            assert_eq!(wire, ours);
        }
    }
}
