//! The journal: what was acknowledged and may not yet be on the disk in the attempts' own files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use meson_proto::v1::AppendLogsRequest;
use tracing::info;

use super::attempt::AttemptName;
use super::file;
use super::frame::{self, Frames};
use super::state::LogState;

const FOLDER: &str = "journal";
const EXTENSION: &str = "journal";

/// The journal that is written now.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    number: u64,
    bytes: u64,
    is_broken: bool,
    attempts: BTreeSet<AttemptName>,
}

/// A journal that is no longer written. It goes once the files of its attempts are synced.
#[derive(Debug)]
pub(super) struct Sealed {
    path: PathBuf,
    attempts: BTreeSet<AttemptName>,
}

impl Journal {
    /// Begins a journal.
    pub fn create(root: &Path, number: u64) -> io::Result<Self> {
        let folder = root.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{number:020}.{EXTENSION}"));
        let file = OpenOptions::new().create_new(true).append(true).open(&path)?;
        file::sync(&folder)?;
        file::sync(root)?;
        Ok(Journal { file, path, number, bytes: 0, is_broken: false, attempts: BTreeSet::new() })
    }

    /// Appends frames and waits until they are on the disk.
    pub fn append(&mut self, frames: &[u8], attempts: impl Iterator<Item = AttemptName>) -> io::Result<()> {
        self.attempts.extend(attempts);
        self.bytes += frames.len() as u64;
        let written = self.file.write_all(frames).and_then(|()| self.file.sync_data());
        self.is_broken |= written.is_err();
        written
    }

    /// A write has failed: what comes behind it could not be read again.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Begins the next journal and seals this one.
    pub fn replace(&mut self, root: &Path) -> io::Result<Sealed> {
        let next = Journal::create(root, self.number + 1)?;
        let Journal { path, attempts, .. } = std::mem::replace(self, next);
        Ok(Sealed { path, attempts })
    }
}

impl Sealed {
    /// Syncs the files of all attempts, then removes the journal. After an error it stays, and is replayed when the
    /// store is opened again.
    pub fn settle(self, root: &Path) -> io::Result<()> {
        let paths = self.attempts.iter().map(|attempt| attempt.path(root));
        sync_all(root, paths)?;
        file::remove(&self.path)
    }
}

/// Brings the attempts' files up to what the journals of the last time say, and removes those. Gives the number for
/// the next journal.
pub(super) fn replay(root: &Path) -> io::Result<u64> {
    let journals = list(root)?;
    let mut states = BTreeMap::new();
    for path in journals.values() {
        let mut frames = Frames::new(BufReader::with_capacity(1 << 16, File::open(path)?), 0);
        while let Some(entry) = frames.next::<AppendLogsRequest>()? {
            replay_entry(root, entry, &mut states)?;
        }
    }
    sync_all(root, states.into_keys())?;
    for path in journals.values() {
        info!(path = %path.display(), "replayed a journal of logs");
        file::remove(path)?;
    }
    Ok(journals.last_key_value().map_or(1, |(number, _)| number + 1))
}

fn replay_entry(
    root: &Path,
    entry: AppendLogsRequest,
    states: &mut BTreeMap<PathBuf, LogState>,
) -> io::Result<()> {
    let Ok(attempt) = AttemptName::parse(&entry.attempt_id) else { return Ok(()) };
    let path = attempt.path(root);
    let state = match states.entry(path.clone()) {
        std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
        std::collections::btree_map::Entry::Vacant(unknown) => unknown.insert(file::recover(&path)?),
    };
    let mut lacking = Vec::new();
    for record in entry.records {
        if state.continues_with(record.sequence) {
            state.observe(&record);
            frame::encode(&record, &mut lacking);
        }
    }
    if lacking.is_empty() { Ok(()) } else { file::append(&path, &lacking) }
}

fn sync_all(root: &Path, paths: impl Iterator<Item = PathBuf>) -> io::Result<()> {
    let mut folders = BTreeSet::from([root.to_owned()]);
    for path in paths {
        file::sync(&path)?;
        folders.extend(path.parent().map(Path::to_owned));
    }
    folders.iter().try_for_each(|folder| file::sync(folder))
}

fn list(root: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let folder = root.join(FOLDER);
    fs::create_dir_all(&folder)?;
    let mut journals = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|end| end == EXTENSION)) {
            journals.insert(number, path);
        }
    }
    Ok(journals)
}
