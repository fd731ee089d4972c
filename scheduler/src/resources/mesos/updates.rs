//! What an update of a task means for its attempt: one table, explained in docs/mesos.md. Pure.

use meson_engine::record::Failure;
use meson_engine::status::FailureClass;
use meson_mesos::v1::task_status::Reason;
use meson_mesos::v1::{TaskState, TaskStatus};
use meson_proto::v1;
use prost::Message as _;

/// What an update means.
#[derive(Debug, Clone, PartialEq)]
pub enum Word {
    /// Nothing that changes the attempt.
    Nothing,
    /// Its executor has it, and it runs.
    Running,
    /// The executor's own report: it decides, as one over the session does.
    Report(Box<v1::Report>),
    /// It never began, and never will: another attempt may start at once.
    NeverBegan(Failure),
    /// To Mesos it is over. What it started may still run until the lease of its executor ends, so another attempt has to
    /// wait for that (P3).
    Over(Failure),
    /// Nobody knows: the executor may go on, and speak to us all the while. Only its silence decides.
    Unsure,
}

/// Reads an update.
pub fn read(status: &TaskStatus) -> Word {
    use TaskState::*;
    let state = status.state();
    let report = report(status);
    let platform = |reason| Failure::new(FailureClass::Platform, reason, describe(status));
    match state {
        TaskStaging | TaskStarting | TaskKilling => Word::Nothing,
        TaskRunning => report.map_or(Word::Running, Word::Report),
        TaskFinished => report.map_or_else(|| Word::Over(platform("finished_without_report")), Word::Report),
        TaskFailed => report.map_or_else(|| Word::Over(failed(status)), Word::Report),
        TaskKilled => report.map_or_else(|| Word::Over(platform("killed_by_mesos")), Word::Report),
        TaskError => Word::NeverBegan(platform("task_refused")),
        TaskDropped => Word::NeverBegan(platform("task_dropped")),
        TaskLost => Word::Over(platform("task_lost")),
        TaskGone => Word::Over(platform("task_gone")),
        TaskGoneByOperator => Word::Over(platform("agent_gone")),
        TaskUnreachable | TaskUnknown => Word::Unsure,
    }
}

/// Whether a task that nobody wants has to be told to end. What is out of reach cannot be: Mesos would only say so again,
/// and when it comes back its state is told anew.
pub fn is_to_be_killed(state: TaskState) -> bool {
    use TaskState::*;
    match state {
        TaskStaging | TaskStarting | TaskRunning => true,
        TaskKilling | TaskUnreachable | TaskUnknown | TaskFinished | TaskFailed | TaskKilled | TaskError
        | TaskLost | TaskDropped | TaskGone | TaskGoneByOperator => false,
    }
}

/// The report in an update, if it is of the task's own attempt.
fn report(status: &TaskStatus) -> Option<Box<v1::Report>> {
    let data = status.data.as_ref().filter(|data| !data.is_empty())?;
    let report = v1::Report::decode(data.clone()).ok()?;
    (report.attempt_id == status.task_id.value).then(|| Box::new(report))
}

/// TASK_FAILED of an agent: something befell the executor and all that ran under it.
fn failed(status: &TaskStatus) -> Failure {
    let (class, reason) = match status.reason.map(|_| status.reason()) {
        Some(Reason::ContainerLimitationMemory) => (FailureClass::User, "out_of_memory"),
        Some(Reason::ContainerLimitationDisk) => (FailureClass::User, "out_of_disk"),
        Some(Reason::ExecutorRegistrationTimeout | Reason::ContainerLaunchFailed) => {
            (FailureClass::Platform, "executor_not_started")
        }
        _ => (FailureClass::Platform, "executor_lost"),
    };
    Failure::new(class, reason, describe(status))
}

/// For people: what Mesos calls it, why, and in its own words.
fn describe(status: &TaskStatus) -> String {
    let reason = status.reason.map(|_| format!(" ({})", status.reason().as_str_name()));
    let said = status.message.as_deref().filter(|message| !message.is_empty());
    let said = said.map(|message| format!(": {message}"));
    let state = status.state().as_str_name();
    format!("Mesos says {state}{}{}", reason.unwrap_or_default(), said.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: TaskState) -> TaskStatus {
        TaskStatus { task_id: "a".into(), state: state as i32, ..TaskStatus::default() }
    }

    fn with_report(state: TaskState, attempt_id: &str) -> TaskStatus {
        let report = v1::Report { attempt_id: attempt_id.into(), fence: 7, ..v1::Report::default() };
        TaskStatus { data: Some(report.encode_to_vec().into()), ..status(state) }
    }

    #[test]
    fn the_executors_report_decides() {
        for state in
            [TaskState::TaskRunning, TaskState::TaskFinished, TaskState::TaskFailed, TaskState::TaskKilled]
        {
            let Word::Report(report) = read(&with_report(state, "a")) else { panic!("{state:?}") };
            assert_eq!(report.fence, 7);
            assert!(!matches!(read(&with_report(state, "another")), Word::Report(_)), "{state:?}");
        }
        let garbage = TaskStatus { data: Some(vec![255, 255].into()), ..status(TaskState::TaskFinished) };
        assert!(matches!(read(&garbage), Word::Over(_)));
    }

    #[test]
    fn only_what_never_began_is_believed_at_once() {
        for state in (0..14).filter_map(|number| TaskState::try_from(number).ok()) {
            let word = read(&status(state));
            let at_once = matches!(word, Word::NeverBegan(_));
            assert_eq!(at_once, matches!(state, TaskState::TaskDropped | TaskState::TaskError), "{state:?}");
            let over = matches!(word, Word::Over(_) | Word::NeverBegan(_));
            assert!(!over || !is_to_be_killed(state), "{state:?}");
        }
    }

    #[test]
    fn reasons_become_classes() {
        let failure = |reason: Reason| {
            let status = TaskStatus {
                reason: Some(reason as i32),
                message: Some("Memory limit exceeded".into()),
                ..status(TaskState::TaskFailed)
            };
            let Word::Over(failure) = read(&status) else { panic!("{reason:?}") };
            failure
        };
        let memory = failure(Reason::ContainerLimitationMemory);
        assert_eq!((memory.class(), memory.reason.as_str()), (FailureClass::User, "out_of_memory"));
        assert_eq!(
            memory.message,
            "Mesos says TASK_FAILED (REASON_CONTAINER_LIMITATION_MEMORY): Memory limit exceeded"
        );
        let ended = failure(Reason::ExecutorTerminated);
        assert_eq!((ended.class(), ended.reason.as_str()), (FailureClass::Platform, "executor_lost"));
    }
}
