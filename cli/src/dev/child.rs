//! One process of the cluster: started with its log in a file, started again when it dies, stopped politely, then by
//! force. Where the system allows it, it is told to end also when this process is killed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child as Process, Command};

use super::say;
use crate::Result;
use crate::error::Error;

/// How long a process may take to stop politely.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A process that dies this often within the window is given up.
const DEATHS_MAX: usize = 5;
const DEATHS_WINDOW: Duration = Duration::from_secs(30);

/// How much of a log is shown when its process dies, in bytes.
const TAIL_BYTES: u64 = 2_000;

/// What makes the kernel tell a program to end when who started it has ended: `setpriv`, which becomes the program.
const TIE: Tie = &["setpriv", "--pdeathsig", "TERM", "--"];

/// What stands before a program so that it does not outlive this process: nothing, where that is not to be had.
pub type Tie = &'static [&'static str];

/// The one that this system has.
pub async fn tie() -> Tie {
    let mut test = Command::new(TIE[0]);
    let test =
        test.args(&TIE[1..]).arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match test.status().await {
        Ok(status) if status.success() => TIE,
        _ => &[],
    }
}

/// A program, tied to this process.
pub fn tied(tie: Tie, program: &OsStr) -> Command {
    let mut words = tie.iter().map(AsRef::as_ref).chain([program]);
    let mut command = Command::new(words.next().unwrap_or(program));
    command.args(words);
    command
}

/// How to start a process.
pub struct Spec {
    name: String,
    tie: Tie,
    binary: PathBuf,
    arguments: Vec<(&'static str, String)>,
    log: PathBuf,
    pid: PathBuf,
}

impl Spec {
    /// A process of this name; its log and pid go into folders of `dir`.
    pub fn new(
        dir: &Path,
        name: String,
        tie: Tie,
        binary: PathBuf,
        arguments: Vec<(&'static str, String)>,
    ) -> Self {
        let log = dir.join("logs").join(format!("{name}.log"));
        let pid = dir.join("pids").join(format!("{name}.pid"));
        Spec { name, tie, binary, arguments, log, pid }
    }

    fn spawn(&self) -> std::io::Result<Process> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = tied(self.tie, self.binary.as_os_str());
        for (flag, value) in &self.arguments {
            command.args([flag, value.as_str()]);
        }
        // Settings of an outer cluster must not leak in; a group of its own, so that Ctrl-C reaches only us first.
        command.env_remove("MESON_ENDPOINTS").process_group(0).kill_on_drop(true);
        let process = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        std::fs::write(&self.pid, format!("{}\n", process.id().unwrap_or_default()))?;
        Ok(process)
    }
}

/// A running process.
pub struct Child {
    spec: Spec,
    process: Process,
    deaths: Vec<Instant>,
}

impl Child {
    /// Starts it.
    pub fn start(spec: Spec) -> Result<Child> {
        let process = spec.spawn().map_err(|error| Error::usage(format!("dev: {}: {error}", spec.name)))?;
        Ok(Child { spec, process, deaths: Vec::new() })
    }

    /// Starts it again if it died; gives it up if it dies all the time.
    pub fn look_after(&mut self) -> Result<()> {
        let Ok(Some(status)) = self.process.try_wait() else { return Ok(()) };
        say(format_args!("{} died ({status}); its last words:\n{}", self.spec.name, self.tail()));
        self.deaths.retain(|death| death.elapsed() < DEATHS_WINDOW);
        self.deaths.push(Instant::now());
        if self.deaths.len() >= DEATHS_MAX {
            let message =
                format!("dev: {} dies again and again; see {}", self.spec.name, self.spec.log.display());
            return Err(Error::usage(message));
        }
        self.process =
            self.spec.spawn().map_err(|error| Error::usage(format!("dev: {}: {error}", self.spec.name)))?;
        say(format_args!("{} was started again", self.spec.name));
        Ok(())
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.spec.log)?;
            let size = file.metadata()?.len();
            file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        text.lines().map(|line| format!("  {}: {line}", self.spec.name)).collect::<Vec<_>>().join("\n")
    }
}

/// Stops all: executors before replicas, so that they can say what is left to say.
pub async fn stop_all(mut children: Vec<Child>) {
    while let Some(mut child) = children.pop() {
        if let Some(pid) = child.process.id().and_then(|pid| i32::try_from(pid).ok()) {
            // Only fails when it has ended already.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if tokio::time::timeout(STOP_TIMEOUT, child.process.wait()).await.is_err() {
            say(format_args!("{} does not stop; killing it", child.spec.name));
            // Only fails when it has ended already.
            let _ = child.process.kill().await;
        }
        // Nobody may look at a pid that is no longer its.
        let _ = std::fs::remove_file(&child.spec.pid);
    }
}
