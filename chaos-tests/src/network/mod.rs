//! A network of its own for each process under test: namespaces with one address each, joined by a switch inside the
//! test's own process, where each direction between two of them can be cut, delayed, or made lossy.
//!
//! Nothing of it outlives the test, whatever ends it: namespaces have no names and live by the threads and processes in
//! them, and network devices live by file descriptors. The machine's own network is not touched. Needs root.

mod host;
mod measure;
mod rules;
mod switch;
mod tap;

pub use host::Host;
pub use measure::{Cost, measure};
pub use rules::{Link, Rules};
pub use switch::{Counts, Switch};

use std::net::Ipv4Addr;

use anyhow::{Context as _, bail};

/// Largest frame, less its header. Large, so that the switch moves more bytes with each call.
const MTU: u32 = 9_000;

/// Where a host is plugged in: its number in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(pub u8);

impl Port {
    /// Its address.
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, self.0 + 1)
    }

    /// The address of its device, by which the switch forwards.
    fn mac(self) -> [u8; 6] {
        [0x02, 0x4d, 0x45, 0x53, 0x00, self.0 + 1]
    }

    fn of_mac(mac: &[u8]) -> Option<Port> {
        match mac {
            [0x02, 0x4d, 0x45, 0x53, 0x00, number] => number.checked_sub(1).map(Port),
            _ => None,
        }
    }
}

/// Hosts and the switch between them.
pub struct Network {
    /// In the order of their names.
    hosts: Vec<Host>,
    switch: Switch,
}

impl Network {
    /// Hosts of these names, all joined.
    ///
    /// # Errors
    /// When this process may not do that; the message says what it needs.
    pub fn new(names: &[String], seed: u64) -> anyhow::Result<Network> {
        check_rights()?;
        let count = u8::try_from(names.len()).context("a network has at most 200 hosts")?;
        let ports = (0..count).map(Port);
        let mut hosts = Vec::new();
        let mut taps = Vec::new();
        for (port, name) in ports.zip(names) {
            let host = Host::new(name, port)?;
            taps.push(host.plug(count).with_context(|| format!("cannot give {name} a network device"))?);
            hosts.push(host);
        }
        Ok(Network { hosts, switch: Switch::start(taps, seed)? })
    }

    /// The host of a port.
    pub fn host(&self, port: Port) -> &Host {
        &self.hosts[usize::from(port.0)]
    }

    /// The rules of its links.
    pub fn rules(&self) -> &Rules {
        self.switch.rules()
    }

    /// What the switch has done so far.
    pub fn counts(&self) -> Counts {
        self.switch.counts()
    }
}

/// Says what is missing, before anything else fails with less to say.
fn check_rights() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("network namespaces need root: run this as root (in a container, with --privileged)");
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        bail!("/dev/net/tun is missing: `modprobe tun`, or in a container `--device /dev/net/tun`");
    }
    for program in ["ip", "setpriv"] {
        let known = std::process::Command::new(program).arg("--version").output();
        if known.is_err() {
            bail!("the program `{program}` is missing: run scripts/setup test");
        }
    }
    Ok(())
}
