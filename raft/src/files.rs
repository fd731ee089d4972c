//! Opens the files of a replica together, and refuses those that do not belong together.

use std::path::{Path, PathBuf};

use openraft::LogIdOptionExt;

use crate::config::Config;
use crate::disk::{Disk, FILE, Op, Tree};
use crate::error::{OpenError, StoreError};
use crate::log_store::LogStore;
use crate::machine::Machine;
use crate::snapshot::Snapshots;
use crate::state_machine::StateMachine;

/// Whose directory it is: group and replica, eight bytes each.
const IDENTITY: &[u8] = b"identity";

/// What opening the files gives.
pub struct Opened {
    /// The store.
    pub disk: Disk,
    /// The log in it.
    pub log: LogStore,
    /// The snapshots beside it.
    pub snapshots: Snapshots,
    /// The state, restored from the snapshot.
    pub machine: Machine,
}

/// Opens them. Blocks.
pub fn open(
    disk: impl FnOnce() -> Result<Disk, StoreError>,
    config: &Config,
    state_machine: impl StateMachine,
) -> Result<Opened, OpenError> {
    let disk = disk()?;
    let opened = open_in(disk.clone(), config, state_machine);
    if opened.is_err() {
        // Whoever tries again finds the store unlocked.
        disk.close();
    }
    opened.map_err(|error| match error {
        OpenError::Store(error) => error.within(&store(config).join(FILE)).into(),
        error => error,
    })
}

/// Where the store is.
pub fn store(config: &Config) -> PathBuf {
    config.data_dir.join("store")
}

fn open_in(disk: Disk, config: &Config, state_machine: impl StateMachine) -> Result<Opened, OpenError> {
    let snapshots = Snapshots::open(&config.data_dir.join("snapshots"), config.group_id)?;
    check_identity(&disk, &snapshots, config)?;
    let log = LogStore::open(disk.clone(), config.node_id, config.batch_bytes_max * 2)?;
    let current = snapshots.current();
    let newest = current.as_ref().map(|current| (current.file.path(), current.meta.last_log_id.index()));
    check_covered(log.purged().index(), newest, &config.data_dir)?;
    let machine = Machine::open(state_machine, disk.clone(), snapshots.clone())?;
    Ok(Opened { disk, log, snapshots, machine })
}

/// Entries only go once a snapshot that stands for them is durable: the newest one has to reach to where they begin.
pub fn check_covered(
    purged: Option<u64>,
    newest: Option<(&Path, Option<u64>)>,
    data_dir: &Path,
) -> Result<(), StoreError> {
    let covered = newest.and_then(|(_, index)| index);
    if purged <= covered {
        return Ok(());
    }
    let place = newest.map_or_else(|| data_dir.join("snapshots"), |(path, _)| path.to_owned());
    let index = |id: Option<u64>| id.map_or_else(|| "nowhere".to_owned(), |index| format!("entry {index}"));
    let reason = format!(
        "the log begins after {}, but the newest snapshot goes to {}: a snapshot is missing",
        index(purged),
        index(covered)
    );
    Err(StoreError::corrupt(place.display().to_string(), reason))
}

/// Two replicas that swap their directories would vote twice in a term.
fn check_identity(disk: &Disk, snapshots: &Snapshots, config: &Config) -> Result<(), OpenError> {
    let mine = [config.group_id.to_be_bytes(), config.node_id.to_be_bytes()].concat();
    let Some(found) = disk.get(Tree::Meta, IDENTITY)? else {
        if let Some(current) = snapshots.current() {
            let reason = "it is empty, but there is a snapshot: ";
            let reason = format!("{reason}{}", current.file.path().display());
            return Err(StoreError::corrupt(store(config).display().to_string(), reason).into());
        }
        return claim(disk, config).map_err(Into::into);
    };
    if found[..] == mine[..] {
        return Ok(());
    }
    let (found_group, found_node) = decode_identity(&found)?;
    let dir = config.data_dir.clone();
    Err(OpenError::Identity { dir, found_group, found_node, group: config.group_id, node: config.node_id })
}

/// Notes whose directory it is. Blocks.
pub fn claim(disk: &Disk, config: &Config) -> Result<(), StoreError> {
    let mine = [config.group_id.to_be_bytes(), config.node_id.to_be_bytes()].concat();
    disk.write(vec![Op::Put(Tree::Meta, IDENTITY.to_vec(), mine.into())], true).wait_blocking()
}

fn decode_identity(stored: &[u8]) -> Result<(u64, u64), StoreError> {
    let part =
        |range| stored.get(range).and_then(|bytes: &[u8]| bytes.try_into().ok()).map(u64::from_be_bytes);
    match (part(0..8), part(8..16)) {
        (Some(group), Some(node)) => Ok((group, node)),
        _ => Err(StoreError::corrupt("meta identity", "not two numbers")),
    }
}

/// The group and the replica whose directory it is, unless it never belonged to any.
pub fn read_identity(disk: &Disk) -> Result<Option<(u64, u64)>, StoreError> {
    disk.get(Tree::Meta, IDENTITY)?.map(|found| decode_identity(&found)).transpose()
}
