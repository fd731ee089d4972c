//! One machine of the test: a thread with network, mounts and hostname of its own. What it starts inherits them.
//!
//! The thread is also what its processes hang on: they are started to die with it, so that a test that crashes leaves no
//! process behind.

use std::ffi::OsStr;
use std::fs::File;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context as _, anyhow, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::{MTU, Port, tap};

type Job = Box<dyn FnOnce() + Send>;

/// Name of the device in each namespace.
const DEVICE: &str = "eth0";

/// A machine of the test.
pub struct Host {
    name: String,
    port: Port,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Identity of its network namespace, by which its processes are found.
    namespace: String,
}

impl Host {
    /// Starts the thread and gives it namespaces of its own.
    pub(super) fn new(name: &str, port: Port) -> anyhow::Result<Host> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || queue.into_iter().for_each(|job| job()))?;
        let mut host = Host {
            name: name.to_owned(),
            port,
            jobs: Some(jobs),
            thread: Some(thread),
            namespace: String::new(),
        };
        let name = name.to_owned();
        host.namespace = host
            .run(move || enter(&name))?
            .context("cannot make namespaces: root with CAP_SYS_ADMIN is needed")?;
        Ok(host)
    }

    /// Its name, which is also its hostname.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is plugged in.
    pub fn port(&self) -> Port {
        self.port
    }

    /// Runs something in its namespaces, after all that was asked of it before.
    ///
    /// # Errors
    /// When its thread has ended, which only a panic does.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
        let (sender, receiver) = mpsc::channel();
        let job: Job = Box::new(move || {
            // Whoever asked waits for it below.
            let _ = sender.send(job());
        });
        let gone = || anyhow!("the thread of {} has ended", self.name);
        self.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())?;
        receiver.recv().map_err(|_| gone())
    }

    /// Starts a process here that writes its words to a file; it is killed when this host is gone.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, command: &Command, log: File) -> anyhow::Result<Child> {
        // `setpriv` asks the kernel for the kill and becomes the program, with the same process id.
        let mut tied = Command::new("setpriv");
        tied.args([OsStr::new("--pdeathsig"), OsStr::new("KILL"), command.get_program()]);
        tied.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => tied.env(name, value),
                None => tied.env_remove(name),
            };
        }
        tied.stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(self.run(move || tied.spawn())??)
    }

    /// Makes its network device and the ways to all others; gives the other end of the device.
    pub(super) fn plug(&self, hosts: u8) -> anyhow::Result<File> {
        let port = self.port;
        self.run(move || plug(port, hosts))?
    }

    /// All processes that live in it, whoever started them.
    pub fn processes(&self) -> Vec<i32> {
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let own = std::process::id() as i32;
        pids.filter(|pid| *pid != own)
            .filter(|pid| namespace_of(&format!("/proc/{pid}/ns/net")).is_ok_and(|of| of == self.namespace))
            .collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for pid in self.processes() {
            // Only fails for one that has just ended.
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Leaves the namespaces of the machine; gives the identity of the new network namespace.
fn enter(name: &str) -> anyhow::Result<String> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)?;
    // What is mounted from here on is nobody else's, and goes when the last process does.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    nix::unistd::sethostname(name)?;
    Ok(namespace_of("/proc/thread-self/ns/net")?)
}

fn namespace_of(link: &str) -> std::io::Result<String> {
    Ok(std::fs::read_link(link)?.to_string_lossy().into_owned())
}

fn plug(port: Port, hosts: u8) -> anyhow::Result<File> {
    let device = tap::open(DEVICE)?;
    // Without it the kernel announces itself to neighbours that are not there.
    for scope in ["all", "default"] {
        // Kernels without IPv6 have no such file, and need none.
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
    }
    ip(&format!("link set {DEVICE} address {} mtu {MTU} txqueuelen 10000", text(port.mac())))?;
    ip(&format!("address add {}/24 dev {DEVICE}", port.address()))?;
    ip("link set lo up")?;
    ip(&format!("link set {DEVICE} up"))?;
    // Neighbours are known for good: a cut must stop packets, and nothing must linger when it is healed.
    for other in (0..hosts).map(Port).filter(|other| *other != port) {
        ip(&format!(
            "neighbour add {} lladdr {} dev {DEVICE} nud permanent",
            other.address(),
            text(other.mac())
        ))?;
    }
    Ok(device)
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output()?;
    ensure!(output.status.success(), "`ip {arguments}`: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
