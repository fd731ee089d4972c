//! How the processes of a testbed are started: programs, settings and where their words go.

use std::path::Path;

use anyhow::bail;

use super::process::Recipe;
use super::{API_PORT, HTTP_PORT, Machine, Options, RAFT_PORT, endpoint, port, url};
use crate::cluster::binary_path;

/// How the process of a machine is started.
pub(super) fn recipe(options: &Options, machine: Machine, shim: &Path) -> anyhow::Result<Recipe> {
    let home = options.dir.join(machine.to_string());
    std::fs::create_dir_all(&home)?;
    let (program, arguments) = match machine {
        Machine::Replica(place) => (binary_path("meson-scheduler")?, replica(options, place)),
        Machine::Executor(_) => (binary_path("meson-executor")?, executor(options)),
        Machine::Client(_) | Machine::Control => bail!("{machine} runs no process"),
    };
    let mut arguments = arguments;
    arguments.extend(["--data-dir".to_owned(), home.join("data").to_string_lossy().into_owned()]);
    Ok(Recipe {
        program,
        arguments,
        env: env(options, machine),
        log: options.dir.join(format!("{machine}.log")),
        shim: shim.to_owned(),
        shim_control: options.dir.join(format!("{machine}.shim")),
    })
}

fn env(options: &Options, machine: Machine) -> Vec<(String, String)> {
    let mut env = vec![
        ("RUST_BACKTRACE".to_owned(), "1".to_owned()),
        // Logs are read in files.
        ("NO_COLOR".to_owned(), "1".to_owned()),
    ];
    if options.disks_lie {
        env.push(("CHAOS_SHIM_DISK_LIES".to_owned(), "1".to_owned()));
    }
    if matches!(machine, Machine::Replica(_)) {
        env.push(("MESON_LEASE_MS".to_owned(), options.lease_ms.to_string()));
        env.push(("MESON_LEASE_MARGIN_MS".to_owned(), options.lease_margin_ms.to_string()));
        env.push(("MESON_HEARTBEAT_MS".to_owned(), (options.lease_ms / 8).to_string()));
        env.push(("MESON_SNAPSHOT_EVERY_ENTRIES".to_owned(), "2000".to_owned()));
    }
    env.extend(options.env.iter().cloned());
    env
}

fn replica(options: &Options, place: u8) -> Vec<String> {
    let size = options.size;
    let peer = |machine: Machine| {
        let Machine::Replica(place) = machine else { return String::new() };
        let at = |number| url(size, machine, number);
        format!("{}={},{},{}", place + 1, at(RAFT_PORT), at(API_PORT), at(HTTP_PORT))
    };
    let address = port(size, Machine::Replica(place)).address();
    let peers: Vec<String> = size.replicas().map(peer).collect();
    let flags = [
        ("--node-id", (place + 1).to_string()),
        ("--listen", format!("{address}:{API_PORT}")),
        ("--raft-listen", format!("{address}:{RAFT_PORT}")),
        ("--http-listen", format!("{address}:{HTTP_PORT}")),
        ("--peers", peers.join(";")),
    ];
    flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
}

fn executor(options: &Options) -> Vec<String> {
    let endpoints: Vec<String> =
        options.size.replicas().map(|machine| endpoint(options.size, machine)).collect();
    let flags = [
        ("--endpoints", endpoints.join(",")),
        ("--cpus", format!("{}", options.offer.cpu_millis as f64 / 1_000.0)),
        ("--mem", format!("{}", options.offer.mem_bytes)),
        // One killed test after the other must not find old attempts' processes by cgroups that outlive them.
        ("--cgroup", "off".to_owned()),
    ];
    flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
}
