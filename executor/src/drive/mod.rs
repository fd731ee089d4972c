//! Drivers: for a step whose work is done by an engine elsewhere (a container engine, a cluster), this same program runs as
//! the attempt's process, follows the work and speaks the task contract for it. So supervision, lease, timeout, kill,
//! adoption and logs are the same for all steps. What the driver began is ended by its clean-up, which the supervisor
//! runs when the driver is gone, whatever ended it.

mod voice;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use meson_proto::v1::{Failure, FailureClass, Launch};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::runners::{self, Place, Program, Rejected};
use crate::secrets::Secrets;
use crate::secrets::mask::Mask;
use crate::task::dirs::{self, AttemptDir};
use crate::task::{exit, spec};

pub use voice::Voice;

/// The hidden subcommand of the driver.
pub const DRIVE: &str = "drive";
/// The hidden subcommand of its clean-up.
pub const CLEAN_UP: &str = "clean-up";
/// This same program, also when its file was replaced by a newer one.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// All that a driver is told. Its environment is that of the attempt; secrets come by that alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The step's kind.
    pub kind: String,
    /// The run.
    pub run_id: String,
    /// The workflow.
    pub workflow: String,
    /// The step's path.
    pub step: String,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Id of the attempt.
    pub attempt_id: String,
    /// Fence of the attempt.
    pub fence: u64,
    /// Directory of the attempt.
    pub dir: PathBuf,
    /// Variables that the step asks for by itself.
    pub env: Vec<(String, String)>,
    /// Variables of the driver's own environment that hold the step's secrets.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Thousandths of a core.
    pub cpus_milli: u64,
    /// Bytes of memory; 0 for no limit.
    pub mem_bytes: u64,
    /// Milliseconds from a polite end to a forced one.
    pub kill_grace_ms: u64,
    /// The step's configuration and the executor's settings for it, as the runner checked them.
    pub config: Value,
}

impl Job {
    /// The attempt's files.
    pub fn files(&self) -> AttemptDir {
        AttemptDir::new(self.dir.clone())
    }

    /// The configuration.
    ///
    /// # Errors
    /// When it is not what the runner of this version writes.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Verdict> {
        T::deserialize(&self.config).map_err(|error| Verdict::rejected("bad_configuration", error))
    }

    /// To be called before anything is begun elsewhere: from now on there is something to clean up.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn begin(&self) -> std::io::Result<()> {
        std::fs::write(self.files().begun(), "")
    }

    /// From a polite end to a forced one.
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.kill_grace_ms)
    }
}

/// Why work failed that an engine did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Name of the failure class, e.g. `user`.
    class: String,
    /// A stable word.
    reason: String,
    /// For people.
    message: String,
}

impl Verdict {
    fn new(class: FailureClass, reason: &str, message: impl ToString) -> Self {
        let class = class.as_str_name().to_owned();
        Verdict { class, reason: reason.to_owned(), message: message.to_string() }
    }

    /// The step's own code or data are at fault.
    pub fn user(reason: &str, message: impl ToString) -> Self {
        Self::new(FailureClass::User, reason, message)
    }

    /// The engine or the way to it are at fault.
    pub fn platform(reason: &str, message: impl ToString) -> Self {
        Self::new(FailureClass::Platform, reason, message)
    }

    /// It took too long.
    pub fn timeout(reason: &str, message: impl ToString) -> Self {
        Self::new(FailureClass::Timeout, reason, message)
    }

    /// What was asked for can never be done.
    pub fn rejected(reason: &str, message: impl ToString) -> Self {
        Self::new(FailureClass::Rejected, reason, message)
    }

    /// What people read.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// As it is reported.
    pub fn failure(self) -> Failure {
        let class = FailureClass::from_str_name(&self.class).unwrap_or(FailureClass::User);
        exit::new(class, &self.reason, &self.message)
    }
}

/// Set when the attempt is to end.
pub type Stop = watch::Receiver<bool>;

/// Waits until the attempt is to end.
pub async fn stopped(stop: &mut Stop) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The program of an attempt that is driven.
///
/// # Errors
/// When the configuration has no form in JSON.
pub fn program(launch: &Launch, place: &Place<'_>, config: &impl Serialize) -> Result<Program, Rejected> {
    let config = serde_json::to_value(config).map_err(|error| Rejected(error.to_string()))?;
    let resources = launch.resources.unwrap_or_default();
    let grace = if launch.kill_grace_ms == 0 { place.config.kill_grace_ms } else { launch.kill_grace_ms };
    let job = Job {
        kind: launch.kind.clone(),
        run_id: launch.run_id.clone(),
        workflow: launch.workflow.clone(),
        step: launch.step.clone(),
        attempt: launch.attempt,
        attempt_id: launch.attempt_id.clone(),
        fence: launch.fence,
        dir: place.dir.root().to_owned(),
        env: launch.env.clone().into_iter().collect(),
        secrets: launch.secrets.keys().cloned().collect(),
        cpus_milli: resources.cpus_milli,
        mem_bytes: resources.mem_bytes,
        kill_grace_ms: grace,
        config,
    };
    let path = place.dir.job();
    let text = serde_json::to_string(&job).map_err(|error| Rejected(error.to_string()))?;
    let argv =
        |what: &str| vec![OWN_PROGRAM.to_owned(), what.to_owned(), path.to_string_lossy().into_owned()];
    let (argv, cleanup) = (argv(DRIVE), argv(CLEAN_UP));
    Ok(Program { argv, cleanup, files: vec![(path, text)], ..Program::default() })
}

/// Runs a driver or its clean-up to the end of this process; none when the subcommand is neither.
pub fn run(what: &str, arguments: &[String]) -> Option<ExitCode> {
    match arguments {
        [job] if what == DRIVE || what == CLEAN_UP => Some(run_job(what, Path::new(job))),
        _ => None,
    }
}

fn run_job(what: &str, job: &Path) -> ExitCode {
    let Some(job) = spec::read::<Job>(job) else {
        // The clean-up of an attempt that did not come as far as this has nothing to do.
        return if what == CLEAN_UP && !job.exists() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime
        .map_err(|error| Verdict::platform("driver", error))
        .and_then(|runtime| runtime.block_on(work(what, &job)));
    match done {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(verdict) => {
            // An engine's words may hold what it was told.
            let secrets = Secrets::of(&std::env::vars().collect(), &job.secrets);
            let message = Mask::new(&secrets).text(&verdict.message).into_owned();
            let verdict = Verdict { message, ..verdict };
            eprintln!("{}", verdict.message());
            if what == DRIVE {
                // Without it the exit status and what stands above have to tell.
                let _ = dirs::write_whole(&job.files().verdict(), &spec::encode(&verdict));
            }
            ExitCode::FAILURE
        }
    }
}

async fn work(what: &str, job: &Job) -> Result<i32, Verdict> {
    let runner = runners::find(&job.kind)
        .ok_or_else(|| Verdict::rejected("unknown_kind", format!("there is no kind `{}`", job.kind)))?;
    if what == CLEAN_UP {
        if !job.files().begun().exists() {
            return Ok(0);
        }
        return runner.clean_up(job).await.map(|()| 0);
    }
    let mut ordered = signal(SignalKind::terminate()).map_err(|error| Verdict::platform("driver", error))?;
    let (order, stop) = watch::channel(false);
    tokio::spawn(async move {
        while ordered.recv().await.is_some() {
            let _ = order.send(true);
        }
    });
    let voice = Voice::open(&job.files().events()).map_err(|error| Verdict::platform("driver", error))?;
    runner.drive(job, &voice, stop).await
}
