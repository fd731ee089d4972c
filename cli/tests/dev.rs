//! `dev`, with stand-ins for the programs: shell scripts in place of the replicas, the fake in place of their answers.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use common::fake::Fake;
use common::*;
use meson_proto::v1::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A folder with programs that run this script.
fn programs(script: &str) -> String {
    let dir = folder("bin");
    for name in ["meson-scheduler", "meson-executor"] {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("the folder is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    dir.to_str().expect("the path is text").to_owned()
}

/// `dev` of one replica, whose answers come from the fake at its port.
async fn dev(script: &str, data: &Path, port: u16, arguments: &[&str]) -> Ended {
    let (data, port) = (data.to_str().expect("the path is text"), port.to_string());
    let fixed = ["dev", "--replicas", "1", "--executors", "0", "--data-dir", data, "--port", &port];
    let mut command = command(&[&fixed, arguments].concat());
    command.env("MESON_BIN_DIR", programs(script));
    command.output().await.expect("the binary starts").into()
}

/// A fake that leads, and its port.
fn leader() -> (Fake, u16) {
    let fake = Fake::start();
    let role = ReplicaRole::Leader.into();
    fake.script.status.then(Ok(GetClusterStatusResponse { node_id: 1, role, ..Default::default() }));
    fake.script.list_executors.then(Ok(ListExecutorsResponse::default()));
    let port = fake.address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("it has a port");
    (fake, port)
}

#[tokio::test]
async fn a_command_runs_once_all_is_up_and_gives_its_exit_code() {
    let (fake, port) = leader();
    let data = folder("dev");
    let script = "echo \"$0 $*\"\ntrap 'echo asked to stop; exit 0' TERM\nwhile :; do sleep 0.05; done";
    let ended = dev(script, &data, port, &["--exec", "echo $MESON_ENDPOINTS; exit 7"]).await;
    assert_eq!((ended.code, ended.out), (7, format!("{}\n", fake.address)), "{}", ended.err);
    let log = fs::read_to_string(data.join("logs/replica-1.log")).expect("its log is kept");
    let raft = port + 1;
    assert!(log.contains(&format!("--node-id 1 --data-dir {}", data.join("replica-1").display())), "{log}");
    assert!(log.contains(&format!("--listen 127.0.0.1:{port} --raft-listen 127.0.0.1:{raft}")), "{log}");
    assert!(log.contains(&format!("--peers 1=http://127.0.0.1:{raft},http://127.0.0.1:{port},")), "{log}");
    assert!(log.ends_with("asked to stop\n"), "it is stopped politely: {log}");
}

#[tokio::test]
async fn a_replica_that_only_dies_is_reported_and_given_up() {
    let ended = dev("echo no space left; exit 3", &folder("dev"), 1, &["--exec", "true"]).await;
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("replica-1 died (exit status: 3)"), "{}", ended.err);
    assert!(ended.err.contains("replica-1: no space left"), "its last words: {}", ended.err);
    assert!(ended.err.contains("dies again and again; see "), "{}", ended.err);
}

#[tokio::test]
async fn programs_that_are_not_there_are_named() {
    let mut command = command(&["dev", "--data-dir", folder("dev").to_str().expect("text")]);
    let ended: Ended = command.env("MESON_BIN_DIR", "/nowhere").output().await.expect("it starts").into();
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("/nowhere/meson-scheduler is not there"), "{}", ended.err);
}

/// `dev` whose command goes on and on, once that has begun.
async fn busy(script: &str, data: &Path, port: u16) -> tokio::process::Child {
    let (data, port) = (data.to_str().expect("the path is text"), port.to_string());
    let fixed = ["dev", "--replicas", "1", "--executors", "0", "--data-dir", data, "--port", &port];
    let mut command = command(&[&fixed[..], &["--exec", "echo started; exec sleep 60"]].concat());
    command.env("MESON_BIN_DIR", programs(script));
    command.stdout(std::process::Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut said = [0; 8];
    let mut out = child.stdout.take().expect("it is piped");
    tokio::io::AsyncReadExt::read_exact(&mut out, &mut said).await.expect("the command runs");
    child
}

async fn ended_by(mut child: tokio::process::Child, signal: Signal) -> std::process::ExitStatus {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).expect("it runs");
    kill(Pid::from_raw(pid), signal).expect("it is ours");
    child.wait().await.expect("it ends")
}

#[tokio::test]
async fn an_interrupted_command_has_not_succeeded() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let (_fake, port) = leader();
        let child = busy("while :; do sleep 0.05; done", &folder("dev"), port).await;
        let status = ended_by(child, signal).await;
        assert_eq!(status.code(), Some(code), "as a program that {signal} ended");
    }
}

#[tokio::test]
async fn what_is_killed_leaves_nothing_running() {
    let (_fake, port) = leader();
    let data = folder("dev");
    let script = "trap 'echo told to end; exit 0' TERM\necho ready\nwhile :; do sleep 0.05; done";
    let child = busy(script, &data, port).await;
    let log = data.join("logs/replica-1.log");
    says(&log, "ready\n").await;
    ended_by(child, Signal::SIGKILL).await;
    says(&log, "told to end\n").await;
}

/// Waits for the last words of a log.
async fn says(log: &Path, words: &str) {
    let waiting = async {
        while !fs::read_to_string(log).is_ok_and(|log| log.ends_with(words)) {
            // tidy: allow sleep: it looks at another process
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect(words);
}

#[tokio::test]
async fn under_nohup_a_closed_terminal_ends_nothing() {
    let (_fake, port) = leader();
    let (data, port) = (folder("dev"), port.to_string());
    let data = data.to_str().expect("the path is text");
    let program =
        command(&["dev", "--replicas", "1", "--executors", "0", "--data-dir", data, "--port", &port]);
    let mut nohup = tokio::process::Command::new("nohup");
    nohup.arg(program.as_std().get_program()).args(program.as_std().get_args());
    nohup
        .args(["--exec", "kill -HUP $PPID; exit 7"])
        .env("MESON_BIN_DIR", programs("while :; do sleep 0.05; done"));
    let ended: Ended = nohup.output().await.expect("it starts").into();
    assert_eq!(ended.code, 7, "{}", ended.err);
}
