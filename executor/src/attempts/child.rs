//! The life of an attempt with a child process: prepare, start, follow, report.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use meson_proto::v1::{AttemptState, Failure, FailureClass, Launch, LogStream, Report};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, sleep};
use tracing::{error, info, warn};

use super::{Executor, Order, Progress, contract, workspace};
use crate::clock;
use crate::drive::Verdict;
use crate::events::{self, Refused, Tail};
use crate::logs::AttemptLog;
use crate::runners::Program;
use crate::secrets::Secrets;
use crate::secrets::mask::Mask;
use crate::task::dirs::AttemptDir;
use crate::task::handle::{self, Watch};
use crate::task::spec::{self, Cause, Exit, Process, Spec};
use crate::task::{cleanup, exit, record, temporary};

/// How often events and log of a running attempt are looked at.
const TICK: Duration = Duration::from_millis(100);

struct Child {
    executor: Arc<Executor>,
    launch: Launch,
    dir: AttemptDir,
    log: Arc<AttemptLog>,
    progress: Arc<Progress>,
    orders: mpsc::Receiver<Order>,
    events: Tail,
    /// What its process alone may know.
    secrets: Secrets,
    mask: Mask,
    /// Whether those values are not known for certain: nothing that it said may be read before its supervisor has masked it.
    blind: bool,
    /// Overrides what the exit says.
    failure: Option<Failure>,
    /// What the supervisor runs in the end; run from here when the supervisor could not.
    cleanup: Cleanup,
    /// Why something of it may go on; empty when nothing does.
    left_behind: String,
    discard: bool,
    started_at_ms: u64,
}

/// The last act of an attempt (see `task::cleanup`). Stands in a file of the attempt, for an executor that comes later.
#[derive(Default, Serialize, Deserialize)]
pub struct Cleanup {
    argv: Vec<String>,
    /// Variables beside the task contract's.
    env: Vec<(String, String)>,
}

impl Cleanup {
    /// That of a program.
    pub fn of(program: &Program) -> Self {
        Self { argv: program.cleanup.clone(), env: program.env.clone() }
    }
}

/// What a new attempt begins with.
pub struct Start {
    /// What to run.
    pub program: Program,
    /// The way to an older attempt of the step, which must be over first (promise P3).
    pub replaced: Option<mpsc::Sender<Order>>,
}

/// Runs a new attempt from launch to report.
pub async fn launch(
    executor: Arc<Executor>,
    launch: Launch,
    start: Start,
    progress: Arc<Progress>,
    orders: mpsc::Receiver<Order>,
) {
    let Some(mut child) = Child::create(executor, launch, progress, orders) else { return };
    match child.start(start).await {
        Ok(watch) => child.follow(watch, "supervisor_lost").await,
        Err(failure) => {
            child.failure = Some(failure);
            child.report(None).await;
        }
    }
}

/// Follows an attempt that an earlier executor launched.
pub async fn adopt(
    executor: Arc<Executor>,
    launch: Launch,
    watch: Watch,
    cleanup: Cleanup,
    progress: Arc<Progress>,
    orders: mpsc::Receiver<Order>,
) {
    let Some(child) = Child::create(executor, launch, progress, orders) else { return };
    let variables: Vec<String> = child.launch.secrets.keys().cloned().collect();
    let mut secrets = Secrets::default();
    let mut blind = false;
    if !variables.is_empty() {
        // What it was started with counts, and its supervisor has that; the files may have changed since.
        let supervisor = record::read(&child.dir.record()).supervisor.filter(Process::is_alive);
        let own = supervisor.map(|process| Secrets::held_by(process.pid, &variables)).unwrap_or_default();
        blind = own.variables().count() < variables.len();
        // They still serve to clean up.
        let now = Secrets::read(&child.executor.config.secrets_dir, &child.launch.secrets);
        secrets = own.or(now.unwrap_or_default());
    }
    let child = Child { cleanup, mask: Mask::new(&secrets), secrets, blind, ..child };
    child.follow(watch, "executor_restart_lost").await;
}

/// Lets a durable report go out as soon as its log is safe, or has had its time.
pub async fn release(executor: &Executor, log: &AttemptLog, report_id: u64) {
    let wait = Duration::from_millis(executor.config.log_wait_ms);
    let complete = tokio::time::timeout(wait, executor.logs.stored(log)).await.unwrap_or(false);
    executor.outbox.release(report_id, complete);
}

impl Child {
    /// Creates the attempt's files, the intent among them; a disk that refuses is the end of the attempt.
    fn create(
        executor: Arc<Executor>,
        launch: Launch,
        progress: Arc<Progress>,
        orders: mpsc::Receiver<Order>,
    ) -> Option<Self> {
        let dir = executor.dir(&launch.attempt_id);
        let opened = dir
            .create()
            .and_then(|()| write_intent(&dir, &launch))
            .and_then(|()| executor.logs.open(&launch, &dir));
        match opened {
            Ok(log) => Some(Self {
                executor,
                launch,
                dir,
                log,
                progress,
                orders,
                events: Tail::default(),
                secrets: Secrets::default(),
                mask: Mask::new(&Secrets::default()),
                blind: false,
                failure: None,
                cleanup: Cleanup::default(),
                left_behind: String::new(),
                discard: false,
                started_at_ms: clock::unix_ms(),
            }),
            Err(error) => {
                error!(attempt_id = launch.attempt_id, %error, "no files for the attempt");
                let failure = platform("executor_disk", &error);
                executor.refuse(&launch, failure);
                executor.table().end(&launch.attempt_id, false);
                None
            }
        }
    }

    async fn start(&mut self, start: Start) -> Result<Watch, Failure> {
        let Start { program, replaced } = start;
        let launched_at = clock::boot_ms();
        let timeout_ms = if self.launch.timeout_ms == 0 { u64::MAX } else { self.launch.timeout_ms };
        let Self { executor, launch, dir, orders, discard, .. } = self;
        let prepared = async {
            if let Some(older) = replaced {
                // Its orders have nobody to hear them once it is over.
                older.closed().await;
            }
            executor.fetcher.bring_all(&launch.fetch, &dir.work()).await.map_err(|error| error.failure())?;
            workspace::make(&executor.store, launch).await?;
            executor.lease.held().await;
            write_inputs(executor, launch, dir, &program)
                .map_err(|error| platform("executor_disk", &error))?;
            read_secrets(executor.config.secrets_dir.clone(), launch.secrets.clone()).await
        };
        self.secrets = tokio::select! {
            prepared = prepared => prepared?,
            () = sleep(Duration::from_millis(timeout_ms)) => {
                return Err(exit::new(FailureClass::Timeout, "timeout", "timed out before its start"));
            }
            Some(Order::Kill { discard: unwanted, .. }) = orders.recv() => {
                *discard = unwanted;
                return Err(exit::new(FailureClass::Cancelled, "killed", "killed before its start"));
            }
        };
        self.mask = Mask::new(&self.secrets);
        self.cleanup = Cleanup::of(&program);
        // Not worth failing for: the system's own place has to do, or what the step says.
        if !self.launch.env.contains_key(temporary::VARIABLE)
            && let Err(error) = temporary::make(&self.dir)
        {
            warn!(attempt_id = self.launch.attempt_id, %error, "no place of its own for temporary files");
            self.log.say(&format!("no place of its own for temporary files: {error}"));
        }
        let spec = self.spec(program, launched_at);
        let (dir, attempt_id) = (self.dir.clone(), self.launch.attempt_id.clone());
        let started = tokio::task::spawn_blocking(move || handle::start(&dir, &attempt_id, &spec)).await;
        started.map_err(io::Error::other).flatten().map_err(|error| platform("supervisor_start", &error))
    }

    fn environment(&self, runner: Vec<(String, String)>) -> BTreeMap<String, String> {
        let shared = workspace::of(&self.launch, &self.executor.config.workspaces());
        let own = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let mut env = contract::environment(own, runner, &self.launch, &self.dir, &shared);
        env.extend(self.secrets.variables().map(|(name, value)| (name.clone(), value.clone())));
        env
    }

    fn spec(&self, program: Program, launched_at: u64) -> Spec {
        let config = &self.executor.config;
        let grace = self.launch.kill_grace_ms;
        Spec {
            argv: program.argv,
            env: self.environment(program.env),
            secrets: self.secrets.variables().map(|(name, _)| name.clone()).collect(),
            cleanup: program.cleanup,
            cwd: self.dir.work(),
            timeout_at: if self.launch.timeout_ms == 0 {
                0
            } else {
                launched_at.saturating_add(self.launch.timeout_ms)
            },
            kill_grace_ms: if grace == 0 { config.kill_grace_ms } else { grace },
            mem_bytes: self.launch.resources.as_ref().map_or(0, |resources| resources.mem_bytes),
            log_bytes_max: config.log_bytes_max,
            lease: self.executor.lease.path().to_owned(),
            cgroup: self
                .executor
                .cgroup
                .as_ref()
                .map(|parent| parent.join(format!("meson-{}", self.launch.attempt_id))),
            bound: config.mesos,
            cpus_milli: self.launch.resources.as_ref().map_or(0, |resources| resources.cpus_milli),
        }
    }

    async fn follow(mut self, mut watch: Watch, lost: &str) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut running = pin!(sleep(Duration::from_millis(self.executor.config.running_report_after_ms)));
        let mut announced = false;
        loop {
            tokio::select! {
                () = watch.ended() => break,
                _ = tick.tick() => self.look(false),
                Some(order) = self.orders.recv() => self.obey(order),
                () = &mut running, if !announced => {
                    announced = true;
                    self.executor.outbox.push(self.state(AttemptState::Running));
                }
            }
        }
        let mut exit = record::read(&self.dir.record()).exit;
        let mut left_behind =
            exit.as_mut().map(|exit| std::mem::take(&mut exit.left_behind)).unwrap_or_default();
        if exit.is_none() {
            warn!(attempt_id = self.launch.attempt_id, reason = lost, "the attempt vanished");
            handle::kill_left_overs(&self.dir, &self.launch.attempt_id).await;
            let Cleanup { argv, env } = std::mem::take(&mut self.cleanup);
            let mut environment = self.environment(env);
            environment.insert(cleanup::AFTER.to_owned(), cleanup::LOSS.to_owned());
            left_behind = cleanup::run(&argv, &environment).await;
            temporary::remove_soon(&self.dir).await;
            let message = "its processes vanished without an exit status";
            self.failure.get_or_insert_with(|| exit::new(FailureClass::Platform, lost, message));
        }
        if exit.as_ref().is_some_and(|exit| exit.masked) {
            self.blind = false;
        } else {
            self.hide();
        }
        // However much it said at the end, no more of it than this is in memory at once.
        loop {
            self.look(true);
            if self.events.is_at_end || self.blind {
                break;
            }
        }
        if !left_behind.is_empty() {
            let left_behind = self.mask.text(&left_behind).into_owned();
            self.left_behind = format!("what it began elsewhere may go on: {left_behind}");
            warn!(attempt_id = self.launch.attempt_id, left_behind, "not all of the attempt could be ended");
            self.log.say(&self.left_behind);
        }
        self.report(exit).await;
    }

    /// Takes secrets out of its events, as its supervisor could not; where they are not known, all of the events, unread.
    fn hide(&mut self) {
        let events = self.dir.events();
        let hidden = match self.blind {
            true => std::fs::write(&events, ""),
            false => events::scrub(&events, &self.mask),
        };
        if let Err(error) = hidden {
            warn!(attempt_id = self.launch.attempt_id, %error, "secrets may be left among its events");
        }
        if self.blind {
            let message =
                "what it said was not read: it may hold secrets whose values are not known any more";
            self.failure.get_or_insert_with(|| exit::new(FailureClass::Platform, "secrets_unknown", message));
        }
    }

    /// Reads what the step said and wrote since the last look.
    fn look(&mut self, last: bool) {
        if self.log.grew() {
            self.executor.logs.wake(&self.log);
        }
        if self.blind {
            return;
        }
        let lines = self.events.read(&self.dir.events(), last).unwrap_or_else(|error| {
            warn!(attempt_id = self.launch.attempt_id, %error, "events cannot be read");
            self.events.is_at_end = true;
            Vec::new()
        });
        for line in lines {
            let line = self.mask.line(&line);
            match self.progress.update(|said| said.take(&line)) {
                Ok(()) => {}
                Err(refused @ Refused::Malformed(_)) => self.log.say(&refused.to_string()),
                Err(refused @ Refused::OutputTooLarge) if self.failure.is_none() => {
                    self.log.say(&refused.to_string());
                    self.failure =
                        Some(exit::new(FailureClass::User, "output_too_large", &refused.to_string()));
                    self.kill(self.executor.config.kill_grace_ms);
                }
                Err(Refused::OutputTooLarge) => {}
            }
        }
    }

    fn obey(&mut self, order: Order) {
        let Order::Kill { grace_ms, discard } = order;
        self.discard |= discard;
        self.kill(grace_ms);
    }

    fn kill(&self, grace_ms: u64) {
        info!(attempt_id = self.launch.attempt_id, grace_ms, "killed");
        if let Err(error) = handle::order_kill(&self.dir, grace_ms) {
            error!(attempt_id = self.launch.attempt_id, %error, "the attempt cannot be killed");
        }
    }

    /// Says how it ended: the report to the disk and the log to the replicas, side by side.
    async fn report(self, exit: Option<Exit>) {
        let report = self.ending(exit.as_ref());
        self.log.end(report.failure.as_ref());
        self.executor.logs.wake(&self.log);
        if self.discard {
            self.executor.outbox.dropped(&self.launch.attempt_id);
            self.executor.table().end(&self.launch.attempt_id, true);
            self.executor.finish(&self.launch.attempt_id);
            return;
        }
        let pushed = self.executor.outbox.push_durable(report.clone()).await;
        self.executor.table().end(&self.launch.attempt_id, true);
        match pushed {
            Ok(id) => release(&self.executor, &self.log, id).await,
            Err(error) => {
                // A full disk must not hide the end of an attempt: said without being durable beats unsaid.
                error!(attempt_id = self.launch.attempt_id, %error, "the report is not durable");
                self.executor.outbox.push(report);
            }
        }
    }

    fn ending(&self, exit: Option<&Exit>) -> Report {
        let failure = self.failure.clone().or_else(|| {
            let exit = exit?;
            let failure = exit::failure(exit, &self.log.tail(LogStream::Stderr, exit::TAIL_BYTES_MAX))?;
            // A driver knows more of its engine than its own exit status tells.
            let verdict = (exit.cause == Cause::Exited).then(|| spec::read::<Verdict>(&self.dir.verdict()));
            Some(verdict.flatten().map_or(failure, Verdict::failure))
        });
        let failure = failure.map(|mut failure| {
            if !self.left_behind.is_empty() {
                failure.message = format!("{} ({})", failure.message, self.left_behind);
            }
            failure.message = self.mask.text(&failure.message).into_owned();
            failure
        });
        let said = self.progress.said();
        let state = if failure.is_some() { AttemptState::Failed } else { AttemptState::Succeeded };
        let too_large = failure.as_ref().is_some_and(|failure| failure.reason == "output_too_large");
        Report {
            failure,
            exit_code: exit.and_then(|exit| exit.code),
            outputs_json: if too_large { String::new() } else { said.outputs_json() },
            artifacts: said.artifacts,
            started_at_ms: exit.map_or(self.started_at_ms, |exit| exit.started_at_ms),
            ended_at_ms: exit.map_or_else(clock::unix_ms, |exit| exit.ended_at_ms),
            ..self.state(state)
        }
    }

    fn state(&self, state: AttemptState) -> Report {
        Report {
            attempt_id: self.launch.attempt_id.clone(),
            fence: self.launch.fence,
            state: state.into(),
            started_at_ms: self.started_at_ms,
            ..Report::default()
        }
    }
}

/// Off this thread: it may be a file system of the network that is asked.
async fn read_secrets(dir: PathBuf, wanted: HashMap<String, String>) -> Result<Secrets, Failure> {
    if wanted.is_empty() {
        return Ok(Secrets::default());
    }
    let read = tokio::task::spawn_blocking(move || Secrets::read(&dir, &wanted)).await;
    read.map_err(|error| platform("secret_unreadable", &error))?.map_err(|error| error.failure())
}

fn platform(reason: &str, error: &dyn std::fmt::Display) -> Failure {
    exit::new(FailureClass::Platform, reason, &error.to_string())
}

/// Writes the intent. Only for a new attempt: that of an adopted one must not be lost by writing it again.
fn write_intent(dir: &AttemptDir, launch: &Launch) -> io::Result<()> {
    match std::fs::File::create_new(dir.launch()) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created?.write_all(&launch.encode_to_vec()),
    }
}

/// The files a step starts with: its parameters, its runner's files, its workspace.
fn write_inputs(executor: &Executor, launch: &Launch, dir: &AttemptDir, program: &Program) -> io::Result<()> {
    let params = if launch.params_json.is_empty() { "{}" } else { &launch.params_json };
    std::fs::write(dir.params(), params)?;
    for (path, content) in &program.files {
        std::fs::write(path, content)?;
    }
    if !program.cleanup.is_empty() {
        std::fs::write(dir.cleanup(), spec::encode(&Cleanup::of(program)))?;
    }
    if launch.workspace.is_empty() {
        let shared = workspace::of(launch, &executor.config.workspaces());
        std::fs::create_dir_all(&shared)?;
        // Retention counts from the last use.
        std::fs::File::open(shared)?.set_modified(std::time::SystemTime::now())?;
    }
    Ok(())
}
