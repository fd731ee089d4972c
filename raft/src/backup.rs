//! Backups: a snapshot, taken after everything acknowledged, as one file; and a new data directory made of one.
//!
//! The file is a snapshot file as it lies in a data directory, with its own checksum. What a restored group remembers is
//! the state as of the backup, under members of its own. Its first term is far beyond the backup's: terms of the time
//! after the backup, which nobody remembers, are not used again, nor anything that grows with them.

use std::io;
use std::path::{Path, PathBuf};

use openraft::{CommittedLeaderId, Membership, StoredMembership};
use sha2::{Digest as _, Sha256};

use crate::config::{Config, Member};
use crate::disk::Disk;
use crate::error::{AdminError, StoreError};
use crate::files;
use crate::log_store;
use crate::machine::mark_archive_stale;
use crate::replica::Replica;
use crate::snapshot::format::{Reader, Writer, verify};
use crate::snapshot::{SnapshotFile, Snapshots};
use crate::state_machine::Position;
use crate::types::{LogId, SnapshotMeta, Vote};

/// By so many terms a restored group is ahead of its backup: more elections than any group sees after one.
const TERMS_AHEAD: u64 = 1_000_000;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// A backup that can be read; the file stays readable while this lives.
pub struct Backup {
    file: SnapshotFile,
    sha256: [u8; 32],
    position: Position,
}

impl Backup {
    /// Its length.
    pub fn size_bytes(&self) -> u64 {
        self.file.size
    }

    /// SHA-256 of the whole.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// The last entry that it covers.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Up to `length` bytes from `offset`; none at the end. Blocks.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.file.read_at(offset, length)
    }
}

impl Replica {
    /// A backup of all that was acknowledged before the call. Only the leader knows what that is.
    ///
    /// # Errors
    /// `NotLeader`, also when leadership cannot be confirmed; `Unknown` when the snapshot takes too long.
    pub async fn backup(&self) -> Result<Backup, AdminError> {
        let not_leader = || AdminError::NotLeader { leader: self.role().borrow().leader.clone() };
        self.read_barrier().await.map_err(|_| not_leader())?;
        self.snapshot_now().await?;
        let current =
            self.snapshots().current().ok_or_else(|| AdminError::Refused("there is nothing yet".into()))?;
        let (file, position) = (current.file, position_of(current.meta.last_log_id));
        let reading =
            tokio::task::spawn_blocking(move || hash(&file).map(|sha256| Backup { file, sha256, position }));
        let read = reading.await.map_err(io::Error::other).and_then(|read| read);
        read.map_err(|error| AdminError::Refused(format!("the snapshot cannot be read: {error}")))
    }
}

/// The checksum of the whole file; the one within it leaves itself out.
fn hash(file: &SnapshotFile) -> io::Result<[u8; 32]> {
    let mut digest = Sha256::new();
    let mut offset = 0;
    while offset < file.size {
        let bytes = file.read_at(offset, READ_BYTES)?;
        offset += bytes.len() as u64;
        digest.update(&bytes);
    }
    Ok(digest.finalize().into())
}

/// What a data directory was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The last entry that the backup covers.
    pub position: Position,
    /// Bytes of the backup.
    pub size_bytes: u64,
}

/// Why a backup was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Something is there already.
    #[error("{0} holds a log already: restore into an empty directory")]
    NotEmpty(PathBuf),
    /// The members that were given do not include this replica.
    #[error("replica {0} is not among the members")]
    NotAmongMembers(u64),
    /// The backup is damaged or another group's, or the directory cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the data directory of one member of a group that begins with the state of a backup. Every member is to be
/// restored so, from the same file and with the same members, before any is started. Blocks.
///
/// # Errors
/// See [`RestoreError`]. What was written before an error is removed.
pub fn restore(config: &Config, members: Vec<Member>, backup: &Path) -> Result<Restored, RestoreError> {
    if !members.iter().any(|member| member.node_id == config.node_id) {
        return Err(RestoreError::NotAmongMembers(config.node_id));
    }
    let (store, snapshots) = (files::store(config), config.data_dir.join("snapshots"));
    for dir in [&store, &snapshots] {
        if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(RestoreError::NotEmpty(config.data_dir.clone()));
        }
    }
    let restored = write(config, members, backup);
    if restored.is_err() {
        for dir in [&store, &snapshots] {
            if let Err(error) = std::fs::remove_dir_all(dir).or_else(ignore_missing) {
                tracing::warn!(path = %dir.display(), %error, "cannot remove what was restored in part");
            }
        }
    }
    restored
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn write(config: &Config, members: Vec<Member>, backup: &Path) -> Result<Restored, RestoreError> {
    let (description, size_bytes, _) = verify(backup)?;
    if description.group_id != config.group_id {
        let reason = format!("it is of group {}, not {}", description.group_id, config.group_id);
        return Err(StoreError::corrupt(backup.display().to_string(), reason).into());
    }
    let last = description.meta.last_log_id;
    let snapshots = Snapshots::open(&config.data_dir.join("snapshots"), config.group_id)?;
    let meta = SnapshotMeta {
        last_log_id: last,
        last_membership: membership(last, members),
        snapshot_id: snapshots.new_id(last.map_or(0, |last| last.index)),
    };
    let (path, file) = snapshots.create()?;
    let io = |error| StoreError::io(path.display().to_string(), error);
    let mut reader = Reader::open(backup).map_err(io)?;
    let mut writer = Writer::begin(file, &snapshots.describe(meta.clone())).map_err(io)?;
    let mut state = writer.state();
    io::copy(&mut reader, &mut state).and_then(|_| state.end()).map_err(io)?;
    while let Some((key, value)) = reader.next_archived().map_err(io)? {
        writer.archive(&key, &value).map_err(io)?;
    }
    let (size, digest) = writer.finish().map_err(io)?;
    let file = snapshots.written(&path, size, digest)?;

    let disk = Disk::open(&files::store(config), config.cache_bytes)?;
    let term = last.map_or(0, |last| last.leader_id.term) + TERMS_AHEAD;
    let begun = files::claim(&disk, config)
        .and_then(|()| mark_archive_stale(&disk))
        .and_then(|()| log_store::begin_at(&disk, Vote::new(term, config.node_id), last));
    disk.close();
    begun?;
    snapshots.publish(&meta, &file)?;
    Ok(Restored { position: position_of(last), size_bytes })
}

fn membership(last: Option<LogId>, members: Vec<Member>) -> StoredMembership<u64, Member> {
    let voters = members.iter().map(|member| member.node_id).collect();
    let nodes: std::collections::BTreeMap<u64, Member> =
        members.into_iter().map(|member| (member.node_id, member)).collect();
    StoredMembership::new(last, Membership::new(vec![voters], nodes))
}

fn position_of(last: Option<LogId>) -> Position {
    let zero = LogId::new(CommittedLeaderId::new(0, 0), 0);
    let last = last.unwrap_or(zero);
    Position { term: last.leader_id.term, index: last.index }
}
