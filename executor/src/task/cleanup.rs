//! The last act of an attempt: a program that ends what the attempt began outside of its process tree, such as a container
//! or an application of a cluster. It runs when the tree is gone, however that came, and may run more than once.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;

/// How long it may take. An engine that does not answer until then is said to have been left as it is.
pub const CLEANUP_MAX: Duration = Duration::from_secs(60);

/// The variable that tells it what came before.
pub const AFTER: &str = "MESON_CLEAN_UP_AFTER";
/// Its value when the attempt was lost with its executor, so that another one may follow it.
pub const LOSS: &str = "loss";

/// Longest part of its output that is kept.
const MESSAGE_BYTES_MAX: usize = 1_000;

/// Runs it in this environment; returns why something may be left behind, or nothing.
pub async fn run(argv: &[String], env: &BTreeMap<String, String>) -> String {
    let Some((program, arguments)) = argv.split_first() else { return String::new() };
    let started = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(env)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let child = match started {
        Ok(child) => child,
        Err(error) => return error.to_string(),
    };
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    let ended = tokio::time::timeout(CLEANUP_MAX, child.wait_with_output()).await;
    // What it began goes with it.
    group.map(|group| killpg(group, Signal::SIGKILL));
    match ended {
        Ok(Ok(output)) if output.status.success() => String::new(),
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim();
            let start = said.len().saturating_sub(MESSAGE_BYTES_MAX);
            let start =
                (start..=said.len()).find(|start| said.is_char_boundary(*start)).unwrap_or(said.len());
            format!("{}: {}", output.status, &said[start..])
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", CLEANUP_MAX.as_secs()),
    }
}
