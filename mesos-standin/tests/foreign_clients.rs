//! Clients that nobody here wrote, unchanged from PyPI, run frameworks and an executor against the stand-in.
//!
//! `make test` installs them and names their Python environment in `MESOS_CLIENTS`; without it these tests fail.

mod support;

use std::{path::PathBuf, process::Command};

use support::Cluster;

/// Runs one of the scripts in `clients/` to its end.
fn run(script: &str, arguments: &[&str]) {
    let venv = std::env::var("MESOS_CLIENTS").unwrap_or_else(|_| {
        panic!("MESOS_CLIENTS names no Python environment: `scripts/setup-mesos-clients VENV`, then MESOS_CLIENTS=VENV")
    });
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new("timeout")
        .arg("120")
        .arg(root.join(venv).join("bin/python"))
        .arg(script)
        .args(arguments)
        .output()
        .expect("the script starts");
    assert!(
        output.status.success(),
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn pymesos_runs_a_framework_and_an_executor() {
    let mut cluster = Cluster::new(&[]);
    cluster.add_agent(&[]);
    run("pymesos_framework.py", &[cluster.master()]);
}

#[test]
fn pymesos_authenticates() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "meson hush\n").expect("written");
    let mut cluster = Cluster::new(&["--credentials", &file.path().to_string_lossy()]);
    cluster.add_agent(&[]);
    run("pymesos_framework.py", &[cluster.master(), "meson", "hush"]);
}

#[test]
fn avmesos_runs_a_framework_through_a_master_that_does_not_lead() {
    let mut cluster = Cluster::new(&[]);
    let follower = cluster.add_master(&[]);
    cluster.add_agent(&[]);
    cluster.add_agent(&[]);
    run("avmesos_framework.py", &[&follower]);
}
