//! Looks through a data directory that nobody uses, without changing it: what it holds, and whether all of it is whole.
//!
//! The embedded store cannot be opened without writing to its files, so it is the copy of the store that is opened.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use openraft::entry::EntryPayload;

use crate::config::Member;
use crate::disk::{Disk, FILE, Limit, Tree, check_unlocked, guard, space};
use crate::error::StoreError;
use crate::files;
use crate::log_store::LogStore;
use crate::snapshot::{finished, format};
use crate::types::{Entry, LogId, Membership};

/// Memory for pages of the copy.
const CACHE_BYTES: u64 = 64 << 20;
/// Records read at once.
const PAGE: Limit = Limit { count: 256, bytes: 4 << 20 };
/// What opening the copy may add to it.
const MARGIN_BYTES: u64 = 64 << 20;

/// What a data directory holds. All of its checksums fit, or there would be an error instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The group it belongs to, unless it is new.
    pub group_id: Option<u64>,
    /// The replica it belongs to, unless it is new.
    pub node_id: Option<u64>,
    /// The last vote.
    pub vote: Option<VoteFound>,
    /// The entries of the log.
    pub log: Option<LogRange>,
    /// Up to where entries were removed because a snapshot stands for them.
    pub purged_index: Option<u64>,
    /// Up to where entries are noted to be committed; more of them may be.
    pub committed_index: Option<u64>,
    /// The newest snapshot.
    pub snapshot: Option<SnapshotFound>,
    /// Records of the archive.
    pub archive_records: u64,
    /// Bytes of their keys and values.
    pub archive_bytes: u64,
    /// The members of the group by the newest entry or snapshot that names them.
    pub members: Vec<Member>,
    /// What was promised to be durable; nothing in a directory that was last used before there was such a promise.
    pub promised: Option<Promised>,
    /// Every file and its bytes.
    pub files: BTreeMap<PathBuf, u64>,
}

/// A vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteFound {
    /// Its term.
    pub term: u64,
    /// For whom.
    pub node_id: u64,
    /// Whether that one is known to have won.
    pub won: bool,
}

/// The entries of a log, without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// The index of the first.
    pub first_index: u64,
    /// The index of the last.
    pub last_index: u64,
    /// The term of the last.
    pub last_term: u64,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFound {
    /// Its file.
    pub path: PathBuf,
    /// The last entry that it covers.
    pub index: Option<u64>,
    /// Its length.
    pub bytes: u64,
}

/// What the guard file says was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promised {
    /// The last entry of the log.
    pub log_index: Option<u64>,
    /// Entries of the log.
    pub log_entries: u64,
    /// Records of the archive.
    pub archive_records: u64,
}

/// Looks through a data directory. Blocks, and not on a thread that drives
/// tasks. Needs as much room as the store takes where temporary files go.
///
/// # Errors
/// `Corrupt` for damage, with the file; `Locked` while a process uses the directory.
pub fn inspect(data_dir: &Path) -> Result<Inspection, StoreError> {
    let store = data_dir.join("store");
    let io = |error| StoreError::io(store.display().to_string(), error);
    // A directory that holds nothing is no data directory.
    std::fs::metadata(&store).map_err(io)?;
    check_unlocked(&store)?;
    let mut found = Inspection { files: sizes(data_dir).map_err(io)?, ..Inspection::default() };
    let promise = guard::peek(&store)?;
    found.promised = promise.filter(|promise| !promise.is_empty()).map(|promise| Promised {
        log_index: promise.log_end,
        log_entries: promise.of(Tree::Log).count,
        archive_records: promise.of(Tree::Archive).count,
    });

    let copy = copy_of(&store).map_err(io)?;
    let looked = Disk::open(&copy.path().join("store"), CACHE_BYTES).and_then(|disk| {
        let looked = look(&disk, data_dir, &mut found);
        disk.close();
        looked
    });
    looked.map_err(|error| of_original(error, copy.path(), data_dir).within(&store.join(FILE)))?;
    Ok(found)
}

fn look(disk: &Disk, data_dir: &Path, found: &mut Inspection) -> Result<(), StoreError> {
    let identity = files::read_identity(disk)?;
    (found.group_id, found.node_id) = identity.unzip();
    let mut members = look_at_snapshot(data_dir, found)?;
    // No replica has this number, so the vote is told as it is stored.
    let log = LogStore::open(disk.clone(), u64::MAX, usize::MAX)?;
    found.vote = log.vote().map(|vote| VoteFound {
        term: vote.leader_id.term,
        node_id: vote.leader_id.voted_for().unwrap_or_default(),
        won: vote.committed,
    });
    found.purged_index = log.purged().map(|purged| purged.index);
    found.committed_index = log.committed().map(|committed| committed.index);
    log.for_each(|entry| {
        let LogId { leader_id, index } = entry.log_id;
        let first_index = found.log.map_or(index, |log| log.first_index);
        found.log = Some(LogRange { first_index, last_index: index, last_term: leader_id.term });
        if let Entry { payload: EntryPayload::Membership(newer), .. } = entry {
            members = Some(newer);
        }
    })?;
    let members = members.iter().flat_map(|membership| membership.nodes().map(|(_, member)| member.clone()));
    found.members = members.collect();
    let newest = found.snapshot.as_ref().map(|snapshot| (snapshot.path.as_path(), snapshot.index));
    files::check_covered(found.purged_index, newest, data_dir)?;
    if found.snapshot.is_some() && identity.is_none() {
        return Err(StoreError::corrupt("meta identity", "it is missing, but there is a snapshot"));
    }
    look_at_archive(disk, found)
}

/// The newest snapshot; the others were not removed yet. Gives the members that it names.
fn look_at_snapshot(data_dir: &Path, found: &mut Inspection) -> Result<Option<Membership>, StoreError> {
    let directory = data_dir.join("snapshots");
    let newest = match finished(&directory) {
        Ok(mut all) => all.pop(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(StoreError::io(directory.display().to_string(), error)),
    };
    let Some(path) = newest else { return Ok(None) };
    let (description, bytes, _) = format::verify(&path)?;
    if found.group_id.is_some_and(|group_id| group_id != description.group_id) {
        let reason = format!("it is of group {}", description.group_id);
        return Err(StoreError::corrupt(path.display().to_string(), reason));
    }
    let index = description.meta.last_log_id.map(|id| id.index);
    found.snapshot = Some(SnapshotFound { path, index, bytes });
    Ok(Some(description.meta.last_membership.membership().clone()))
}

fn look_at_archive(disk: &Disk, found: &mut Inspection) -> Result<(), StoreError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let page = disk.scan(Tree::Archive, (from, Bound::Unbounded), false, PAGE)?;
        found.archive_records += page.len() as u64;
        found.archive_bytes += page.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>();
        match page.into_iter().next_back() {
            Some((key, _)) => after = Some(key),
            None => return Ok(()),
        }
    }
}

fn copy_of(store: &Path) -> io::Result<tempfile::TempDir> {
    let copy = tempfile::tempdir()?;
    let files = sizes(store)?;
    let needed = files.values().sum::<u64>() + MARGIN_BYTES;
    let free = space::free_bytes(copy.path())?;
    if free < needed {
        let place = copy.path().parent().unwrap_or(copy.path()).display();
        return Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!(
                "checking needs {needed} bytes for a copy in {place}, where {free} are free: set TMPDIR to a larger place"
            ),
        ));
    }
    for path in files.keys() {
        let target = copy.path().join("store").join(path.strip_prefix(store).unwrap_or(path));
        std::fs::create_dir_all(target.parent().unwrap_or(copy.path()))?;
        std::fs::copy(path, target)?;
    }
    std::fs::create_dir_all(copy.path().join("store"))?;
    Ok(copy)
}

/// All files below a directory.
fn sizes(directory: &Path) -> io::Result<BTreeMap<PathBuf, u64>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let data = entry.metadata()?;
        if data.is_dir() {
            found.extend(sizes(&entry.path())?);
        } else {
            found.insert(entry.path(), data.len());
        }
    }
    Ok(found)
}

/// The damage was copied along; it is the original's.
fn of_original(error: StoreError, copy: &Path, data_dir: &Path) -> StoreError {
    let rename = |text: String| text.replace(&*copy.to_string_lossy(), &data_dir.to_string_lossy());
    match error {
        StoreError::Corrupt { place, reason } => {
            StoreError::Corrupt { place: rename(place), reason: rename(reason) }
        }
        StoreError::Io { place, source } => StoreError::Io { place: rename(place), source },
        other => other,
    }
}
