//! The executor's side of a process tree: start its supervisor, find it again after a restart, order it to kill.

use std::io::{self, Write};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tracing::warn;

use super::dirs::{AttemptDir, write_whole};
use super::proc;
use super::record::{self, Fact};
use super::spec::{self, KillOrder, Process, Spec};
use crate::sabotage;
use crate::secrets::Secrets;

/// How often a supervisor that is not our child is looked at.
const ADOPTED_TICK: Duration = Duration::from_millis(50);
/// How often left-overs are killed again.
const KILL_TICK: Duration = Duration::from_millis(10);
/// The supervisor is this same program, also when its file was replaced by a newer one.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Tells a supervisor to kill the tree when no order could be written.
pub const KILL_BARE: Signal = Signal::SIGUSR1;
/// The hidden subcommand.
pub const SUPERVISE: &str = "supervise";

/// A supervisor to wait for.
#[derive(Debug)]
pub enum Watch {
    /// Started by this process. One that is bound to it ends when the pipe is closed, however that comes.
    Own(Child, Option<io::PipeWriter>),
    /// Started by an earlier executor.
    Adopted(Process),
    /// There is none (any more).
    Gone,
}

impl Watch {
    /// Waits until it is gone. May be cancelled.
    pub async fn ended(&mut self) {
        match self {
            // An error says that it is no child of ours any more, which is the same.
            Self::Own(child, _) => drop(child.wait().await),
            Self::Adopted(process) => {
                while process.is_alive() {
                    tokio::time::sleep(ADOPTED_TICK).await;
                }
            }
            Self::Gone => {}
        }
    }
}

/// Starts the supervisor and tells it what to run. Blocks until its program runs, about a millisecond.
///
/// # Errors
/// When the system refuses.
pub fn start(dir: &AttemptDir, attempt_id: &str, spec: &Spec) -> io::Result<Watch> {
    // By a pipe: a supervisor whose executor dies in mid-sentence has nothing to run and claims nothing.
    let (listens, mut says) = io::pipe()?;
    let child = Command::new(OWN_PROGRAM)
        .arg(SUPERVISE)
        .arg(dir.root())
        .env_clear()
        .envs(sabotage::inherited())
        .env("MESON_ATTEMPT_ID", attempt_id)
        // For the next executor, which has to mask what the step says: only while it lives, and for this user alone.
        .envs(Secrets::of(&spec.env, &spec.secrets).held())
        .stdin(listens)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // A supervisor that hears nothing ends by itself, which is noticed like any other end of it.
    let said = says.write_all(&spec::encode(spec)).and_then(|()| says.write_all(b"\n"));
    if let Err(error) = said {
        warn!(attempt_id, %error, "the supervisor does not listen");
    }
    Ok(Watch::Own(child, spec.bound.then_some(says)))
}

/// Finds the supervisor of an attempt that an earlier executor launched. An attempt that nobody supervises yet is given
/// up: a supervisor that comes late cannot claim it any more, so it never runs.
///
/// # Errors
/// When the disk refuses.
pub fn find(dir: &AttemptDir) -> io::Result<Watch> {
    match record::claim(&dir.record(), &Fact::GivenUp) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other.map(|()| Watch::Gone),
    }
    Ok(match record::read_claimed(&dir.record()).supervisor {
        Some(process) if process.is_alive() => Watch::Adopted(process),
        _ => Watch::Gone,
    })
}

/// Orders the supervisor to kill the tree.
///
/// The order is a file, written before the claim is looked at; the supervisor writes its claim before it looks for an
/// order. So either it sees the order, or we see the claim and wake it. On a full disk a signal alone has to do, which
/// says nothing of the grace.
///
/// # Errors
/// When the disk refuses, and there is no supervisor yet.
pub fn order_kill(dir: &AttemptDir, grace_ms: u64) -> io::Result<()> {
    let written = write_whole(&dir.kill(), &spec::encode(&KillOrder { grace_ms }));
    let signal = if written.is_ok() { Signal::SIGTERM } else { KILL_BARE };
    match record::read(&dir.record()).supervisor.filter(Process::is_alive) {
        // It may have ended in between, which is what is wanted.
        Some(process) => drop(kill(Pid::from_raw(process.pid), signal)),
        None => written?,
    }
    Ok(())
}

/// Kills what a supervisor that died left behind: the child's group and all that carry the attempt's id.
pub async fn kill_left_overs(dir: &AttemptDir, attempt_id: &str) {
    // Twice in a row, because a process in the middle of its exec shows no environment for a moment.
    const EMPTY_LOOKS: u32 = 2;
    let child = record::read(&dir.record()).child;
    let mut empty_looks = 0;
    while empty_looks < EMPTY_LOOKS {
        let mut left = proc::with_environment("MESON_ATTEMPT_ID", attempt_id);
        if let Some(child) = child.as_ref().filter(|child| child.is_alive()) {
            left.extend(proc::descendants(child.pid));
            left.push(child.pid);
        }
        left.retain(|pid| proc::stat(*pid).is_some_and(|stat| stat.state != 'Z'));
        empty_looks = if left.is_empty() { empty_looks + 1 } else { 0 };
        proc::kill_hard(&left);
        tokio::time::sleep(KILL_TICK).await;
    }
}
