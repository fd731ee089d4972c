//! A running system for the tests of one file: real processes that tests of the same moment share, and definitions in
//! short. Names of workflows tell the tests apart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use meson_chaos_tests::{Client, Cluster, Options};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// The cluster of this file, for as long as any of its tests holds it: processes of a static would outlive the tests.
static SHARED: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());

/// The cluster that tests of this file share, and a client of one's own.
///
/// # Errors
/// When it does not come up.
pub async fn shared() -> anyhow::Result<(Arc<Cluster>, Client)> {
    let mut shared = SHARED.lock().await;
    let cluster = match shared.upgrade() {
        Some(cluster) => cluster,
        None => Arc::new(Cluster::start(Options::default()).await?),
    };
    *shared = Arc::downgrade(&cluster);
    let client = Client::new(cluster.endpoints());
    Ok((cluster, client))
}

/// Registers a definition and starts a run of it, without parameters.
///
/// # Errors
/// What the services say.
pub async fn start(client: &Client, definition: Value) -> anyhow::Result<String> {
    let name = client.register(&definition.to_string()).await?;
    Ok(client.start(&name, "", "").await?)
}

/// A step that runs a shell command.
pub fn shell(id: &str, needs: &[&str], command: &str) -> Value {
    json!({ "id": id, "needs": needs, "kind": "shell", "config": { "command": command } })
}

/// A step that does nothing.
pub fn noop(id: &str, needs: &[&str]) -> Value {
    json!({ "id": id, "needs": needs, "kind": "noop" })
}

/// A step that does nothing and gives these outputs.
pub fn gives(id: &str, needs: &[&str], outputs: Value) -> Value {
    json!({ "id": id, "needs": needs, "kind": "noop", "config": { "outputs": outputs } })
}

/// The same with more fields.
pub fn with(mut node: Value, fields: Value) -> Value {
    if let (Some(node), Value::Object(fields)) = (node.as_object_mut(), fields) {
        node.extend(fields);
    }
    node
}

/// A command that adds a line to a file, to be counted.
pub fn mark(file: &Path, word: &str) -> String {
    format!("echo {word} >> {}", file.display())
}

/// Lines of a file, none when it is not there.
pub fn marks(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Processes that carry the run's id in their environment.
///
/// # Errors
/// When the machine's processes cannot be listed.
pub fn in_attempts_of(run_id: &str) -> anyhow::Result<Vec<PathBuf>> {
    let marker = format!("MESON_RUN_ID={run_id}");
    let carries = |dir: &PathBuf| {
        std::fs::read(dir.join("environ")).is_ok_and(|text| String::from_utf8_lossy(&text).contains(&marker))
    };
    Ok(std::fs::read_dir("/proc")?.flatten().map(|entry| entry.path()).filter(carries).collect())
}
