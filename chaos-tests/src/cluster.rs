//! A trio and executors as processes of this machine.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};
use meson_proto::v1::cluster_service_client::ClusterServiceClient;
use meson_proto::v1::{GetClusterStatusRequest, GetClusterStatusResponse, ReplicaRole};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::wait::until;

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// Replicas of the scheduler.
    pub replicas: usize,
    /// Executors.
    pub executors: usize,
    /// Cores that each executor offers.
    pub cpus: u32,
    /// `MESON_*` variables for all processes.
    pub env: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Options { replicas: 3, executors: 1, cpus: 8, env: Vec::new() }
    }
}

/// Running processes, ended when dropped.
pub struct Cluster {
    pub(crate) options: Options,
    dir: TempDir,
    pub(crate) ports: Vec<[u16; 3]>,
    pub(crate) replicas: Vec<Option<Child>>,
    executors: Vec<Option<Child>>,
}

impl Cluster {
    /// Starts all processes and waits until there is a leader with all executors connected.
    ///
    /// # Errors
    /// When a binary is missing or the cluster does not come up.
    pub async fn start(options: Options) -> anyhow::Result<Cluster> {
        let dir = tempfile::Builder::new().prefix("meson-cluster-").tempdir()?;
        let ports = free_ports(options.replicas)?;
        let replicas = (0..options.replicas).map(|_| None).collect();
        let executors = (0..options.executors).map(|_| None).collect();
        let mut cluster = Cluster { options, dir, ports, replicas, executors };
        (0..cluster.replicas.len()).try_for_each(|replica| cluster.start_replica(replica))?;
        (0..cluster.executors.len()).try_for_each(|executor| cluster.start_executor(executor))?;
        cluster.wait_until_ready().await?;
        Ok(cluster)
    }

    /// Addresses of all replicas' gRPC faces.
    pub fn endpoints(&self) -> Vec<String> {
        self.ports.iter().map(|[api, ..]| format!("http://127.0.0.1:{api}")).collect()
    }

    /// Where the processes keep their data and logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where a replica keeps its data.
    pub fn data_dir(&self, replica: usize) -> PathBuf {
        self.dir.path().join(format!("replica-{}", replica + 1))
    }

    /// Addresses of a replica for replicas, clients and browsers.
    pub fn addresses(&self, replica: usize) -> [String; 3] {
        let [api, raft, http] = self.ports[replica];
        [raft, api, http].map(|port| format!("http://127.0.0.1:{port}"))
    }

    /// All replicas, as settings name them.
    pub fn peers(&self) -> String {
        let peer = |replica: usize| format!("{}={}", replica + 1, self.addresses(replica).join(","));
        (0..self.ports.len()).map(peer).collect::<Vec<_>>().join(";")
    }

    /// Starts a replica that is not running.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start_replica(&mut self, replica: usize) -> anyhow::Result<()> {
        let [api, raft, http] = self.ports[replica];
        let mut command = self.command("meson-scheduler", &format!("replica-{}", replica + 1))?;
        command
            .args(["--node-id", &(replica + 1).to_string()])
            .args(["--listen", &format!("127.0.0.1:{api}")])
            .args(["--raft-listen", &format!("127.0.0.1:{raft}")])
            .args(["--http-listen", &format!("127.0.0.1:{http}")])
            .args(["--peers", &self.peers()]);
        self.replicas[replica] = Some(command.spawn()?);
        Ok(())
    }

    /// Starts an executor that is not running.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start_executor(&mut self, executor: usize) -> anyhow::Result<()> {
        let mut command = self.command("meson-executor", &format!("executor-{}", executor + 1))?;
        command
            .args(["--endpoints", &self.endpoints().join(",")])
            .args(["--cpus", &self.options.cpus.to_string()])
            .args(["--mem", "16GiB"])
            // Steps that are killed with those who look after them leave nothing outside.
            .env("TMPDIR", self.dir.path());
        self.executors[executor] = Some(command.spawn()?);
        Ok(())
    }

    fn command(&self, binary: &str, name: &str) -> anyhow::Result<Command> {
        let log =
            File::options().create(true).append(true).open(self.dir.path().join(format!("{name}.log")))?;
        let mut command = Command::new(binary_path(binary)?);
        command
            .args(["--data-dir", &self.dir.path().join(name).to_string_lossy()])
            .envs(self.options.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    /// Ends a replica at once, as a crash of its machine would.
    ///
    /// # Errors
    /// When it was not running.
    pub fn kill_replica(&mut self, replica: usize) -> anyhow::Result<()> {
        end(&mut self.replicas[replica])
    }

    /// Ends an executor at once; what it started lives on.
    ///
    /// # Errors
    /// When it was not running.
    pub fn kill_executor(&mut self, executor: usize) -> anyhow::Result<()> {
        end(&mut self.executors[executor])
    }

    /// Ends an executor and all that runs below it at once, as a crash of its machine would.
    ///
    /// # Errors
    /// When it was not running.
    pub fn kill_executor_and_attempts(&mut self, executor: usize) -> anyhow::Result<()> {
        self.kill_executor_and(executor, |_| true)
    }

    /// Ends an executor and those processes that look after its attempts at once; the steps' own live on.
    ///
    /// # Errors
    /// When it was not running.
    pub fn kill_executor_and_supervisors(&mut self, executor: usize) -> anyhow::Result<()> {
        let supervises = |pid: i32| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.split(|byte| *byte == 0).nth(1) == Some(b"supervise"))
        };
        self.kill_executor_and(executor, supervises)
    }

    fn kill_executor_and(&mut self, executor: usize, which: impl Fn(i32) -> bool) -> anyhow::Result<()> {
        end(&mut self.executors[executor])?;
        let directory = self.dir.path().join(format!("executor-{}", executor + 1));
        for pid in processes_in(&directory).into_iter().filter(|pid| which(*pid)) {
            // One that has just ended is fine too.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        Ok(())
    }

    /// Sends a signal to an executor and all that runs below it: SIGSTOP is to all others as if its machine were cut off, while
    /// its connections stay open.
    ///
    /// # Errors
    /// When it is not running.
    pub fn signal_executor_and_attempts(&self, executor: usize, signal: Signal) -> anyhow::Result<()> {
        self.executors[executor].as_ref().context("the executor is not running")?;
        let directory = self.dir.path().join(format!("executor-{}", executor + 1));
        for pid in processes_in(&directory) {
            // One that has just ended is fine too.
            let _ = kill(Pid::from_raw(pid), signal);
        }
        Ok(())
    }

    /// Sends a signal to a replica: SIGSTOP pauses it, SIGCONT lets it go on.
    ///
    /// # Errors
    /// When it is not running.
    pub fn signal_replica(&self, replica: usize, signal: Signal) -> anyhow::Result<()> {
        let child = self.replicas[replica].as_ref().context("the replica is not running")?;
        Ok(kill(Pid::from_raw(child.id() as i32), signal)?)
    }

    /// Status as one replica sees it; none when it does not answer.
    pub async fn status(&self, replica: usize) -> Option<GetClusterStatusResponse> {
        let channel = tonic::transport::Endpoint::from_shared(self.endpoints()[replica].clone()).ok()?;
        let channel = channel.timeout(std::time::Duration::from_secs(2)).connect().await.ok()?;
        let answer = ClusterServiceClient::new(channel).get_cluster_status(GetClusterStatusRequest {}).await;
        answer.ok().map(tonic::Response::into_inner)
    }

    /// Waits for a leader; gives its place among the replicas.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn leader(&self) -> anyhow::Result<usize> {
        until("a leader", || async {
            for replica in (0..self.replicas.len()).filter(|replica| self.replicas[*replica].is_some()) {
                let status = self.status(replica).await;
                if status.is_some_and(|status| status.role() == ReplicaRole::Leader) {
                    return Some(replica);
                }
            }
            None
        })
        .await
    }

    async fn wait_until_ready(&self) -> anyhow::Result<()> {
        let client = crate::Client::new(self.endpoints());
        let executors = self.options.executors;
        let ready = until("all executors connected", || async {
            let known = client.executors().await.ok()?;
            (known.iter().filter(|executor| executor.connected).count() >= executors).then_some(())
        });
        if let Err(error) = ready.await {
            bail!("{error}\n{}", self.log_tails());
        }
        Ok(())
    }

    /// The last lines of all processes' logs, for a failed test's message.
    pub fn log_tails(&self) -> String {
        let mut tails = String::new();
        for name in ["replica-1", "replica-2", "replica-3", "executor-1"] {
            let log =
                std::fs::read_to_string(self.dir.path().join(format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(15)..].join("\n");
            tails += &format!("--- {name}\n{tail}\n");
        }
        tails
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.executors.iter_mut().chain(&mut self.replicas) {
            if child.is_some() {
                // Only fails when it ended by itself.
                let _ = end(child);
            }
        }
        // Steps that outlived their executor end by its lease, or here.
        for pid in processes_in(self.dir.path()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Processes that work in this directory, or have it in their command line.
pub(crate) fn processes_in(directory: &Path) -> Vec<i32> {
    let marker = directory.to_string_lossy().into_owned();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let pids = names.filter_map(|name| name.parse::<i32>().ok());
    let started_here = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&marker))
            || std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(directory))
    };
    pids.filter(started_here).collect()
}

fn end(child: &mut Option<Child>) -> anyhow::Result<()> {
    let mut child = child.take().context("the process is not running")?;
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// The path of a binary: `MESON_BIN_DIR`, or the folder that the build puts binaries into.
///
/// # Errors
/// When it is not there.
pub fn binary_path(name: &str) -> anyhow::Result<PathBuf> {
    let dir = match std::env::var_os("MESON_BIN_DIR") {
        Some(dir) => PathBuf::from(dir),
        // Tests run from target/<profile>/deps.
        None => {
            let mut path = std::env::current_exe()?;
            path.pop();
            if path.ends_with("deps") {
                path.pop();
            }
            path
        }
    };
    let path = dir.join(name);
    if !path.exists() {
        bail!("{} is not there: build it first (`cargo build --workspace --bins`)", path.display());
    }
    Ok(path)
}

pub(crate) fn free_ports(replicas: usize) -> anyhow::Result<Vec<[u16; 3]>> {
    // All are held open until all are known, so that no port is given twice.
    let mut held = Vec::new();
    let mut ports = Vec::new();
    for _ in 0..replicas {
        let mut three = [0; 3];
        for port in &mut three {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            *port = listener.local_addr()?.port();
            held.push(listener);
        }
        ports.push(three);
    }
    Ok(ports)
}
