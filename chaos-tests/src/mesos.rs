//! A cluster of the stand-in of Mesos beside a trio: masters that share an election, and agents that launch executors.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cluster::processes_in;
use crate::{Client, Cluster, Options, binary_path, until};

/// What agents say when they are known.
const REGISTERED: &str = "registered as";

/// Masters and agents, ended when dropped.
pub struct Mesos {
    /// Seconds between two pings of an agent, three of which it may miss.
    ping: &'static str,
    dir: tempfile::TempDir,
    addresses: Vec<String>,
    masters: Vec<Option<Child>>,
    agents: Vec<Option<Child>>,
}

impl Mesos {
    /// Starts two masters and agents with these attributes, each with four cores, and waits until all are known.
    ///
    /// # Errors
    /// When a binary is missing or an agent is not taken.
    pub async fn start(attributes: &[&str]) -> anyhow::Result<Mesos> {
        let mut mesos = Mesos::masters("0.5")?;
        for attributes in attributes {
            mesos.start_agents(1, attributes)?;
        }
        mesos.until_registered(attributes.len()).await?;
        Ok(mesos)
    }

    /// Starts two masters and so many agents in one process, and waits until all are known.
    ///
    /// # Errors
    /// When a binary is missing or an agent is not taken.
    pub async fn start_many(agents: usize) -> anyhow::Result<Mesos> {
        // The default: a machine that is busy with so many must not look like a partition.
        let mut mesos = Mesos::masters("15")?;
        mesos.start_agents(agents, "")?;
        mesos.until_registered(agents).await?;
        Ok(mesos)
    }

    fn masters(ping: &'static str) -> anyhow::Result<Mesos> {
        let dir = tempfile::Builder::new().prefix("meson-mesos-").tempdir()?;
        let addresses = free_addresses(2)?;
        let mut mesos = Mesos { ping, dir, addresses, masters: vec![None, None], agents: Vec::new() };
        (0..2).try_for_each(|master| mesos.start_master(master))?;
        Ok(mesos)
    }

    async fn until_registered(&self, agents: usize) -> anyhow::Result<()> {
        until("all agents are registered", || async {
            let logs = (0..self.agents.len()).map(|agent| self.log(&format!("agent-{}", agent + 1)));
            let known: usize = logs.map(|log| log.matches(REGISTERED).count()).sum();
            (known >= agents).then_some(())
        })
        .await
    }

    /// A trio on it, without executors of its own.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn trio(&self, settings: &[(&str, &str)]) -> anyhow::Result<Cluster> {
        let executor = std::path::absolute(binary_path("meson-executor")?)?;
        let own = [
            ("MESON_MESOS_MASTER", self.addresses.join(",")),
            ("MESON_MESOS_EXECUTOR_COMMAND", executor.display().to_string()),
            // As an NFS on all agents would be.
            (
                "MESON_MESOS_EXECUTOR_ENV",
                format!("{{MESON_WORKSPACES=\"{}\"}}", self.dir().join("shared").display()),
            ),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        let more = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let cluster =
            Cluster::start(Options { executors: 0, env: own.chain(more).collect(), ..Options::default() })
                .await?;
        let client = Client::new(cluster.endpoints());
        until("subscribed", || async { client.mesos().await.ok()?.subscribed.then_some(()) }).await?;
        Ok(cluster)
    }

    /// The folder of everything.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The address of a master.
    pub fn address(&self, master: usize) -> &str {
        &self.addresses[master]
    }

    /// Starts a master that is not running.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start_master(&mut self, master: usize) -> anyhow::Result<()> {
        let mut command = self.command("standin-master", &format!("master-{}", master + 1), "masters")?;
        command
            .args(["--listen", &self.addresses[master]])
            .args(["--allocation-interval", "0.1", "--agent-ping-timeout", self.ping])
            .args(["--max-agent-ping-timeouts", "3"]);
        self.masters[master] = Some(command.spawn()?);
        Ok(())
    }

    fn start_agents(&mut self, count: usize, attributes: &str) -> anyhow::Result<()> {
        let name = format!("agent-{}", self.agents.len() + 1);
        let mut command = self.command("standin-agent", &name, &name)?;
        command
            .args(["--master", &self.addresses.join(","), "--listen", "127.0.0.1:0", "--hostname", &name])
            .args(["--resources", "cpus:4;mem:8192;disk:10240", "--attributes", attributes])
            .args(["--update-retry", "1secs", "--agents", &count.to_string()]);
        self.agents.push(Some(command.spawn()?));
        Ok(())
    }

    fn command(&self, binary: &str, name: &str, folder: &str) -> anyhow::Result<Command> {
        let log = File::options().create(true).append(true).open(self.dir().join(format!("{name}.log")))?;
        let mut command = Command::new(binary_path(binary)?);
        command
            .args(["--work-dir", &self.dir().join(folder).to_string_lossy()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Ends a master at once.
    ///
    /// # Errors
    /// When it was not running.
    pub fn kill_master(&mut self, master: usize) -> anyhow::Result<()> {
        let mut child = self.masters[master].take().context("the master is not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Sends a signal to an agent's process: SIGSTOP cuts it off, SIGCONT brings it back. What it launched goes on.
    ///
    /// # Errors
    /// When it is not running.
    pub fn signal_agent(&self, agent: usize, signal: Signal) -> anyhow::Result<()> {
        let child = self.agents[agent].as_ref().context("the agent is not running")?;
        Ok(kill(Pid::from_raw(child.id() as i32), signal)?)
    }
}

impl Drop for Mesos {
    fn drop(&mut self) {
        for child in self.agents.iter_mut().chain(&mut self.masters).flatten() {
            // Only fails when it ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        // Executors wait for agents that are gone; these never come back.
        for pid in processes_in(self.dir()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn free_addresses(count: usize) -> anyhow::Result<Vec<String>> {
    // All are held open until all are known, so that no port is given twice.
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect()
}
