//! What the tests share: a server that plays the leader, and the real binary beside it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test binary uses its own part, and all of it is test"
)]

pub mod leader;
pub mod process;

use meson_proto::v1::{AttemptState, Launch, Report};

/// A launch of a step with the test leader's usual values.
pub fn launch(attempt_id: &str, kind: &str, config: serde_json::Value) -> Launch {
    Launch {
        term: 1,
        attempt_id: attempt_id.to_owned(),
        fence: 1,
        run_id: "g1-01jd2k3m4n5p6q7r8s9t0v1w2x".to_owned(),
        workflow: "train".to_owned(),
        step: format!("step-{attempt_id}"),
        attempt: 1,
        kind: kind.to_owned(),
        config_json: config.to_string(),
        params_json: r#"{"region": "US"}"#.to_owned(),
        kill_grace_ms: 300,
        ..Launch::default()
    }
}

/// A shell step.
pub fn shell(attempt_id: &str, command: &str) -> Launch {
    launch(attempt_id, "shell", serde_json::json!({ "command": command }))
}

/// Whether it is a last report.
pub fn is_terminal(report: &Report) -> bool {
    matches!(report.state(), AttemptState::Succeeded | AttemptState::Failed)
}

/// The reason of a failed report.
pub fn reason(report: &Report) -> &str {
    report.failure.as_ref().map_or("", |failure| &failure.reason)
}
