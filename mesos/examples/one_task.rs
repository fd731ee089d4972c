//! A framework that runs one task on a Mesos cluster and ends: `cargo run -p meson-mesos --example one_task -- \
//! zk://z1:2181/mesos 'echo hello'`. With a third argument, the path of `echo_executor` on the agents, that executor runs
//! it, and says the text back. It shows the order of things; a real framework also writes down its id and its tasks
//! before it launches anything, and goes on when it is started again.

use std::time::Duration;

use meson_mesos::resources::{Fixed, Resources, Wanted};
use meson_mesos::scheduler::{Accept, Config, Event, Scheduler, Signal, call};
use meson_mesos::v1::framework_info::{Capability, capability};
use meson_mesos::v1::{
    CommandInfo, ExecutorInfo, FrameworkInfo, Offer, TaskId, TaskInfo, TaskState, TaskStatus, executor_info,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "usage: one_task MASTERS COMMAND [EXECUTOR]";
const ROLE: &str = "examples";
/// How long Mesos is to keep offers away that this framework has no use for.
const REFUSE: Duration = Duration::from_secs(5 * 60);

/// What is to be run.
struct Work {
    command: String,
    executor: Option<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let masters = arguments.next().ok_or(USAGE)?;
    let work = Work { command: arguments.next().ok_or(USAGE)?, executor: arguments.next() };

    let (scheduler, mut signals) =
        Scheduler::start(Config::new(masters.parse()?), framework(), vec![], None)?;
    let mut task: Option<TaskId> = None;
    while let Some(signal) = signals.next().await {
        match signal {
            Signal::Connected { master } => println!("connected to {master}"),
            Signal::Subscribed(subscribed) => {
                println!("subscribed as {}", subscribed.framework_id);
                // What happened to the task while nobody listened?
                if let Some(call) = call::reconcile(task.iter().map(|id| (id.clone(), None))) {
                    scheduler.call(call).await?;
                }
            }
            Signal::Event(Event::Offers(offers)) => {
                for offer in offers {
                    use_offer(&scheduler, &offer, &work, &mut task).await?;
                }
            }
            Signal::Event(Event::Update(status)) => {
                if is_over(&scheduler, &status).await? {
                    scheduler.call(call::teardown()).await?;
                }
            }
            Signal::Event(other) => println!("{other:?}"),
            Signal::Disconnected { error, retry_in } => println!("{error}; again in {retry_in:?}"),
            Signal::Ended(reason) => println!("ended: {reason}"),
        }
    }
    Ok(())
}

fn framework() -> FrameworkInfo {
    let capabilities = [
        capability::Type::MultiRole,
        capability::Type::PartitionAware,
        capability::Type::ReservationRefinement,
    ];
    FrameworkInfo {
        // The user of this process; tasks run as that user.
        user: std::env::var("USER").unwrap_or_default(),
        name: "one task".to_owned(),
        roles: vec![ROLE.to_owned()],
        capabilities: capabilities.map(|kind| Capability { r#type: Some(kind as i32) }).to_vec(),
        failover_timeout: Some(60.0),
        // Agents that restart find their executors again.
        checkpoint: Some(true),
        ..FrameworkInfo::default()
    }
}

/// Launches the task if it fits and was not launched yet; gives the offer back else.
async fn use_offer(
    scheduler: &Scheduler,
    offer: &Offer,
    work: &Work,
    task: &mut Option<TaskId>,
) -> Result<()> {
    let wanted = Wanted::new().scalar("cpus", Fixed::of(0.1)).scalar("mem", Fixed::of(32.0));
    let found = Resources::of(offer.resources.iter().cloned())?.find(&wanted, ROLE);
    let (Some(resources), None) = (found, &*task) else {
        if let Some(decline) = call::decline(vec![offer.id.clone()], REFUSE) {
            scheduler.call(decline).await?;
        }
        return Ok(());
    };
    let id = TaskId::from("the-task");
    let info = task_info(work, id.clone(), offer, resources);
    println!("launching on {}", offer.hostname);
    *task = Some(id);
    scheduler.call(Accept::of(offer).launch(vec![info])?.refuse(REFUSE).build()).await?;
    Ok(())
}

/// A task is either a command, which an executor of Mesos runs, or data for an executor of ours.
fn task_info(work: &Work, task_id: TaskId, offer: &Offer, resources: Resources) -> TaskInfo {
    let command = |value: &str| CommandInfo { value: Some(value.to_owned()), ..CommandInfo::default() };
    let task = TaskInfo {
        name: "the task".to_owned(),
        task_id,
        agent_id: offer.agent_id.clone(),
        resources: resources.into(),
        ..TaskInfo::default()
    };
    let Some(path) = &work.executor else {
        return TaskInfo { command: Some(command(&work.command)), ..task };
    };
    let executor = ExecutorInfo {
        r#type: Some(executor_info::Type::Custom as i32),
        executor_id: "echo".into(),
        framework_id: Some(offer.framework_id.clone()),
        command: Some(command(path)),
        ..ExecutorInfo::default()
    };
    TaskInfo { executor: Some(executor), data: Some(work.command.clone().into()), ..task }
}

/// Acknowledges an update, and says whether it was the last one.
async fn is_over(scheduler: &Scheduler, status: &TaskStatus) -> Result<bool> {
    println!("{} {}", status.state().as_str_name(), status.message());
    if let Some(acknowledge) = call::acknowledge(status) {
        scheduler.call(acknowledge).await?;
    }
    Ok(TaskState::is_terminal(status.state()))
}
