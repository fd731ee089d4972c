//! How the processes of a testbed are started: programs, settings and where their words go.

use std::path::Path;

use anyhow::bail;

use super::process::Recipe;
use super::{API_PORT, HTTP_PORT, Machine, Options, RAFT_PORT, Size, endpoint, port, url};
use crate::cluster::binary_path;

/// How the process of a machine is started.
pub(super) fn recipe(options: &Options, machine: Machine, shim: &Path) -> anyhow::Result<Recipe> {
    let home = options.dir.join(machine.to_string());
    std::fs::create_dir_all(&home)?;
    let (program, arguments) = match machine {
        Machine::Replica(place) => (binary_path("meson-scheduler")?, replica(options, place)),
        Machine::Executor(_) if options.size.masters > 0 => {
            (binary_path("standin-agent")?, agent(options, machine))
        }
        Machine::Executor(_) => (binary_path("meson-executor")?, executor(options)),
        Machine::Master(_) => (binary_path("standin-master")?, master(options, machine)),
        Machine::Client(_) | Machine::Control => bail!("{machine} runs no process"),
    };
    let mut arguments = arguments;
    let (flag, data) = match machine {
        // All masters share one: they elect a leader by a lock in it.
        Machine::Master(_) => ("--work-dir", options.dir.join("masters")),
        Machine::Executor(_) if options.size.masters > 0 => ("--work-dir", home.join("data")),
        _ => ("--data-dir", home.join("data")),
    };
    arguments.extend([flag.to_owned(), data.to_string_lossy().into_owned()]);
    Ok(Recipe {
        program,
        arguments,
        env: env(options, machine)?,
        log: options.dir.join(format!("{machine}.log")),
        shim: shim.to_owned(),
        shim_control: options.dir.join(format!("{machine}.shim")),
    })
}

fn env(options: &Options, machine: Machine) -> anyhow::Result<Vec<(String, String)>> {
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
        if options.size.masters > 0 {
            env.push(("MESON_MESOS_MASTER".to_owned(), masters(options.size)));
            let executor =
                std::path::absolute(binary_path("meson-executor")?)?.to_string_lossy().into_owned();
            env.push(("MESON_MESOS_EXECUTOR_COMMAND".to_owned(), executor));
            env.push(("MESON_MESOS_EXECUTOR_ENV".to_owned(), "{MESON_CGROUP=\"off\"}".to_owned()));
        }
    }
    env.extend(options.env.iter().cloned());
    Ok(env)
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

/// Port of masters and agents of the stand-in of Mesos.
const MESOS_PORT: u16 = 5050;

fn masters(size: Size) -> String {
    let masters: Vec<String> =
        size.masters().map(|master| format!("{}:{MESOS_PORT}", port(size, master).address())).collect();
    masters.join(",")
}

fn master(options: &Options, machine: Machine) -> Vec<String> {
    let address = port(options.size, machine).address();
    let flags = [
        ("--listen", format!("{address}:{MESOS_PORT}")),
        ("--hostname", address.to_string()),
        // All times are shorter than those of a real master, so that what they bring about fits into a test.
        ("--allocation-interval", "0.2".to_owned()),
        ("--agent-ping-timeout", "1".to_owned()),
        ("--max-agent-ping-timeouts", "4".to_owned()),
        ("--agent-reregister-timeout", "30".to_owned()),
        ("--heartbeat-interval", "1".to_owned()),
    ];
    flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
}

fn agent(options: &Options, machine: Machine) -> Vec<String> {
    let address = port(options.size, machine).address();
    let (cpus, mem) = (options.offer.cpu_millis as f64 / 1_000.0, options.offer.mem_bytes >> 20);
    // What the executor takes for itself comes on top: the checker knows of attempts only.
    let flags = [
        ("--master", masters(options.size)),
        ("--listen", format!("{address}:{MESOS_PORT}")),
        ("--ip", address.to_string()),
        ("--hostname", machine.to_string()),
        ("--resources", format!("cpus:{};mem:{};disk:102400", cpus + 0.1, mem + 64)),
        ("--update-retry", "1secs".to_owned()),
    ];
    flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
}
