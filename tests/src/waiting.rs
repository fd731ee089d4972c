//! Steps that note each of their beginnings and wait for word, and what becomes of them when their executor is killed. The
//! notes are files of the run's workspace. A step NAME of whatever kind keeps to this:
//!
//! 1. If a process whose id is a line of `NAME.begun` lives (`/proc/ID/cwd` is there, which a dead one's is not), it makes
//!    `NAME.beside`. It adds its own process's id to `NAME.begun`.
//! 2. It says 50 percent, the message `half`, and the data `{"begun": …}`, the number of lines.
//! 3. It waits for the file `again`, says 75 percent, waits for the file `go`, and gives the output `begun`, the same number.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use meson_chaos_tests::{Client, Cluster, until};
use meson_proto::v1::Node;
use serde_json::{Value, json};

use crate::system::{in_attempts_of, marks, start, with};

/// A run whose steps all do as this module says.
pub struct Waiting<'a> {
    client: &'a Client,
    run_id: String,
    steps: Vec<String>,
    workspace: PathBuf,
}

impl<'a> Waiting<'a> {
    /// Starts it.
    ///
    /// # Errors
    /// What the services say.
    pub async fn start(
        cluster: &Cluster,
        client: &'a Client,
        name: &str,
        nodes: &[Value],
    ) -> anyhow::Result<Waiting<'a>> {
        let retry = json!({ "retry": { "platform": { "retries": 3, "delay": "100ms" } } });
        let nodes: Vec<Value> = nodes.iter().map(|node| with(node.clone(), retry.clone())).collect();
        let steps = nodes.iter().filter_map(|node| node["id"].as_str().map(str::to_owned)).collect();
        let run_id = start(client, json!({ "name": name, "nodes": nodes })).await?;
        let workspace = cluster.dir().join("executor-1/workspaces").join(&run_id);
        Ok(Waiting { client, run_id, steps, workspace })
    }

    /// The run.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Its workspace.
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// Waits until all of its steps are seen to be in their attempt of this number, with what they say of themselves.
    ///
    /// # Errors
    /// When one is not in time, or ends.
    pub async fn seen(&self, attempt: u32, percent: f64) -> anyhow::Result<()> {
        for step in &self.steps {
            let what = format!("{step} is seen at {percent} percent of attempt {attempt}");
            let node = until(&what, || async {
                let node = self.client.node(&self.run_id, step).await.ok()?;
                (is_seen(&node, attempt, percent) || node.ended_at.is_some()).then_some(node)
            })
            .await?;
            ensure!(node.ended_at.is_none(), "{what}: {node:?}");
        }
        Ok(())
    }

    /// Gives its steps the word.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn word(&self, name: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(self.workspace.join(name), "")?)
    }

    /// Has the executor killed by itself, with all that it started, and with those who look after what it started. Only in the
    /// first case do the steps go on; in the others they begin anew, when nothing is left of what ran before.
    ///
    /// # Errors
    /// When it is otherwise.
    pub async fn outlives_crashes(&self, cluster: &mut Cluster) -> anyhow::Result<()> {
        self.seen(1, 50.0).await?;
        cluster.kill_executor(0)?;
        cluster.start_executor(0)?;
        // Only an executor that follows them hears of it.
        self.word("again")?;
        self.seen(1, 75.0).await?;

        cluster.kill_executor_and_attempts(0)?;
        cluster.start_executor(0)?;
        self.seen(2, 75.0).await?;

        cluster.kill_executor_and_supervisors(0)?;
        ensure!(!in_attempts_of(&self.run_id)?.is_empty(), "steps live on, with nobody to look after them");
        cluster.start_executor(0)?;
        self.seen(3, 75.0).await
    }

    /// Lets its steps end, and holds what they noted against the number of their beginnings.
    ///
    /// # Errors
    /// When it is otherwise.
    pub async fn ends(&self, beginnings: usize) -> anyhow::Result<()> {
        // One each: what was of attempts that were lost is gone.
        let places = self.temporary()?;
        ensure!(places.len() == self.steps.len(), "places for temporary files: {places:?}");
        self.word("go")?;
        self.client.succeed(&self.run_id).await?;
        for step in &self.steps {
            let node = self.client.node(&self.run_id, step).await?;
            ensure!(node.outputs_json == format!(r#"{{"begun":{beginnings}}}"#), "{node:?}");
            let begun = marks(&self.workspace.join(format!("{step}.begun")));
            ensure!(begun.len() == beginnings, "{step} began in {begun:?}");
            ensure!(
                !self.workspace.join(format!("{step}.beside")).exists(),
                "{step} began while an earlier attempt of it was not gone: {begun:?}"
            );
        }
        ensure!(
            in_attempts_of(&self.run_id)?.is_empty(),
            "nothing is left: {:?}",
            in_attempts_of(&self.run_id)?
        );
        ensure!(self.temporary()?.is_empty(), "no temporary files: {:?}", self.temporary()?);
        ensure!(places.iter().all(|place| !place.exists()), "no temporary files: {places:?}");
        Ok(())
    }

    /// Where its attempts have their temporary files.
    fn temporary(&self) -> anyhow::Result<Vec<PathBuf>> {
        let attempts = self.workspace.join("../../attempts").read_dir()?.collect::<Result<Vec<_>, _>>()?;
        let is_own = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(&self.run_id);
        let own = attempts.iter().filter(|attempt| is_own(&attempt.file_name()));
        Ok(own.filter_map(|attempt| attempt.path().join("tmp").read_link().ok()).collect())
    }
}

fn is_seen(node: &Node, attempt: u32, percent: f64) -> bool {
    let is_said = node.percent == Some(percent) && node.message == "half";
    let data: Value = serde_json::from_str(&node.data_json).unwrap_or_default();
    node.attempt == attempt && is_said && data == json!({ "begun": attempt })
}
