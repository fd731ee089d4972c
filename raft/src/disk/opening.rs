//! Opens the store, and refuses it unless it holds what was promised.
//!
//! A store from before there were summaries and a guard is adopted: it gets both, once. Only a directory that has
//! neither is taken for one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::changes::Changes;
use super::guard::{self, Guard, Promise, Redo};
use super::summary::{self, Summary};
use super::{TREES, Tree, Trees, panics, redo, sync_directory, values};
use crate::error::StoreError;
use crate::sabotage;

/// Large enough that no value the store sees becomes one of its blob files, which it never syncs.
const SEGMENT_BYTES: usize = 4 << 20;
/// The store's own background sync and collection of dead segments, which `None` would switch off.
const FLUSH_EVERY_MS: u64 = 500;
/// The store's file.
pub const FILE: &str = "db";
/// Held while a process has the store open.
const LOCK: &str = "lock";
/// There while the store is created.
const CREATING: &str = "creating";
/// A store that this process closed may hold its own lock a moment longer.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// What opening gives.
pub struct Opened {
    /// The trees.
    pub trees: Trees,
    /// The store's file, opened once more: the store's own flush is no sync.
    pub file: File,
    /// What was promised.
    pub guard: Guard,
    /// What the trees hold.
    pub summaries: [Summary; TREES.len()],
    /// Unlocked when it is dropped.
    pub lock: File,
}

/// Opens the store in a directory, and creates both when missing. Reads all of it. Blocks.
pub fn open(directory: &Path, cache_bytes: u64) -> Result<Opened, StoreError> {
    std::fs::create_dir_all(directory)
        .map_err(|error| StoreError::io(directory.display().to_string(), error))?;
    let lock = lock(directory)?;
    panics::watch(directory);
    panics::named(directory, || {
        let creating = begin_creation(directory)?;
        let guard = Guard::open(directory)?;
        let path = directory.join(FILE);
        if let Some(guard) = guard.as_ref().filter(|guard| !guard.promise().is_empty())
            && !path.exists()
            && !sabotage::without("guard")
        {
            return Err(lost(&path, &format!("it is missing, and {}", told(guard.promise()))));
        }
        let trees = open_trees(directory, cache_bytes)?;
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.map_err(|error| StoreError::io(path.display().to_string(), error))?;
        // The store itself never syncs its configuration, without which it does not open again.
        let conf = directory.join("conf");
        let synced = File::open(&conf).and_then(|file| file.sync_all());
        synced.map_err(|error| StoreError::io(conf.display().to_string(), error))?;
        sync_directory(directory)?;
        if let Some(parent) = directory.parent() {
            sync_directory(parent)?;
        }
        let (guard, summaries) = match guard {
            Some(mut guard) if !guard.promise().is_empty() => {
                let mut summaries = check(directory, &trees, guard.promise())?;
                redo(directory, &trees, guard.redo(), &mut summaries)?;
                settle(directory, &trees, &file, &mut guard, summaries)?;
                (guard, summaries)
            }
            guard => adopt(directory, &trees, &file, guard)?,
        };
        if creating {
            end_creation(directory)?;
        }
        Ok(Opened { trees, file, guard, summaries, lock })
    })
}

/// A store that is created for the first time may be cut short before anything in it is whole. A mark made durable
/// beforehand tells such a store, which is made anew, from one that is damaged. Tells whether one is created.
fn begin_creation(directory: &Path) -> Result<bool, StoreError> {
    let mark = directory.join(CREATING);
    let io = |error| StoreError::io(mark.display().to_string(), error);
    let holds_nothing = |promise: Promise| promise.summaries.iter().all(|summary| summary.count == 0);
    if mark.exists() && guard::peek(directory).ok().flatten().is_none_or(holds_nothing) {
        for entry in std::fs::read_dir(directory).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.is_dir() {
                std::fs::remove_dir_all(&path).map_err(io)?;
            } else if path != mark && path != directory.join(LOCK) {
                std::fs::remove_file(&path).map_err(io)?;
            }
        }
    } else if directory.join(FILE).exists() || directory.join(guard::NAME).exists() {
        return Ok(mark.exists());
    }
    File::create(&mark).and_then(|file| file.sync_all()).map_err(io)?;
    sync_directory(directory)?;
    Ok(true)
}

fn end_creation(directory: &Path) -> Result<(), StoreError> {
    let mark = directory.join(CREATING);
    std::fs::remove_file(&mark).map_err(|error| StoreError::io(mark.display().to_string(), error))?;
    sync_directory(directory)
}

/// How this crate has the store configured, wherever it opens one.
pub fn config(directory: &Path, cache_bytes: u64) -> sled::Config {
    sled::Config::new()
        .path(directory)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(cache_bytes)
        .mode(sled::Mode::HighThroughput)
        .flush_every_ms(Some(FLUSH_EVERY_MS))
}

/// Opens the trees alone.
pub fn open_trees(directory: &Path, cache_bytes: u64) -> Result<Trees, StoreError> {
    let place = directory.join(FILE).display().to_string();
    let failed = |source| match source {
        sled::Error::Io(error) if !is_damage(&error) => StoreError::io(&place, error),
        source => StoreError::corrupt(&place, format!("the store cannot read its files: {source}")),
    };
    let since = Instant::now();
    let db = loop {
        match config(directory, cache_bytes).open() {
            // We hold the lock of the directory, so this one is on its way out.
            Err(sled::Error::Io(error)) if is_locked(&error) && since.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(sled::Error::Io(error)) if is_locked(&error) => return Err(locked(directory, "")),
            Err(source) => return Err(failed(source)),
            Ok(db) => break db,
        }
    };
    let tree = |tree: Tree| db.open_tree(tree.name()).map_err(failed);
    Ok(Trees { log: tree(Tree::Log)?, meta: tree(Tree::Meta)?, archive: tree(Tree::Archive)?, db })
}

/// The store has no error kind of its own for this.
fn is_locked(error: &std::io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// What the store says of files that are too short or not its own.
fn is_damage(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other
    )
}

/// Whether every tree holds what its summary says, and none is older than promised.
pub fn check(
    directory: &Path,
    trees: &Trees,
    promise: &Promise,
) -> Result<[Summary; TREES.len()], StoreError> {
    let path = directory.join(FILE);
    let mut found = [Summary::default(); TREES.len()];
    for tree in TREES {
        let stored = trees.get(tree);
        if sabotage::without("guard") {
            found[tree as usize] = summary::read(stored, tree)?.unwrap_or_default();
            continue;
        }
        let promised = promise.of(tree);
        let Some(summary) = summary::read(stored, tree)? else {
            let reason = format!("the {} has no summary, and {}", tree.name(), told(promise));
            return Err(lost(&path, &reason));
        };
        if summary.change < promised.change || (summary.change == promised.change && summary != promised) {
            let reason = format!(
                "the {} is at change {} with {} records{}, but change {} with {} records was promised{}",
                tree.name(),
                summary.change,
                summary.count,
                if tree == Tree::Log { ended(log_end(trees)?) } else { String::new() },
                promised.change,
                promised.count,
                if tree == Tree::Log { ended(promise.log_end) } else { String::new() },
            );
            return Err(lost(&path, &reason));
        }
        let counted = summary::count(stored, tree, summary.change)?;
        if counted != summary {
            let reason = format!(
                "the {} has {} records where its summary says {}, or other ones than it says",
                tree.name(),
                counted.count,
                summary.count
            );
            return Err(lost(&path, &reason));
        }
        found[tree as usize] = summary;
    }
    Ok(found)
}

/// Gives a store that is new, or from before there were summaries, what it lacks. The guard comes first, promising
/// nothing: a crash in between leaves a store that is adopted again, and none that looks as if its guard were lost.
fn adopt(
    directory: &Path,
    trees: &Trees,
    file: &File,
    guard: Option<Guard>,
) -> Result<(Guard, [Summary; TREES.len()]), StoreError> {
    let mut guard = match guard {
        Some(guard) => guard,
        None => {
            if TREES
                .into_iter()
                .map(|tree| summary::read(trees.get(tree), tree))
                .any(|found| !matches!(found, Ok(None)))
            {
                let reason = "it is missing from a store that had one, so nobody knows what was promised";
                return Err(StoreError::corrupt(directory.join(guard::NAME).display().to_string(), reason));
            }
            Guard::create(directory)?
        }
    };
    let mut summaries = [Summary::default(); TREES.len()];
    for tree in TREES {
        let stored = trees.get(tree);
        // A number above zero tells what was adopted from what was not.
        let summary = summary::count(stored, tree, 1)?;
        let written = stored.insert(summary::KEY, &summary.encode());
        written.map_err(|source| values::failed(tree, &[], source))?;
        summaries[tree as usize] = summary;
    }
    settle(directory, trees, file, &mut guard, summaries)?;
    Ok((guard, summaries))
}

/// Makes the store's state durable, and then promises it.
fn settle(
    directory: &Path,
    trees: &Trees,
    file: &File,
    guard: &mut Guard,
    summaries: [Summary; TREES.len()],
) -> Result<(), StoreError> {
    let promise = Promise { summaries, log_end: log_end(trees)? };
    trees.db.flush().map_err(|source| values::failed(Tree::Log, &[], source))?;
    file.sync_data().map_err(|error| StoreError::io(directory.join(FILE).display().to_string(), error))?;
    if promise == *guard.promise() && guard.redo().changes.is_empty() {
        return Ok(());
    }
    guard.write(promise, &Redo { after: summaries, changes: Vec::new() })
}

/// Makes the changes of the last commit again in trees that do not have them, or not all of them. They may be done
/// twice: each sets or removes what it names, whatever was there.
fn redo(
    directory: &Path,
    trees: &Trees,
    redo: &Redo,
    summaries: &mut [Summary; TREES.len()],
) -> Result<(), StoreError> {
    let Some(mut ops) = redo::decode(&redo.changes) else {
        let reason = "it carries changes that this program does not know";
        return Err(StoreError::corrupt(directory.join(guard::NAME).display().to_string(), reason));
    };
    let after = |tree: Tree| redo.after[tree as usize].change;
    ops.retain(|op| summaries[op.tree() as usize].change < after(op.tree()));
    if ops.is_empty() {
        return Ok(());
    }
    tracing::info!(directory = %directory.display(), changes = ops.len(), "the last commit is done again");
    for op in &ops {
        let tree = op.tree();
        // The numbers go on from where they were.
        summaries[tree as usize].change = after(tree);
    }
    Changes::new(trees, summaries).apply(ops)
}

/// The index of the last entry of the log.
pub fn log_end(trees: &Trees) -> Result<Option<u64>, StoreError> {
    let last = values::heads(&trees.log).next_back().transpose();
    let last = last.map_err(|source| values::failed(Tree::Log, &[], source))?;
    Ok(last.and_then(|(key, _)| values::user_key(&key).try_into().ok()).map(u64::from_be_bytes))
}

fn ended(log_end: Option<u64>) -> String {
    log_end.map_or_else(String::new, |index| format!(" up to log entry {index}"))
}

fn told(promise: &Promise) -> String {
    let count = promise.of(Tree::Log).count;
    format!("a log of {count} entries{} was promised", ended(promise.log_end))
}

fn lost(path: &Path, reason: &str) -> StoreError {
    StoreError::corrupt(path.display().to_string(), reason)
}

/// One process at a time.
fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join(LOCK);
    let io = |error| StoreError::io(path.display().to_string(), error);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {
            // Only for the message; whose number it is when nobody holds the lock does not matter.
            file.set_len(0).map_err(io)?;
            write!(file, "{}", std::process::id()).map_err(io)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            Err(locked(directory, &holder))
        }
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// Whether no process has the store open.
pub fn check_unlocked(directory: &Path) -> Result<(), StoreError> {
    let path = directory.join(LOCK);
    let tried = match File::open(&path) {
        Ok(mut file) => match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(locked(directory, &holder));
            }
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(()),
        },
        // A store from before there were locks, or none at all.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    tried.map_err(|error| StoreError::io(path.display().to_string(), error))
}

fn locked(directory: &Path, holder: &str) -> StoreError {
    let holder = if holder.is_empty() { String::new() } else { format!(" {holder}") };
    StoreError::Locked { directory: directory.to_owned(), holder }
}
