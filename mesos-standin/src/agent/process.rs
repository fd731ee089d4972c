//! Executors as processes: sandbox, environment, start, and the watch over them until they end.

use std::{
    collections::BTreeMap,
    fs::File,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use meson_mesos::{
    duration,
    v1::{CommandInfo, TaskState, task_status::Reason},
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::process::{Child, Command};

use super::{
    Agent, Settings, State,
    executor::{Ending, Executor, Key, Phase},
    fetch,
};

/// How often a process that is no child of ours is looked at, after the agent's restart.
const LOOK: Duration = Duration::from_millis(100);

impl Agent {
    /// Starts an executor's process and watches it.
    pub(super) fn launch(self: Arc<Self>, state: &mut State, key: &Key) {
        let id = state.id();
        let checkpoint = state.frameworks.get(&key.0).is_some_and(|info| info.checkpoint());
        let Some(executor) = state.executors.get_mut(key) else { return };
        executor.directory = sandbox(&self.settings.work_dir, &id, key, &executor.container.value);
        let started = Start {
            environment: self.environment(&id, key, executor, checkpoint),
            command: executor.info.command.clone().unwrap_or_default(),
            generated: executor.generated,
            directory: executor.directory.clone(),
        };
        let key = key.clone();
        tokio::spawn(async move { self.live_executor(key, started).await });
    }

    async fn live_executor(self: Arc<Self>, key: Key, start: Start) {
        let container = start.directory.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut child = match self.start_process(&start).await {
            Ok(child) => child,
            Err(error) => {
                tracing::warn!(
                    framework = key.0,
                    executor = key.1,
                    error = format!("{error:#}"),
                    "launch failed"
                );
                let ending = Ending {
                    state: TaskState::TaskFailed,
                    reason: Reason::ContainerLaunchFailed,
                    message: format!("Failed to launch container: {error:#}"),
                };
                let mut state = self.lock();
                if let Some(executor) = state.executors.get_mut(&key) {
                    executor.ending = Some(ending);
                }
                return self.executor_ended(&mut state, &key, -1);
            }
        };
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        {
            let mut state = self.lock();
            if let Some(executor) = state.executors.get_mut(&key) {
                executor.pid = pid;
                executor.pid_start = pid.and_then(start_time).unwrap_or_default();
                if executor.phase == Phase::Terminating {
                    // Shut down while it was being fetched for.
                    pid.into_iter().for_each(kill_group);
                }
            }
            self.checkpoint(&state);
        }
        let watch =
            tokio::spawn(Arc::clone(&self).watch_registration(key.clone(), container.unwrap_or_default()));
        let status = child.wait().await;
        watch.abort();
        let status = status.ok().map_or(-1, std::os::unix::process::ExitStatusExt::into_raw);
        if let Some(pid) = pid {
            // What the executor left behind ends with it, as with its container.
            kill_group(pid);
        }
        self.executor_ended(&mut self.lock(), &key, status);
    }

    /// An executor that does not subscribe in time is killed.
    async fn watch_registration(self: Arc<Self>, key: Key, container: String) {
        let timeout = self.settings.executor_registration_timeout;
        tokio::time::sleep(timeout).await;
        let mut state = self.lock();
        let late = state
            .executors
            .get_mut(&key)
            .filter(|executor| executor.phase == Phase::Registering && executor.container.value == container);
        if let Some(executor) = late {
            executor.phase = Phase::Terminating;
            executor.ending = Some(Ending {
                state: TaskState::TaskFailed,
                reason: Reason::ExecutorRegistrationTimeout,
                message: format!("Executor did not register within {}", duration::format(timeout)),
            });
            executor.pid.into_iter().for_each(kill_group);
        }
    }

    /// Watches an executor that an earlier process of this agent started; how it ends cannot be learned.
    pub(super) async fn watch_recovered(self: Arc<Self>, key: Key, pid: i32, pid_start: u64) {
        while start_time(pid) == Some(pid_start) {
            tokio::time::sleep(LOOK).await;
        }
        // Another process may have its number by now; then its group is over.
        if start_time(pid).is_none() {
            kill_group(pid);
        }
        self.executor_ended(&mut self.lock(), &key, -1);
    }

    async fn start_process(&self, start: &Start) -> anyhow::Result<Child> {
        if !start.generated && start.command.value.is_none() {
            bail!("the executor has no command, and the stand-in has no default executor");
        }
        std::fs::create_dir_all(&start.directory).context("the sandbox")?;
        if let Some(runs) = start.directory.parent() {
            let latest = runs.join("latest");
            // It is there already when the executor ran before.
            let _ = std::fs::remove_file(&latest);
            symlink(&start.directory, &latest).context("the link to the latest sandbox")?;
        }
        fetch::fetch_all(&start.command.uris, &start.directory).await.with_context(|| {
            let container = start.directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
            format!("Failed to fetch all URIs for container '{container}'")
        })?;
        let mut command = if start.generated {
            let mut command = Command::new(&self.settings.command_executor);
            command.arg("command-executor");
            command
        } else {
            command_of(&start.command)
        };
        command
            .envs(&start.environment)
            .current_dir(&start.directory)
            .stdin(Stdio::null())
            .stdout(File::create(start.directory.join("stdout"))?)
            .stderr(File::create(start.directory.join("stderr"))?)
            .process_group(0);
        command.spawn().context("the executor's command")
    }

    /// The documented environment of executors.
    fn environment(
        &self,
        agent: &str,
        key: &Key,
        executor: &Executor,
        checkpoint: bool,
    ) -> BTreeMap<String, String> {
        let settings: &Settings = &self.settings;
        let sandbox = executor.directory.to_string_lossy().into_owned();
        let given = executor.info.shutdown_grace_period.as_ref();
        let grace = given.map_or(settings.executor_shutdown_grace_period, |grace| {
            Duration::from_nanos(u64::try_from(grace.nanoseconds).unwrap_or_default())
        });
        let mut environment: BTreeMap<String, String> = [
            ("MESOS_FRAMEWORK_ID", key.0.clone()),
            ("MESOS_EXECUTOR_ID", key.1.clone()),
            ("MESOS_DIRECTORY", sandbox.clone()),
            ("MESOS_SANDBOX", sandbox),
            ("MESOS_SLAVE_ID", agent.to_owned()),
            ("MESOS_SLAVE_PID", format!("slave(1)@{}", self.address)),
            ("MESOS_AGENT_ENDPOINT", self.address.clone()),
            ("MESOS_CONTAINER_ID", executor.container.value.clone()),
            ("MESOS_CHECKPOINT", if checkpoint { "1" } else { "0" }.to_owned()),
            ("MESOS_HTTP_COMMAND_EXECUTOR", "1".to_owned()),
            ("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", duration::format(grace)),
            ("LIBPROCESS_PORT", "0".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        if checkpoint {
            let recovery = duration::format(settings.recovery_timeout);
            let backoff = duration::format(settings.executor_reregistration_timeout);
            environment.insert("MESOS_RECOVERY_TIMEOUT".to_owned(), recovery);
            environment.insert("MESOS_SUBSCRIPTION_BACKOFF_MAX".to_owned(), backoff);
        }
        // The executor's own variables come last and win, as in Mesos.
        let own = executor.info.command.iter().flat_map(|command| command.environment.iter());
        for variable in own.flat_map(|environment| environment.variables.iter()) {
            environment.insert(variable.name.clone(), variable.value.clone().unwrap_or_default());
        }
        environment
    }
}

/// What a start needs, taken out of the state.
struct Start {
    environment: BTreeMap<String, String>,
    command: CommandInfo,
    generated: bool,
    directory: PathBuf,
}

/// A command as Mesos understands it: a line for the shell, or a program with all its arguments, the first its name.
pub fn command_of(info: &CommandInfo) -> Command {
    let value = info.value.clone().unwrap_or_default();
    if info.shell.unwrap_or(true) {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(value);
        return command;
    }
    let mut command = Command::new(value);
    let mut arguments = info.arguments.iter();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments);
    command
}

/// Kills a process group; nothing happens when it is gone.
pub(super) fn kill_group(pid: i32) {
    // Group 0 would be our own.
    if pid > 1 {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// When a process started, in ticks since the system did; nothing when it is gone or a zombie.
pub(super) fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the program's name, may hold spaces: what follows its last parenthesis does not.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Mesos's layout of sandboxes.
fn sandbox(work_dir: &Path, agent: &str, key: &Key, container: &str) -> PathBuf {
    work_dir
        .join("slaves")
        .join(agent)
        .join("frameworks")
        .join(&key.0)
        .join("executors")
        .join(&key.1)
        .join("runs")
        .join(container)
}
