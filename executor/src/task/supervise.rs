//! The supervisor: a small process between the executor and one child, which outlives the executor.
//!
//! It claims the attempt, starts the child in a process group of its own, moves its output to the log, enforces timeout,
//! memory and lease, kills on order, and writes how it ended. As *child subreaper* it inherits every orphan of the tree,
//! so `waitpid` saying "no children" is the proof that nothing of the tree is left.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};

use super::alarm::Alarm;
use super::cgroup::Cgroup;
use super::dirs::AttemptDir;
use super::pump::Output;
use super::record::{self, Fact};
use super::spec::{self, Cause, Exit, KillOrder, Process, Spec};
use super::{cleanup, handle, memory, proc, temporary};
use crate::secrets::Secrets;
use crate::secrets::mask::Mask;
use crate::{clock, events, fs, lease};

/// How often the memory of the tree is looked at.
const MEMORY_TICK_MS: u64 = 100;
/// How often a tree that does not die is killed again.
const KILL_TICK: Duration = Duration::from_millis(10);

/// Runs the supervisor of the attempt in `dir` to its end.
///
/// # Errors
/// When the attempt cannot be claimed or its end not be written.
pub fn run(dir: &Path) -> io::Result<()> {
    nix::unistd::setsid()?;
    nix::sys::prctl::set_child_subreaper(true)?;
    let dir = AttemptDir::new(dir.to_owned());
    // One line, and no more than that is read: what follows in a pipe that stays open is its end.
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let spec: Spec = serde_json::from_str(&line)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let told = supervise(&dir, spec).await;
        // Last, so that nothing can come between the attempt's end and the word of it.
        temporary::remove_soon(&dir).await;
        told
    })
}

async fn supervise(dir: &AttemptDir, spec: Spec) -> io::Result<()> {
    // Handlers first: whoever sees the claim may send signals.
    let mut ended = signal(SignalKind::child())?;
    let mut ordered = signal(SignalKind::terminate())?;
    let mut ordered_bare = signal(SignalKind::from_raw(handle::KILL_BARE as i32))?;
    let own = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    let process = Process::of(own).ok_or_else(|| io::Error::other("/proc is missing"))?;
    record::claim(&dir.record(), &Fact::Supervisor(process))?;

    let started_at_ms = clock::unix_ms();
    let mask = Mask::new(&Secrets::of(&spec.env, &spec.secrets));
    let (mut tree, mut output) = match Tree::start(dir, spec, &mask) {
        Ok(started) => started,
        Err(exit) => return record::append(&dir.record(), &Fact::Exit(exit)),
    };
    let mut alarm = Alarm::new()?;
    let mut bond = Bond::new(tree.spec.bound)?;
    while tree.ended.is_none() {
        alarm.set(tree.next_look())?;
        tokio::select! {
            _ = ended.recv() => tree.reap(),
            _ = ordered.recv() => tree.look(),
            _ = alarm.rang() => tree.look(),
            _ = ordered_bare.recv() => tree.stop(Cause::Killed),
            () = bond.broken() => tree.stop(Cause::ExecutorGone),
            () = output.step(), if output.is_open() => {}
        }
    }
    tree.kill_rest().await;
    output.drain().await;
    let left_behind = cleanup::run(&tree.spec.cleanup, &tree.spec.env).await;
    // Nor may anything outlive it that its clean-up began.
    tree.kill_rest().await;
    // Here, because this process knows them for certain; an executor that comes later may not.
    let masked = events::scrub(&dir.events(), &mask).is_ok();
    let left_behind = mask.text(&left_behind).into_owned();
    record::append(&dir.record(), &Fact::Exit(Exit { left_behind, masked, ..tree.exit(started_at_ms) }))
}

/// The pipe from the executor: when that is gone, the pipe is closed.
struct Bond(Option<pipe::Receiver>);

impl Bond {
    fn new(bound: bool) -> io::Result<Self> {
        let pipe = || pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?);
        bound.then(pipe).transpose().map(Bond)
    }

    /// Waits until the executor is gone; then once more only for ever.
    async fn broken(&mut self) {
        match &mut self.0 {
            Some(pipe) => {
                // Nothing is ever said after the first line, so whatever comes is the end.
                let _ = pipe.read(&mut [0]).await;
                self.0 = None;
            }
            None => std::future::pending().await,
        }
    }
}

/// The child and its descendants.
struct Tree {
    dir: AttemptDir,
    spec: Spec,
    group: Pid,
    cgroup: Option<Cgroup>,
    /// Why it is being killed, and from when on with force (boot-time milliseconds).
    stopping: Option<(Cause, u64)>,
    message: String,
    next_memory_look: u64,
    ended: Option<WaitStatus>,
}

impl Tree {
    fn start(dir: &AttemptDir, spec: Spec, mask: &Mask) -> Result<(Self, Output), Exit> {
        let refuse = |cause, message: String| {
            let now = clock::unix_ms();
            Exit { cause, message, masked: true, started_at_ms: now, ended_at_ms: now, ..Exit::default() }
        };
        if let Some((cause, _)) = due(dir, &spec, clock::boot_ms()) {
            return Err(refuse(cause, String::new()));
        }
        let failed = |error: io::Error| {
            let cause = if is_the_programs_fault(&error) { Cause::StartFailed } else { Cause::StartRefused };
            refuse(cause, format!("cannot start {}: {error}", spec.argv[0]))
        };
        // Without a cgroup the tree's memory is watched by /proc.
        let cgroup =
            spec.cgroup.as_ref().and_then(|path| Cgroup::create(path, spec.mem_bytes, spec.cpus_milli).ok());
        let mut child = match &cgroup {
            Some(cgroup) => cgroup.within(|| spawn(&spec)),
            None => spawn(&spec),
        }
        .map_err(failed)?;
        let pid = i32::try_from(child.id()).expect("linux pids fit into 31 bits");
        if let Some(process) = Process::of(pid) {
            // Only a second way to find the tree, should the supervisor die: not worth failing for.
            let _ = record::append(&dir.record(), &Fact::Child(process));
        }
        let output = Output::new(dir, &mut child, spec.log_bytes_max, mask).map_err(|error| {
            // Nothing of it may go on unsupervised; it has hardly begun.
            proc::kill_hard(&[pid]);
            failed(error)
        })?;
        let group = Pid::from_raw(pid);
        let next_memory_look = clock::boot_ms() + MEMORY_TICK_MS;
        let (dir, message) = (dir.clone(), String::new());
        Ok((
            Self { dir, spec, group, cgroup, stopping: None, message, next_memory_look, ended: None },
            output,
        ))
    }

    /// When something has to be decided again, in boot-time milliseconds.
    fn next_look(&self) -> u64 {
        if let Some((_, force_at)) = self.stopping {
            return force_at.min(lease::read(&self.spec.lease).force_at).max(clock::boot_ms() + 10);
        }
        let timeout = if self.spec.timeout_at == 0 { u64::MAX } else { self.spec.timeout_at };
        let memory = if !self.watches_memory() { u64::MAX } else { self.next_memory_look };
        lease::read(&self.spec.lease).kill_at.min(timeout).min(memory)
    }

    fn look(&mut self) {
        let now = clock::boot_ms();
        if let Some((cause, force_at)) = self.stopping {
            // A second order may be less patient than the first.
            let ordered =
                spec::read::<KillOrder>(&self.dir.kill()).map_or(u64::MAX, |order| now + order.grace_ms);
            let force_at = force_at.min(ordered);
            self.stopping = Some((cause, force_at));
            // However much patience was ordered, nothing outlives the lease (P3).
            if now >= force_at.min(lease::read(&self.spec.lease).force_at) {
                self.kill_all();
            }
            return;
        }
        if let Some((cause, force_at)) = due(&self.dir, &self.spec, now).or_else(|| self.memory_due(now)) {
            self.stopping = Some((cause, force_at));
            // The group may be gone while orphans of it live on; they get the forceful signal.
            let _ = killpg(self.group, Signal::SIGTERM);
        }
    }

    fn stop(&mut self, cause: Cause) {
        if self.stopping.is_none() {
            self.stopping = Some((cause, clock::boot_ms() + self.spec.kill_grace_ms));
            let _ = killpg(self.group, Signal::SIGTERM);
        }
    }

    fn watches_memory(&self) -> bool {
        self.spec.mem_bytes != 0 && self.cgroup.is_none()
    }

    fn memory_due(&mut self, now: u64) -> Option<(Cause, u64)> {
        if !self.watches_memory() || now < self.next_memory_look {
            return None;
        }
        self.next_memory_look = now + MEMORY_TICK_MS;
        let tree = proc::descendants(std::process::id().try_into().ok()?);
        let used = memory::above(&tree, self.spec.mem_bytes)?;
        self.message = format!("used {used} bytes of memory, more than its limit of {}", self.spec.mem_bytes);
        // No grace: the next moment may take the machine down.
        self.kill_all();
        Some((Cause::OutOfMemory, now))
    }

    fn kill_all(&self) {
        let _ = killpg(self.group, Signal::SIGKILL);
        if let Ok(own) = i32::try_from(std::process::id()) {
            proc::kill_hard(&proc::descendants(own));
        }
    }

    /// Takes in the dead; returns nothing but sets `ended` when the child is among them.
    fn reap(&mut self) {
        while self.reap_one() == Ok(true) {}
    }

    /// Whether somebody was taken in; `ECHILD` when there is nobody left at all.
    fn reap_one(&mut self) -> Result<bool, Errno> {
        let status = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG))?;
        if status.pid() == Some(self.group)
            && matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..))
        {
            self.ended = Some(status);
        }
        Ok(status != WaitStatus::StillAlive)
    }

    /// The child has ended: nothing of its tree may outlive it.
    async fn kill_rest(&mut self) {
        loop {
            match self.reap_one() {
                Ok(true) => continue,
                Ok(false) => self.kill_all(),
                Err(_) => return,
            }
            tokio::time::sleep(KILL_TICK).await;
        }
    }

    fn exit(&self, started_at_ms: u64) -> Exit {
        let (code, signal) = match self.ended {
            Some(WaitStatus::Exited(_, code)) => (Some(code), None),
            Some(WaitStatus::Signaled(_, signal, _)) => (None, Some(signal as i32)),
            _ => (None, None),
        };
        let mut cause = self.stopping.map_or(Cause::Exited, |(cause, _)| cause);
        let mut message = self.message.clone();
        // Where the kernel holds the limit, it kills without a word to us. One that ended well all the same did its work.
        let killed = self.cgroup.as_ref().is_some_and(Cgroup::ran_out_of_memory);
        if killed && cause == Cause::Exited && code != Some(0) {
            cause = Cause::OutOfMemory;
            message = format!("used more memory than its limit of {} bytes", self.spec.mem_bytes);
        }
        Exit { cause, code, signal, message, started_at_ms, ended_at_ms: clock::unix_ms(), ..Exit::default() }
    }
}

/// Whether the attempt must end now, why, and from when on with force.
fn due(dir: &AttemptDir, spec: &Spec, now: u64) -> Option<(Cause, u64)> {
    let lease = lease::read(&spec.lease);
    if now >= lease.kill_at {
        return Some((Cause::LeaseExpired, lease.force_at.min(now + spec.kill_grace_ms)));
    }
    if let Some(order) = spec::read::<KillOrder>(&dir.kill()) {
        return Some((Cause::Killed, now + order.grace_ms));
    }
    (spec.timeout_at != 0 && now >= spec.timeout_at).then_some((Cause::TimedOut, now + spec.kill_grace_ms))
}

/// Whether the same program would not start elsewhere either. All else, such as a machine with too many processes, passes.
fn is_the_programs_fault(error: &io::Error) -> bool {
    use Errno::*;
    let named = [ENOENT, ENOTDIR, EISDIR, EACCES, EPERM, ENOEXEC, E2BIG, EINVAL, ELOOP, ENAMETOOLONG];
    error.raw_os_error().is_some_and(|code| named.contains(&Errno::from_raw(code)))
}

fn spawn(spec: &Spec) -> io::Result<Child> {
    let (program, arguments) =
        spec.argv.split_first().ok_or_else(|| io::Error::other("no program is given"))?;
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(&spec.env)
        // This same program, for as long as the step lives, also when its file is replaced by a newer one.
        .env(fs::VARIABLE, format!("/proc/{}/exe", std::process::id()))
        .current_dir(&spec.cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}
