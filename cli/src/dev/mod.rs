//! `mesonctl dev`: a trio and executors as children of this process, until Ctrl-C or the end of `--exec`.

mod child;

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use meson_proto::v1::ReplicaRole;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Dev;
use crate::client::Client;
use crate::error::Error;
use crate::{Exit, Result, cluster, program};
use child::{Child, Spec, Tie};

/// How long the cluster may take to come up.
const UP_TIMEOUT: Duration = Duration::from_secs(60);

/// How often children are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs until told to stop.
pub async fn run(options: Dev) -> Result {
    let cannot = |error: std::io::Error| Error::usage(format!("dev: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let hang_up = hang_up().map_err(cannot)?;
    let tie = child::tie().await;
    let mut children = specs(&options, tie)?.into_iter().map(Child::start).collect::<Result<Vec<Child>>>()?;
    let work = work(&options, tie, &mut children);
    let result = tokio::select! {
        result = work => result,
        _ = terminate.recv() => Ok(stopped(&options, 143)),
        _ = interrupt.recv() => Ok(stopped(&options, 130)),
        () = hang_up => Ok(stopped(&options, 129)),
    };
    say(format_args!("stopping"));
    child::stop_all(children).await;
    result
}

/// Ends when the terminal is closed; never under `nohup`.
fn hang_up() -> std::io::Result<impl Future<Output = ()>> {
    let mut signal =
        (!is_ignored(SignalKind::hangup())?).then(|| signal(SignalKind::hangup())).transpose()?;
    Ok(async move {
        match &mut signal {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    })
}

/// Whether whoever started this wants a signal to be ignored.
fn is_ignored(signal: SignalKind) -> std::io::Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    Ok(ignored >> (signal.as_raw_value() - 1) & 1 == 1)
}

/// Tells the user, who may have closed the terminal.
fn say(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "dev: {text}");
}

/// Being stopped is the usual end, but a command of `--exec` has not done its work then.
fn stopped(options: &Dev, status: u8) -> Exit {
    if options.exec.is_some() { Exit::Status(status) } else { Exit::Succeeded }
}

async fn work(options: &Dev, tie: Tie, children: &mut [Child]) -> Result {
    let endpoints = endpoints(options);
    let client = Client::new(&endpoints, UP_TIMEOUT);
    wait_until_up(&client, options, children).await?;
    let Some(command) = &options.exec else {
        greet(options, &endpoints);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            look_after(children)?;
        }
    };
    let mut command = shell(tie, command, &endpoints)?;
    loop {
        tokio::select! {
            status = command.wait() => {
                let status = status.map_err(|error| Error::usage(format!("--exec: {error}")))?;
                let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
                return Ok(Exit::Status(code));
            }
            () = tokio::time::sleep(LOOK_EVERY) => look_after(children)?,
        }
    }
}

fn shell(tie: Tie, command: &str, endpoints: &[String]) -> Result<tokio::process::Child> {
    child::tied(tie, "sh".as_ref())
        .args(["-c", command])
        .env("MESON_ENDPOINTS", endpoints.join(","))
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Error::usage(format!("--exec: {error}")))
}

fn look_after(children: &mut [Child]) -> Result<()> {
    children.iter_mut().try_for_each(Child::look_after)
}

async fn wait_until_up(client: &Client, options: &Dev, children: &mut [Child]) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < UP_TIMEOUT {
        look_after(children)?;
        let mut led = false;
        for place in 0..client.endpoints().len() {
            let status = cluster::status_of(client, place).await;
            led |= status.is_ok_and(|status| status.role() == ReplicaRole::Leader);
        }
        if led {
            let executors = cluster::list_executors(client).await?;
            let connected = executors.iter().filter(|executor| executor.connected).count();
            if connected >= usize::from(options.executors) {
                return Ok(());
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let tails: Vec<String> = children.iter().map(Child::tail).collect();
    Err(Error::Unreachable(format!("not up within {} s\n{}", UP_TIMEOUT.as_secs(), tails.join("\n"))))
}

fn greet(options: &Dev, endpoints: &[String]) {
    let dir = options.data_dir.display();
    println!("Meson is up: {} replicas, {} executors.\n", options.replicas, options.executors);
    println!("  endpoints  {}", endpoints.join(","));
    println!("  data       {dir}\n  logs       {dir}/logs\n");
    println!("In another terminal:\n");
    if options.port != 7400 || options.replicas > 3 {
        println!("  export MESON_ENDPOINTS={}", endpoints.join(","));
    }
    println!(
        "  mesonctl cluster status\n  mesonctl submit FILE --watch\n\nCtrl-C stops all; the data stays."
    );
}

fn endpoints(options: &Dev) -> Vec<String> {
    (0..options.replicas).map(|place| format!("http://127.0.0.1:{}", port(options, place, 0))).collect()
}

fn port(options: &Dev, place: u16, face: u16) -> u16 {
    options.port.saturating_add(10 * place + face)
}

fn specs(options: &Dev, tie: Tie) -> Result<Vec<Spec>> {
    let dir = std::path::absolute(&options.data_dir)
        .map_err(|error| Error::usage(format!("--data-dir: {error}")))?;
    for folder in ["logs", "pids"] {
        std::fs::create_dir_all(dir.join(folder))
            .map_err(|error| Error::usage(format!("{}: {error}", dir.display())))?;
    }
    let peer = |place: u16| {
        let url = |face| format!("http://127.0.0.1:{}", port(options, place, face));
        format!("{}={},{},{}", place + 1, url(1), url(0), url(2))
    };
    let peers: Vec<String> = (0..options.replicas).map(peer).collect();
    let scheduler = program::path("meson-scheduler")?;
    let executor = program::path("meson-executor")?;
    let replica = |place: u16| {
        let name = format!("replica-{}", place + 1);
        let listen = |face| format!("127.0.0.1:{}", port(options, place, face));
        let arguments = vec![
            ("--node-id", (place + 1).to_string()),
            ("--data-dir", text(&dir.join(&name))),
            ("--listen", listen(0)),
            ("--raft-listen", listen(1)),
            ("--http-listen", listen(2)),
            ("--peers", peers.join(";")),
        ];
        Spec::new(&dir, name, tie, scheduler.clone(), arguments)
    };
    let agent = |place: u16| {
        let name = format!("executor-{}", place + 1);
        let arguments =
            vec![("--endpoints", endpoints(options).join(",")), ("--data-dir", text(&dir.join(&name)))];
        Spec::new(&dir, name, tie, executor.clone(), arguments)
    };
    Ok((0..options.replicas).map(replica).chain((0..options.executors).map(agent)).collect())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
