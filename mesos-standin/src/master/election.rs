//! Who leads: the process that holds a lock on a file in the directory that the masters share. The system releases it when
//! that process dies. The registry lies beside it.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
};

use anyhow::Context as _;
use nix::fcntl::{Flock, FlockArg};

use crate::cluster::Registry;

const LOCK: &str = "leader.lock";
const LEADER: &str = "leader";
const REGISTRY: &str = "registry.json";

/// Blocks until this process leads; answers the registry as the last leader left it. The lock is kept for good.
pub fn win(directory: &Path, address: &str) -> anyhow::Result<Registry> {
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(directory.join(LOCK));
    let lock = Flock::lock(open.context("the leader's lock")?, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .context("the leader's lock")?;
    std::mem::forget(lock);
    replace(directory, LEADER, address.as_bytes())?;
    match std::fs::read(directory.join(REGISTRY)) {
        Ok(bytes) => serde_json::from_slice(&bytes).context("the registry"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Registry::default()),
        Err(error) => Err(error).context("the registry"),
    }
}

/// The address of the leader, if any process leads.
pub fn leader(directory: &Path) -> Option<String> {
    let file = File::open(directory.join(LOCK)).ok()?;
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        // Nobody holds the lock, so what the file says is of the past.
        Ok(_) => None,
        Err(_) => std::fs::read_to_string(directory.join(LEADER)).ok(),
    }
}

/// Writes the registry.
pub fn write_registry(directory: &Path, registry: &Registry) -> anyhow::Result<()> {
    replace(directory, REGISTRY, &serde_json::to_vec_pretty(registry)?)
}

fn replace(directory: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let aside = directory.join(format!("{name}.new"));
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(aside, directory.join(name))?;
    Ok(())
}
