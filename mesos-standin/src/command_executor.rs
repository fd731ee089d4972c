//! The executor of tasks that have a command instead of an executor: one task, one process, spoken of like Mesos's own
//! command executor speaks of it. It is a client of the agent's HTTP API like any other executor.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context as _, bail};
use meson_mesos::{
    duration,
    encoding::Encoding,
    headers::{EXECUTOR_PATH, PROTOBUF},
    recordio,
    v1::{
        CommandInfo, ExecutorId, FrameworkId, FrameworkInfo, KillPolicy, TaskId, TaskInfo, TaskState,
        TaskStatus,
        executor::{Call, Event, call, event},
        framework_info::capability::Type as Capability,
        task_status::{Reason, Source},
    },
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    time::Instant,
};

use crate::{
    agent::command_of,
    cluster::{has_capability, is_terminal},
};

/// Between `SIGTERM` and `SIGKILL` where no policy says otherwise: Mesos's.
const GRACE: Duration = Duration::from_secs(3);
/// How long the last update may take to be acknowledged before the executor ends all the same: Mesos's.
const LINGER: Duration = Duration::from_secs(60);
/// Between two tries to reach the agent.
const PAUSE: Duration = Duration::from_millis(200);

/// What happens to the executor.
enum Happening {
    /// An event of the agent.
    Event(Box<Event>),
    /// The subscription ended.
    Disconnected,
    /// The command's process ended.
    Ended(std::io::Result<std::process::ExitStatus>),
}

/// The executor's memory.
struct Executor {
    agent: String,
    executor_id: ExecutorId,
    framework_id: FrameworkId,
    framework: FrameworkInfo,
    task: Option<TaskInfo>,
    task_acknowledged: bool,
    unacknowledged: VecDeque<TaskStatus>,
    pid: Option<i32>,
    killed: bool,
    kill_at: Option<Instant>,
    end_at: Option<Instant>,
    to_self: mpsc::UnboundedSender<Happening>,
    to_agent: mpsc::UnboundedSender<Call>,
}

/// Runs until the task is over and its end acknowledged, or the agent is lost.
///
/// # Errors
/// When the environment is not that of an executor, or the agent stays away too long.
pub async fn run() -> anyhow::Result<()> {
    let variable = |name: &str| std::env::var(name).with_context(|| name.to_owned());
    let recovery = match std::env::var("MESOS_RECOVERY_TIMEOUT") {
        Ok(text) if std::env::var("MESOS_CHECKPOINT").is_ok_and(|on| on == "1") => duration::parse(&text)?,
        _ => Duration::ZERO,
    };
    let (to_self, mut happenings) = mpsc::unbounded_channel();
    let agent = variable("MESOS_AGENT_ENDPOINT")?;
    let (to_agent, updates) = mpsc::unbounded_channel();
    tokio::spawn(send_updates(agent.clone(), updates));
    let mut executor = Executor {
        agent,
        executor_id: ExecutorId { value: variable("MESOS_EXECUTOR_ID")? },
        framework_id: FrameworkId { value: variable("MESOS_FRAMEWORK_ID")? },
        framework: FrameworkInfo::default(),
        task: None,
        task_acknowledged: false,
        unacknowledged: VecDeque::new(),
        pid: None,
        killed: false,
        kill_at: None,
        end_at: None,
        to_self,
        to_agent,
    };
    executor.subscribe();
    let mut lost_at: Option<Instant> = None;
    loop {
        let wake = [executor.kill_at, executor.end_at].into_iter().flatten().min();
        let wake = wake.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        tokio::select! {
            happening = happenings.recv() => match happening {
                Some(Happening::Event(event)) => {
                    lost_at = None;
                    executor.event(*event)?;
                }
                Some(Happening::Disconnected) => {
                    let since = *lost_at.get_or_insert_with(Instant::now);
                    if since.elapsed() >= recovery {
                        executor.signal(Signal::SIGKILL);
                        bail!("the agent is lost");
                    }
                    tokio::time::sleep(PAUSE).await;
                    executor.subscribe();
                }
                Some(Happening::Ended(status)) => executor.ended(status),
                None => return Ok(()),
            },
            () = tokio::time::sleep_until(wake) => {
                let now = Instant::now();
                if executor.end_at.is_some_and(|at| at <= now) {
                    return Ok(());
                }
                if executor.kill_at.take_if(|at| *at <= now).is_some() {
                    executor.signal(Signal::SIGKILL);
                }
            }
        }
    }
}

impl Executor {
    fn event(&mut self, event: Event) -> anyhow::Result<()> {
        match event.r#type() {
            event::Type::Subscribed => {
                self.framework = event.subscribed.context("SUBSCRIBED is empty")?.framework_info;
            }
            event::Type::Launch => self.launch(event.launch.context("LAUNCH is empty")?.task),
            event::Type::LaunchGroup => bail!("the command executor runs no task groups"),
            event::Type::Kill => self.kill(event.kill.and_then(|kill| kill.kill_policy)),
            event::Type::Acknowledged => {
                let acknowledged = event.acknowledged.context("ACKNOWLEDGED is empty")?;
                self.task_acknowledged = true;
                let terminal = self
                    .unacknowledged
                    .iter()
                    .any(|status| status.uuid() == &acknowledged.uuid[..] && is_terminal(status.state()));
                self.unacknowledged.retain(|status| status.uuid() != &acknowledged.uuid[..]);
                if terminal {
                    self.end_at = Some(Instant::now());
                }
            }
            event::Type::Shutdown => {
                if self.task.is_none() || self.end_at.is_some() {
                    self.end_at = Some(Instant::now());
                }
                self.kill(None);
            }
            event::Type::Error => bail!("the agent says: {}", event.error.unwrap_or_default().message),
            event::Type::Message | event::Type::Heartbeat | event::Type::Unknown => {}
        }
        Ok(())
    }

    fn launch(&mut self, task: TaskInfo) {
        self.task = Some(task.clone());
        self.update(TaskState::TaskStarting, None, None);
        let command: CommandInfo = task.command.clone().unwrap_or_default();
        let child = command_of(&command).env("MESOS_TASK_ID", &task.task_id.value).process_group(0).spawn();
        match child {
            Ok(mut child) => {
                self.pid = child.id().and_then(|pid| i32::try_from(pid).ok());
                let to_self = self.to_self.clone();
                tokio::spawn(async move {
                    let status = child.wait().await;
                    // The receiver lives as long as the executor.
                    let _ = to_self.send(Happening::Ended(status));
                });
                self.update(TaskState::TaskRunning, None, None);
            }
            Err(error) => {
                let message = format!("Failed to launch the command: {error}");
                self.update(TaskState::TaskFailed, Some(Reason::CommandExecutorFailed), Some(message));
                self.end_at = Some(Instant::now() + LINGER);
            }
        }
    }

    fn kill(&mut self, policy: Option<KillPolicy>) {
        if self.killed || self.pid.is_none() {
            return;
        }
        self.killed = true;
        let policy = policy.or_else(|| self.task.as_ref().and_then(|task| task.kill_policy));
        let grace = policy.and_then(|policy| policy.grace_period);
        let grace = grace.and_then(|grace| duration::of_contract(&grace)).unwrap_or(GRACE);
        if has_capability(&self.framework, Capability::TaskKillingState) {
            self.update(TaskState::TaskKilling, None, None);
        }
        self.signal(Signal::SIGTERM);
        self.kill_at = Some(Instant::now() + grace);
    }

    fn ended(&mut self, status: std::io::Result<std::process::ExitStatus>) {
        // Children that the command left behind end with it.
        self.signal(Signal::SIGKILL);
        self.pid = None;
        self.kill_at = None;
        let (state, reason, message) = match status {
            Ok(status) if status.success() => {
                (TaskState::TaskFinished, None, "Command exited with status 0".to_owned())
            }
            Ok(status) if self.killed => (TaskState::TaskKilled, None, format!("Command {status}")),
            Ok(status) => {
                (TaskState::TaskFailed, Some(Reason::CommandExecutorFailed), format!("Command {status}"))
            }
            Err(error) => (TaskState::TaskFailed, Some(Reason::CommandExecutorFailed), error.to_string()),
        };
        self.update(state, reason, Some(message));
        self.end_at = Some(Instant::now() + LINGER);
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid.filter(|pid| *pid > 1) {
            // It may be gone already.
            let _ = killpg(Pid::from_raw(pid), signal);
        }
    }

    fn update(&mut self, state: TaskState, reason: Option<Reason>, message: Option<String>) {
        let Some(task_id) = self.task.as_ref().map(|task| task.task_id.clone()) else { return };
        let status = TaskStatus {
            task_id: TaskId { value: task_id.value },
            state: state.into(),
            source: Some(Source::Executor.into()),
            reason: reason.map(Into::into),
            message,
            executor_id: Some(self.executor_id.clone()),
            uuid: Some(ulid::Ulid::generate().0.to_be_bytes().to_vec().into()),
            ..TaskStatus::default()
        };
        self.unacknowledged.push_back(status.clone());
        let call = self.call(call::Type::Update);
        let call = Call { update: Some(call::Update { status }), ..call };
        // The receiver lives as long as the executor.
        let _ = self.to_agent.send(call);
    }

    fn subscribe(&self) {
        let subscribe = call::Subscribe {
            unacknowledged_tasks: self.task.iter().filter(|_| !self.task_acknowledged).cloned().collect(),
            unacknowledged_updates: self
                .unacknowledged
                .iter()
                .map(|status| call::Update { status: status.clone() })
                .collect(),
        };
        let call = Call { subscribe: Some(subscribe), ..self.call(call::Type::Subscribe) };
        let agent = self.agent.clone();
        let to_self = self.to_self.clone();
        tokio::spawn(async move {
            if let Err(error) = read_events(&agent, &call, &to_self).await {
                tracing::warn!(%error, "the subscription broke");
            }
            let _ = to_self.send(Happening::Disconnected);
        });
    }

    fn call(&self, kind: call::Type) -> Call {
        Call {
            executor_id: self.executor_id.clone(),
            framework_id: self.framework_id.clone(),
            r#type: Some(kind.into()),
            ..Call::default()
        }
    }
}

/// Sends updates in their order, each until the agent takes it: while it recovers it takes none.
async fn send_updates(agent: String, mut updates: mpsc::UnboundedReceiver<Call>) {
    while let Some(call) = updates.recv().await {
        while let Err(error) = post(&agent, &call).await {
            tracing::warn!(%error, "an update did not reach the agent");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Sends a call and takes the whole answer. HTTP/1.0, so that the connection's end is the answer's.
async fn post(agent: &str, call: &Call) -> anyhow::Result<()> {
    let mut stream = request(agent, call).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    match answer.split_whitespace().nth(1) {
        Some("202") => Ok(()),
        _ => bail!("the agent answered: {answer}"),
    }
}

async fn read_events(agent: &str, call: &Call, to: &mpsc::UnboundedSender<Happening>) -> anyhow::Result<()> {
    let mut stream = request(agent, call).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    if head.split_whitespace().nth(1) != Some("200") {
        bail!("the agent answered: {head}");
    }
    let mut decoder = recordio::Decoder::default();
    let mut chunk = vec![0; 64 << 10];
    loop {
        let length = stream.read(&mut chunk).await?;
        if length == 0 {
            return Ok(());
        }
        decoder.push(chunk.get(..length).unwrap_or_default());
        while let Some(record) = decoder.next()? {
            let event = Encoding::Protobuf.decode::<Event>(&record)?;
            if to.send(Happening::Event(Box::new(event))).is_err() {
                return Ok(());
            }
        }
    }
}

async fn request(agent: &str, call: &Call) -> anyhow::Result<TcpStream> {
    let body = Encoding::Protobuf.encode(call);
    let mut stream = TcpStream::connect(agent).await?;
    let head = format!(
        "POST {EXECUTOR_PATH} HTTP/1.0\r\nHost: {agent}\r\nContent-Type: {PROTOBUF}\r\nAccept: {PROTOBUF}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    Ok(stream)
}
