//! A real YARN for tests: a ResourceManager and a NodeManager of Hadoop, as processes of this machine on free ports of
//! loopback, with the machine's own file system.
//!
//! What it does is told by its ResourceManager's log: the page of this build of Hadoop leaves applications out, since what
//! writes its JSON does not know the classes under their shaded names.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;

use anyhow::{Context as _, ensure};

use crate::hadoop::Home;
use crate::ports::free_ports;
use crate::process::{end, until_up};
use crate::spark;

const RESOURCE_MANAGER: &str = "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager";
const NODE_MANAGER: &str = "org.apache.hadoop.yarn.server.nodemanager.NodeManager";
const TOOL: &str = "org.apache.hadoop.yarn.client.cli.ApplicationCLI";
const FIFO: &str = "org.apache.hadoop.yarn.server.resourcemanager.scheduler.fifo.FifoScheduler";

const LOG: &str = "resource-manager.log";

/// What the ResourceManager says when it takes nodes.
const LEADS: &str = "Transitioned to active state";
/// What the ResourceManager says when the NodeManager has come.
const READY: &str = "Node Transitioned from NEW to RUNNING";

/// An application of YARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// YARN's id of it.
    pub id: String,
    /// As YARN names it: `RUNNING`, `FINISHED`, `KILLED`, …
    pub state: String,
    /// Its tags, once it is over.
    pub tags: Vec<String>,
}

impl Application {
    /// Whether it goes on, or may still begin.
    pub fn lives(&self) -> bool {
        !["FINISHED", "FAILED", "KILLED"].contains(&self.state.as_str())
    }
}

/// The cluster. Ended when dropped, with all that runs there.
pub struct Yarn {
    home: Home,
    processes: Vec<Child>,
}

impl Yarn {
    /// Starts both processes and waits until applications can run.
    ///
    /// # Errors
    /// When Java or the jars are missing, or it does not come up.
    pub async fn start() -> anyhow::Result<Yarn> {
        let mut yarn = Yarn { home: Home::new("meson-yarn-")?, processes: Vec::new() };
        yarn.home.configure("core-site.xml", &[("fs.defaultFS", "file:///")])?;
        yarn.configure(free_ports()?)?;
        yarn.start_daemon(RESOURCE_MANAGER, LOG, LEADS).await?;
        yarn.start_daemon(NODE_MANAGER, "node-manager.log", READY).await?;
        Ok(yarn)
    }

    /// Starts one, and waits until the ResourceManager says this.
    async fn start_daemon(&mut self, class: &str, log: &str, sign: &str) -> anyhow::Result<()> {
        let mut daemon = self.home.java(class, log)?.spawn()?;
        let said = self.home.path(LOG);
        let is_up = || std::fs::read_to_string(&said).is_ok_and(|said| said.contains(sign));
        let up = until_up(sign, &mut daemon, is_up).await;
        self.processes.push(daemon);
        up.with_context(|| self.home.last_words(log))
    }

    fn configure(&self, ports: [u16; 8]) -> anyhow::Result<()> {
        let addresses = ports.map(|port| format!("127.0.0.1:{port}"));
        let folder = |name: &str| self.home.path(name).to_string_lossy().into_owned();
        let (local, logs) = (folder("local"), folder("logs"));
        let names = [
            "yarn.resourcemanager.address",
            "yarn.resourcemanager.scheduler.address",
            "yarn.resourcemanager.resource-tracker.address",
            "yarn.resourcemanager.admin.address",
            "yarn.resourcemanager.webapp.address",
            "yarn.nodemanager.address",
            "yarn.nodemanager.localizer.address",
            "yarn.nodemanager.webapp.address",
        ];
        let addresses = names.into_iter().zip(addresses.iter().map(String::as_str));
        let more = [
            ("yarn.resourcemanager.hostname", "127.0.0.1"),
            ("yarn.resourcemanager.scheduler.class", FIFO),
            ("yarn.scheduler.minimum-allocation-mb", "128"),
            ("yarn.nodemanager.hostname", "127.0.0.1"),
            ("yarn.nodemanager.local-dirs", &local),
            ("yarn.nodemanager.log-dirs", &logs),
            // More than the machine has: what runs in tests mostly waits.
            ("yarn.nodemanager.resource.memory-mb", "8192"),
            ("yarn.nodemanager.resource.cpu-vcores", "8"),
            ("yarn.nodemanager.vmem-check-enabled", "false"),
            // A disk that is nine tenths full would be none, and one is looked at whether that is wanted or not.
            ("yarn.nodemanager.disk-health-checker.enable", "false"),
            ("yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage", "100.0"),
            ("yarn.nodemanager.sleep-delay-before-sigkill.ms", "2000"),
        ];
        self.home.configure("yarn-site.xml", &addresses.chain(more).collect::<Vec<_>>())
    }

    /// Settings of an executor whose spark steps run here.
    ///
    /// # Errors
    /// When there is no Spark.
    pub fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        let own = [
            ("MESON_SPARK_MASTER", "yarn".to_owned()),
            ("HADOOP_CONF_DIR", self.home.dir().display().to_string()),
        ];
        Ok(spark::local()?.into_iter().chain(own.map(|(name, value)| (name.to_owned(), value))).collect())
    }

    /// What saves an application from carrying all of Spark to where it is already.
    ///
    /// # Errors
    /// When there is no Spark.
    pub fn conf() -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::json!({ "spark.yarn.jars": format!("local:{}/jars/*", spark::home()?.display()) }))
    }

    /// All applications that there were, in order.
    pub fn applications(&self) -> Vec<Application> {
        let log = self.home.log(LOG);
        let mut applications: BTreeMap<&str, Application> = BTreeMap::new();
        for line in log.lines() {
            if let Some((id, state)) = state(line) {
                let application =
                    Application { id: id.to_owned(), state: state.to_owned(), tags: Vec::new() };
                applications.entry(id).or_insert(application).state = state.to_owned();
            } else if let Some((id, tags)) = tags(line)
                && let Some(application) = applications.get_mut(id)
            {
                application.tags = tags;
            }
        }
        applications.into_values().collect()
    }

    /// How many processes its containers have.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn processes(&self) -> anyhow::Result<usize> {
        // Each works in a directory of its container; those that have ended meanwhile do not.
        let containers = self.home.path("local/usercache");
        let entries = Path::new("/proc").read_dir()?.flatten();
        let places = entries.filter_map(|entry| std::fs::read_link(entry.path().join("cwd")).ok());
        Ok(places.filter(|place| place.starts_with(&containers)).count())
    }

    /// Ends an application, as an operator would.
    ///
    /// # Errors
    /// When YARN refuses.
    pub fn kill(&self, id: &str) -> anyhow::Result<()> {
        let status = self.home.java(TOOL, "tool.log")?.args(["application", "-kill", id]).status()?;
        ensure!(status.success(), "{}", self.home.last_words("tool.log"));
        Ok(())
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.home.dir()
    }
}

/// The application that a line of the log tells of, and its new state.
fn state(line: &str) -> Option<(&str, &str)> {
    let (before, after) = line.split_once(" State change from ")?;
    let id = before.rsplit(' ').next().filter(|id| id.starts_with("application_"))?;
    let state = after.split_once(" to ")?.1.split(' ').next()?;
    Some((id, state))
}

/// The same for the summary of one that is over, and its tags.
fn tags(line: &str) -> Option<(&str, Vec<String>)> {
    let id = line.split_once("ApplicationSummary: appId=")?.1.split(',').next()?;
    let tags = line.split_once(",applicationTags=")?.1;
    let tags = tags.split_once(",applicationNodeLabel").map_or(tags, |(tags, _)| tags);
    Some((id, tags.split("\\,").map(str::to_owned).collect()))
}

impl Drop for Yarn {
    fn drop(&mut self) {
        // The NodeManager first: it ends its containers.
        self.processes.iter_mut().rev().for_each(end);
    }
}
