//! The real binary on a data directory of its own, and a look at the processes of the machine.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use meson_executor::task::proc;
use meson_executor::task::record::{self, Record};

use super::leader::PATIENCE;

/// An executor process; killed, with its attempts, when it is dropped.
pub struct Executor {
    child: Child,
    pub data_dir: PathBuf,
    endpoints: String,
    flags: Vec<String>,
    _dir: tempfile::TempDir,
}

impl Executor {
    /// Starts one that knows these replicas.
    pub fn start(endpoints: &[&str], flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let endpoints = endpoints.join(",");
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let child = spawn(&data_dir, &endpoints, &flags);
        Self { child, data_dir, endpoints, flags, _dir: dir }
    }

    /// Sends a signal to the executor alone.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// `kill -9`, and waits for its end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end by itself.
    pub fn wait(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }

    /// Starts it again on the same directory.
    pub fn restart(&mut self) {
        self.child = spawn(&self.data_dir, &self.endpoints, &self.flags);
    }

    /// The attempt's directory.
    pub fn attempt(&self, attempt_id: &str) -> PathBuf {
        self.data_dir.join("attempts").join(attempt_id)
    }
}

impl Executor {
    /// What is recorded of an attempt.
    pub fn recorded(&self, attempt_id: &str) -> Record {
        record::read(&self.attempt(attempt_id).join("record.jsonl"))
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let Ok(entries) = std::fs::read_dir(self.data_dir.join("attempts")) else { return };
        for entry in entries.flatten() {
            if let Some(name) = entry.file_name().to_str() {
                proc::kill_hard(&processes_of(name, &self.data_dir));
            }
        }
    }
}

/// A command of the real binary.
pub fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_meson-executor"))
}

fn spawn(data_dir: &Path, endpoints: &str, flags: &[String]) -> Child {
    binary()
        .args(["--data-dir", data_dir.to_str().unwrap(), "--endpoints", endpoints])
        .args(flags)
        .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".into()))
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

/// Living processes of an attempt below this data directory: its supervisor and its tree.
pub fn processes_of(attempt_id: &str, data_dir: &Path) -> Vec<i32> {
    let mut pids = proc::with_environment("MESON_ATTEMPT_ID", attempt_id);
    pids.retain(|pid| {
        let text = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let ours = data_dir.to_string_lossy().into_owned();
        let mentions = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains(&ours);
        proc::stat(*pid).is_some_and(|stat| stat.state != 'Z')
            && (mentions(text("cmdline")) || mentions(text("environ")))
    });
    pids
}

/// Waits until a condition of the machine holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up, "never happened: {what}");
        // tidy: allow sleep: a condition outside this process gives no notice, it is asked again
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
