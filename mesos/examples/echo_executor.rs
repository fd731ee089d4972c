//! An executor that "runs" a task by sending its data back to the scheduler. A Mesos agent starts it: name its path as the
//! command of an `ExecutorInfo`.

use std::time::Duration;

use meson_mesos::executor::{Config, Environment, Event, Executor, Signal};
use meson_mesos::v1::{TaskId, TaskInfo, TaskState, TaskStatus};

/// How long to wait at the end for the agent to take the last updates.
const DRAIN_MAX: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let environment = Environment::of_process()?;
    let (executor, mut signals) = Executor::start(&environment, Config::of(&environment)?)?;
    while let Some(signal) = signals.next().await {
        match signal {
            Signal::Event(Event::Launch(task)) => echo(&executor, task).await,
            Signal::Event(Event::LaunchGroup(group)) => {
                for task in group.tasks {
                    echo(&executor, task).await;
                }
            }
            // All tasks are over as soon as they begin, so there is none to kill.
            Signal::Event(Event::Shutdown) => {
                let wait = DRAIN_MAX.min(environment.shutdown_grace_period);
                tokio::spawn(async move {
                    executor.drained(wait).await;
                    std::process::exit(0);
                });
                break;
            }
            Signal::Ended(error) => return Err(error.into()),
            other => eprintln!("{other:?}"),
        }
    }
    // The session goes on reading acknowledgements until the process ends.
    while signals.next().await.is_some() {}
    Ok(())
}

async fn echo(executor: &Executor, task: TaskInfo) {
    report(executor, &task.task_id, TaskState::TaskRunning).await;
    let sent = executor.message(task.data.unwrap_or_default()).await;
    let state = if sent.is_ok() { TaskState::TaskFinished } else { TaskState::TaskFailed };
    report(executor, &task.task_id, state).await;
}

/// An update that cannot be sent now is kept, and told at the next subscription.
async fn report(executor: &Executor, task_id: &TaskId, state: TaskState) {
    let status = TaskStatus { task_id: task_id.clone(), state: state as i32, ..TaskStatus::default() };
    if let Err(error) = executor.update(status).await {
        eprintln!("{error}");
    }
}
