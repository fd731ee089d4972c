//! Events of an agent as an enum, so that a `match` sees all of them. The other way round is there for stand-ins.

use bytes::Bytes;

use crate::contract::present;
use crate::encoding;
use crate::v1::executor as wire;
use crate::v1::executor::event::{self as body, Type};
use crate::v1::{KillPolicy, TaskGroupInfo, TaskId, TaskInfo};

/// The first event of a subscription: who is who.
pub type Subscribed = body::Subscribed;

/// What an agent says.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "events are moved once, through one queue")]
pub enum Event {
    /// The subscription is open.
    Subscribed(Subscribed),
    /// Start this task, and say how that went.
    Launch(TaskInfo),
    /// Start these tasks together, and say how that went.
    LaunchGroup(TaskGroupInfo),
    /// End this task, and say when it ended.
    Kill {
        /// Which task.
        task_id: TaskId,
        /// How; overrides the task's own policy.
        kill_policy: Option<KillPolicy>,
    },
    /// The agent keeps this update now.
    Acknowledged {
        /// The task of the update.
        task_id: TaskId,
        /// The update's uuid.
        uuid: Bytes,
    },
    /// From the scheduler. Mesos does not promise that it arrives.
    Message(Bytes),
    /// End all tasks, say so, and end, within the grace period.
    Shutdown,
    /// Something that cannot be repaired.
    Error(String),
    /// The agent is there.
    Heartbeat,
    /// An event of a newer protocol, by its number. To be ignored.
    Unknown(i32),
}

impl TryFrom<wire::Event> for Event {
    type Error = encoding::Error;

    fn try_from(event: wire::Event) -> Result<Self, encoding::Error> {
        let number = event.r#type.unwrap_or_default();
        let Ok(kind) = Type::try_from(number) else { return Ok(Self::Unknown(number)) };
        let lacks = |field| move || encoding::Error::lacks::<wire::Event>(field);
        Ok(match kind {
            Type::Unknown => Self::Unknown(number),
            Type::Subscribed => Self::Subscribed(present(event.subscribed, lacks("subscribed"))?),
            Type::Launch => Self::Launch(present(event.launch, lacks("launch"))?.task),
            Type::LaunchGroup => {
                Self::LaunchGroup(present(event.launch_group, lacks("launch_group"))?.task_group)
            }
            Type::Kill => {
                let body::Kill { task_id, kill_policy } = present(event.kill, lacks("kill"))?;
                Self::Kill { task_id, kill_policy }
            }
            Type::Acknowledged => {
                let body::Acknowledged { task_id, uuid } =
                    present(event.acknowledged, lacks("acknowledged"))?;
                Self::Acknowledged { task_id, uuid }
            }
            Type::Message => Self::Message(present(event.message, lacks("message"))?.data),
            Type::Shutdown => Self::Shutdown,
            Type::Error => Self::Error(present(event.error, lacks("error"))?.message),
            Type::Heartbeat => Self::Heartbeat,
        })
    }
}

impl From<Event> for wire::Event {
    fn from(event: Event) -> Self {
        let mut written = Self::default();
        let kind = match event {
            Event::Subscribed(subscribed) => {
                written.subscribed = Some(subscribed);
                Type::Subscribed as i32
            }
            Event::Launch(task) => {
                written.launch = Some(body::Launch { task });
                Type::Launch as i32
            }
            Event::LaunchGroup(task_group) => {
                written.launch_group = Some(body::LaunchGroup { task_group });
                Type::LaunchGroup as i32
            }
            Event::Kill { task_id, kill_policy } => {
                written.kill = Some(body::Kill { task_id, kill_policy });
                Type::Kill as i32
            }
            Event::Acknowledged { task_id, uuid } => {
                written.acknowledged = Some(body::Acknowledged { task_id, uuid });
                Type::Acknowledged as i32
            }
            Event::Message(data) => {
                written.message = Some(body::Message { data });
                Type::Message as i32
            }
            Event::Shutdown => Type::Shutdown as i32,
            Event::Error(message) => {
                written.error = Some(body::Error { message });
                Type::Error as i32
            }
            Event::Heartbeat => Type::Heartbeat as i32,
            Event::Unknown(number) => number,
        };
        written.r#type = Some(kind);
        written
    }
}
