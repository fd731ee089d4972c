//! A real HDFS for tests: a NameNode and a DataNode of Hadoop, as processes of this machine on free ports of loopback.

use std::path::Path;
use std::process::Child;

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::hadoop::Home;
use crate::ports::free_ports;
use crate::process::until_up;

const NAME_NODE: &str = "org.apache.hadoop.hdfs.server.namenode.NameNode";
const DATA_NODE: &str = "org.apache.hadoop.hdfs.server.datanode.DataNode";

/// What the NameNode says when it takes writes, which is once the DataNode has come.
const READY: &str = "Leaving safe mode";

/// The file system. Ended when dropped, with all files.
pub struct Hdfs {
    home: Home,
    port: u16,
    name_node: Option<Child>,
    data_node: Option<Child>,
}

impl Hdfs {
    /// Formats it, starts both processes and waits until files can be written.
    ///
    /// # Errors
    /// When Java or the jars are missing, or it does not come up.
    pub async fn start() -> anyhow::Result<Hdfs> {
        let home = Home::new("meson-hdfs-")?;
        let [port] = free_ports()?;
        let mut hdfs = Hdfs { home, port, name_node: None, data_node: None };
        hdfs.home.configure("core-site.xml", &[("fs.defaultFS", &hdfs.address())])?;
        hdfs.configure()?;
        let formatted = hdfs
            .home
            .java(NAME_NODE, "format.log")?
            .args(["-format", "-force", "-nonInteractive"])
            .status()?;
        ensure!(formatted.success(), "HDFS cannot be formatted:\n{}", hdfs.home.log("format.log"));
        hdfs.data_node = Some(hdfs.home.java(DATA_NODE, "data-node.log")?.spawn()?);
        hdfs.start_name_node().await?;
        Ok(hdfs)
    }

    /// Its address: `hdfs://127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("hdfs://127.0.0.1:{}", self.port)
    }

    /// Starts the NameNode where it does not run, and waits until files can be written.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_name_node(&mut self) -> anyhow::Result<()> {
        let before = self.home.log("name-node.log").matches(READY).count();
        let started = self.home.java(NAME_NODE, "name-node.log")?.spawn()?;
        let log = self.home.path("name-node.log");
        let is_up = || std::fs::read_to_string(&log).is_ok_and(|log| log.matches(READY).count() > before);
        let up = until_up("the NameNode leaves safe mode", self.name_node.insert(started), is_up).await;
        up.with_context(|| self.home.last_words("name-node.log"))
    }

    /// Ends the NameNode at once.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill_name_node(&mut self) -> anyhow::Result<()> {
        if let Some(mut name_node) = self.name_node.take() {
            name_node.kill()?;
            name_node.wait()?;
        }
        Ok(())
    }

    /// Stops the NameNode in mid-work: it keeps its connections, takes new ones, and answers none.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause_name_node(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume_name_node(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let name_node = self.name_node.as_ref().context("the NameNode does not run")?;
        Ok(kill(Pid::from_raw(i32::try_from(name_node.id())?), signal)?)
    }

    /// As few surprises and as little waiting as one node of each kind allows.
    fn configure(&self) -> anyhow::Result<()> {
        let folder = |name: &str| format!("file://{}", self.home.path(name).display());
        let all = [
            ("dfs.replication", "1"),
            ("dfs.namenode.name.dir", &folder("name")),
            ("dfs.datanode.data.dir", &folder("data")),
            ("dfs.namenode.rpc-address", &format!("127.0.0.1:{}", self.port)),
            ("dfs.namenode.http-address", "127.0.0.1:0"),
            ("dfs.datanode.address", "127.0.0.1:0"),
            ("dfs.datanode.http.address", "127.0.0.1:0"),
            ("dfs.datanode.ipc.address", "127.0.0.1:0"),
            ("dfs.namenode.safemode.extension", "0"),
            ("dfs.namenode.safemode.min.datanodes", "1"),
            ("dfs.namenode.fs-limits.min-block-size", "1048576"),
            ("dfs.blocksize", "1048576"),
            ("dfs.heartbeat.interval", "1"),
            ("dfs.datanode.du.reserved", "0"),
            // As large clusters set it: the name node hears of a block well after the client has moved on to the next.
            ("dfs.blockreport.incremental.intervalMsec", "250"),
        ];
        self.home.configure("hdfs-site.xml", &all)
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.home.dir()
    }
}

impl Drop for Hdfs {
    fn drop(&mut self) {
        for process in [self.name_node.as_mut(), self.data_node.as_mut()].into_iter().flatten() {
            // One that has ended already is as good.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
