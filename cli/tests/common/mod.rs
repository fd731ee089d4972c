//! What the tests of mesonctl share: the real binary as a child, and samples of what a cluster answers.

#![allow(dead_code, reason = "each test binary uses a part")]

pub mod fake;

use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};

use meson_proto::v1::watch_run_response::Update;
use meson_proto::v1::*;
use prost_types::Timestamp;
use serde_json::Value;
use tokio::process::Command;

/// What the binary left behind.
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// Standard output as one JSON document.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// Standard output as lines of JSON.
    pub fn json_lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the output is text");
        Ended {
            code: output.status.code().expect("it ended by itself"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

/// The binary with a clean environment.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesonctl"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MESON_")) {
        command.env_remove(name);
    }
    command.env("TZ", "UTC").env("RUST_LIB_BACKTRACE", "0").args(arguments).kill_on_drop(true);
    command
}

/// Runs the binary without a cluster.
pub async fn alone(arguments: &[&str]) -> Ended {
    command(arguments).output().await.expect("the binary starts").into()
}

/// Runs the binary against these endpoints.
pub async fn against(endpoints: &[&str], arguments: &[&str]) -> Ended {
    let mut command = command(arguments);
    command.env("MESON_ENDPOINTS", endpoints.join(","));
    command.output().await.expect("the binary starts").into()
}

/// An address where nobody listens.
pub fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}

/// A folder of this test alone, empty.
pub fn folder(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let unique = format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(unique);
    std::fs::create_dir_all(&path).expect("the folder of temporary files is writable");
    path
}

/// A file in a folder of its own; gives its path.
pub fn file(name: &str, text: &str) -> String {
    let path = folder("file").join(name);
    std::fs::write(&path, text).expect("the folder is writable");
    path.to_str().expect("the path is text").to_owned()
}

/// A definition with a parameter of each sort of type.
pub const DEFINITION: &str = "\
name: greet
params:
  name: { type: string, default: you }
  times: { type: integer, default: 1 }
  regions: { type: list, default: [] }
nodes:
  - { id: say, kind: shell, config: { command: \"echo {{ params.name }}\" } }
";

/// The answer of the cluster that knows [`DEFINITION`].
pub fn workflow() -> Workflow {
    let definition = meson_workflow::Definition::from_yaml(DEFINITION).expect("the definition is well");
    Workflow {
        name: "greet".to_owned(),
        version: definition.content_hash().as_str().to_owned(),
        number: 1,
        description: String::new(),
        definition_json: definition.canonical_json(),
        registered_at: at(0),
    }
}

/// A time, in seconds after the start of the sample run.
pub fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: 1_700_000_000 + seconds, nanos: 0 })
}

/// A run of three nodes.
pub fn run(status: RunStatus) -> Run {
    let ended = matches!(status, RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled);
    Run {
        run_id: "1-run".to_owned(),
        workflow: "greet".to_owned(),
        version: "a".repeat(64),
        status: status.into(),
        params_json: r#"{"name":"you"}"#.to_owned(),
        outputs_json: if status == RunStatus::Succeeded { r#"{"rmse":0.5}"#.into() } else { String::new() },
        started_at: at(0),
        ended_at: if ended { at(65) } else { None },
        sequence: 9,
        counts: Some(NodeCounts { total: 3, succeeded: 2, failed: 1, ..Default::default() }),
        request_id: "request-1".to_owned(),
        ..Default::default()
    }
}

/// A step of the sample run, two seconds long where it has ended.
pub fn node(path: &str, status: NodeStatus) -> Node {
    let ended = matches!(status, NodeStatus::Succeeded | NodeStatus::Failed);
    Node {
        path: path.to_owned(),
        kind: "shell".to_owned(),
        status: status.into(),
        attempt: 1,
        started_at: at(1),
        ended_at: if ended { at(3) } else { None },
        ..Default::default()
    }
}

/// A piece of a watched run.
pub fn update(sequence: u64, update: Update) -> WatchRunResponse {
    WatchRunResponse { update: Some(update), sequence }
}
