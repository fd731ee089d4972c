//! What agents and masters of the stand-in say to each other: our own protocol, since nobody else speaks it.
//!
//! An agent opens a TCP connection to the master's HTTP port, writes `PREAMBLE`, and from then on both sides send frames: a
//! length of four bytes, big-endian, and a protobuf message. The first message of an agent is `Register`. A master that
//! does not lead answers with `NotLeading` and closes.

use std::io;

use meson_mesos::v1::{AgentInfo, ExecutorInfo, FrameworkInfo, KillPolicy, Resource, TaskInfo, TaskStatus};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The first bytes of a link; no HTTP request begins like this.
pub const PREAMBLE: &[u8; 8] = b"STANDIN1";

/// Longest frame that is read.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// A task as agents report it when they register again.
#[derive(Clone, PartialEq, Message)]
pub struct TaskReport {
    /// Whose task it is.
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// What was launched.
    #[prost(message, required, tag = "2")]
    pub task: TaskInfo,
    /// The executor's id, for command tasks the generated one.
    #[prost(string, tag = "3")]
    pub executor_id: String,
    /// Latest state on the agent.
    #[prost(int32, tag = "4")]
    pub state: i32,
    /// State of the oldest update that is not acknowledged, which is what the framework knows at most.
    #[prost(int32, optional, tag = "5")]
    pub update_state: Option<i32>,
    /// Its uuid.
    #[prost(bytes = "vec", optional, tag = "6")]
    pub update_uuid: Option<Vec<u8>>,
}

/// An agent introduces itself, with its id if it had one.
#[derive(Clone, PartialEq, Message)]
pub struct Register {
    /// Who it is, with its resources, reserved ones included.
    #[prost(message, required, tag = "1")]
    pub agent: AgentInfo,
    /// Its tasks.
    #[prost(message, repeated, tag = "2")]
    pub tasks: Vec<TaskReport>,
    /// Its executors, framework ids set.
    #[prost(message, repeated, tag = "3")]
    pub executors: Vec<ExecutorInfo>,
    /// The frameworks of these.
    #[prost(message, repeated, tag = "4")]
    pub frameworks: Vec<FrameworkInfo>,
}

/// A status update on its way to the scheduler.
#[derive(Clone, PartialEq, Message)]
pub struct Update {
    /// Whose task it is.
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// The update.
    #[prost(message, required, tag = "2")]
    pub status: TaskStatus,
    /// The task's latest state, which may be newer than the update.
    #[prost(int32, tag = "3")]
    pub latest_state: i32,
}

/// A message between scheduler and executor, in either direction.
#[derive(Clone, PartialEq, Message)]
pub struct FrameworkMessage {
    /// The framework.
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// The executor.
    #[prost(string, tag = "2")]
    pub executor_id: String,
    /// The bytes.
    #[prost(bytes = "vec", tag = "3")]
    pub data: Vec<u8>,
}

/// An executor's process ended.
#[derive(Clone, PartialEq, Message)]
pub struct ExitedExecutor {
    /// The framework.
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// The executor.
    #[prost(string, tag = "2")]
    pub executor_id: String,
    /// Its wait status, as `waitpid` gives it.
    #[prost(int32, tag = "3")]
    pub status: i32,
}

/// Says nothing.
#[derive(Clone, PartialEq, Message)]
pub struct Nothing {}

/// From an agent to a master.
#[derive(Clone, PartialEq, Message)]
pub struct ToMaster {
    /// One of them.
    #[prost(oneof = "FromAgent", tags = "1, 2, 3, 4, 5, 6")]
    pub body: Option<FromAgent>,
}

/// What an agent says.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum FromAgent {
    /// First message of a link.
    #[prost(message, tag = "1")]
    Register(Box<Register>),
    /// A task's state changed.
    #[prost(message, tag = "2")]
    Update(Box<Update>),
    /// An executor's message.
    #[prost(message, tag = "3")]
    Message(FrameworkMessage),
    /// An executor ended.
    #[prost(message, tag = "4")]
    Exited(ExitedExecutor),
    /// Answer to a ping.
    #[prost(message, tag = "5")]
    Pong(Nothing),
    /// The agent leaves for good: its tasks are over.
    #[prost(message, tag = "6")]
    Unregister(Nothing),
}

/// A master accepted an agent.
#[derive(Clone, PartialEq, Message)]
pub struct Registered {
    /// The agent's id.
    #[prost(string, tag = "1")]
    pub agent_id: String,
    /// Tasks that the master knows on this agent and the agent did not report.
    #[prost(message, repeated, tag = "2")]
    pub reconcile: Vec<KillTask>,
    /// After this many seconds without a ping the agent connects anew.
    #[prost(double, tag = "3")]
    pub ping_timeout: f64,
}

/// Tasks to launch on one executor.
#[derive(Clone, PartialEq, Message)]
pub struct RunTasks {
    /// The framework.
    #[prost(message, required, tag = "1")]
    pub framework: FrameworkInfo,
    /// The executor, absent for command tasks.
    #[prost(message, optional, tag = "2")]
    pub executor: Option<ExecutorInfo>,
    /// The tasks.
    #[prost(message, repeated, tag = "3")]
    pub tasks: Vec<TaskInfo>,
    /// Whether they are one task group.
    #[prost(bool, tag = "4")]
    pub group: bool,
}

/// Names a task, to kill it or to ask for it.
#[derive(Clone, PartialEq, Message)]
pub struct KillTask {
    /// The framework.
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// The task.
    #[prost(string, tag = "2")]
    pub task_id: String,
    /// Overrides the task's own policy.
    #[prost(message, optional, tag = "3")]
    pub kill_policy: Option<KillPolicy>,
    /// Whether the framework is partition-aware, for tasks that the agent does not know.
    #[prost(bool, tag = "4")]
    pub partition_aware: bool,
}

/// Names an executor.
#[derive(Clone, PartialEq, Message)]
pub struct ShutdownExecutor {
    /// The framework.
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// The executor; all of the framework's where it is empty.
    #[prost(string, tag = "2")]
    pub executor_id: String,
}

/// A scheduler acknowledged an update.
#[derive(Clone, PartialEq, Message)]
pub struct Acknowledge {
    /// The framework.
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// The task.
    #[prost(string, tag = "2")]
    pub task_id: String,
    /// The update.
    #[prost(bytes = "vec", tag = "3")]
    pub uuid: Vec<u8>,
}

/// All resources of an agent after a reservation changed.
#[derive(Clone, PartialEq, Message)]
pub struct Checkpoint {
    /// The resources.
    #[prost(message, repeated, tag = "1")]
    pub resources: Vec<Resource>,
}

/// Words to a person.
#[derive(Clone, PartialEq, Message)]
pub struct Reason {
    /// Why.
    #[prost(string, tag = "1")]
    pub message: String,
}

/// From a master to an agent.
#[derive(Clone, PartialEq, Message)]
pub struct ToAgent {
    /// One of them.
    #[prost(oneof = "FromMaster", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11")]
    pub body: Option<FromMaster>,
}

impl From<FromMaster> for ToAgent {
    fn from(body: FromMaster) -> Self {
        ToAgent { body: Some(body) }
    }
}

impl From<FromAgent> for ToMaster {
    fn from(body: FromAgent) -> Self {
        ToMaster { body: Some(body) }
    }
}

/// What a master says.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum FromMaster {
    /// The agent is accepted.
    #[prost(message, tag = "1")]
    Registered(Registered),
    /// Launch.
    #[prost(message, tag = "2")]
    Run(Box<RunTasks>),
    /// Kill.
    #[prost(message, tag = "3")]
    Kill(KillTask),
    /// Shut executors down.
    #[prost(message, tag = "4")]
    Shutdown(ShutdownExecutor),
    /// An update was acknowledged.
    #[prost(message, tag = "5")]
    Acknowledge(Acknowledge),
    /// A scheduler's message.
    #[prost(message, tag = "6")]
    Message(FrameworkMessage),
    /// Is the agent there?
    #[prost(message, tag = "7")]
    Ping(Nothing),
    /// Resources changed.
    #[prost(message, tag = "8")]
    Checkpoint(Checkpoint),
    /// The agent must end all and exit: it was marked gone.
    #[prost(message, tag = "9")]
    ShutdownAgent(Reason),
    /// This master does not lead; the agent asks again, the leader first if it is known.
    #[prost(message, tag = "10")]
    NotLeading(Reason),
    /// A framework's information changed.
    #[prost(message, tag = "11")]
    UpdateFramework(Box<FrameworkInfo>),
}

/// Writes one frame.
///
/// # Errors
/// When the connection is broken.
pub async fn write<W: AsyncWriteExt + Unpin>(to: &mut W, message: &impl Message) -> io::Result<()> {
    let body = message.encode_to_vec();
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_be_bytes()).await?;
    to.write_all(&body).await?;
    to.flush().await
}

/// Reads one frame; `None` at the end of the connection.
///
/// # Errors
/// When the connection is broken, or what arrives is no frame.
pub async fn read<M: Message + Default, R: AsyncReadExt + Unpin>(from: &mut R) -> io::Result<Option<M>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other(format!("a frame of {length} bytes")));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    M::decode(body.as_slice()).map(Some).map_err(io::Error::other)
}
