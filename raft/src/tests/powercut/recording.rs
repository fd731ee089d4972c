//! What a process did to its files, and what a power cut at some moment might have left of them.
//!
//! Bytes are on the disk for certain once a sync that began after they were written has ended; names once their
//! directory was synced. Of everything else a cut leaves any part: each write is there, or not, or some of its
//! sectors are; names are there up to some change of their directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Dice;

/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// One record of shim.c.
#[derive(Clone, Debug)]
pub enum Event {
    Create(PathBuf),
    /// The flag tells whether the write returned only when it was on the disk.
    Write(PathBuf, u64, bool, Vec<u8>),
    Truncate(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
    MakeDirectory,
    SyncBegin(u64),
    SyncEnd(PathBuf, u64),
    Mark(String),
}

/// Reads a record. The process may have ended while one of its threads was writing the last event, which then counts
/// as one that never was.
pub fn read(path: &Path) -> Vec<Event> {
    let bytes = std::fs::read(path).unwrap();
    let mut left = &bytes[..];
    std::iter::from_fn(|| next(&mut left)).collect()
}

fn next(left: &mut &[u8]) -> Option<Event> {
    let kind = take(left, 1)?[0];
    let first = number(left, 8)?;
    let second = number(left, 8)?;
    let length = number(left, 4)? as usize;
    let name = PathBuf::from(String::from_utf8(take(left, length)?.to_vec()).unwrap());
    let length = number(left, 4)? as usize;
    let data = take(left, length)?.to_vec();
    Some(match kind {
        1 => Event::Create(name),
        2 => Event::Write(name, first, second != 0, data),
        3 => Event::Truncate(name, first),
        4 => Event::Rename(name, String::from_utf8(data).unwrap().into()),
        5 => Event::Unlink(name),
        6 => Event::MakeDirectory,
        7 => Event::SyncBegin(first),
        8 => Event::SyncEnd(name, first),
        9 => Event::Mark(String::from_utf8(data).unwrap()),
        kind => panic!("an event of kind {kind}"),
    })
}

/// None when fewer are left.
fn take<'a>(left: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = left.split_at_checked(count)?;
    *left = rest;
    Some(taken)
}

fn number(left: &mut &[u8], count: usize) -> Option<u64> {
    Some(take(left, count)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// A change of a file's bytes that is on its way to the disk.
#[derive(Clone)]
enum Change<'a> {
    Write(u64, &'a [u8]),
    Truncate(u64),
}

/// A file, whatever its name.
#[derive(Clone, Default)]
struct Inode<'a> {
    durable: Vec<u8>,
    pending: Vec<(usize, Change<'a>)>,
}

/// A change of a directory that is on its way to the disk.
#[derive(Clone)]
enum Naming {
    Set(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Remove(PathBuf),
}

/// The files just before an event.
#[derive(Default)]
struct Disk<'a> {
    inodes: Vec<Inode<'a>>,
    /// Names as the process sees them.
    seen: BTreeMap<PathBuf, usize>,
    /// Names that are on the disk for certain.
    durable: BTreeMap<PathBuf, usize>,
    pending: BTreeMap<PathBuf, Vec<(usize, Naming)>>,
    /// When each sync began.
    syncs: BTreeMap<u64, usize>,
}

/// Writes what a cut just before an event might have left; the event itself may be half done.
pub fn cut(events: &[Event], at: usize, dice: &mut Dice, from: &Path, to: &Path) {
    let mut disk = Disk::default();
    for (number, event) in events.iter().enumerate().take(at) {
        disk.happen(number, event, true);
    }
    if let Some(event) = events.get(at) {
        disk.happen(at, event, false);
    }
    for (path, bytes) in disk.left(dice) {
        let target = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(target, bytes).unwrap();
    }
}

impl<'a> Disk<'a> {
    fn happen(&mut self, at: usize, event: &'a Event, ended: bool) {
        match event {
            Event::Create(path) => {
                self.inodes.push(Inode::default());
                let inode = self.inodes.len() - 1;
                self.seen.insert(path.clone(), inode);
                self.rename(path, (at, Naming::Set(path.clone(), inode)));
            }
            Event::Write(path, offset, synced, data) => {
                let Some(inode) = self.inode(path) else { return };
                inode.pending.push((at, Change::Write(*offset, data)));
                if *synced && ended {
                    inode.sync(at + 1);
                }
            }
            Event::Truncate(path, length) => {
                if let Some(inode) = self.inode(path) {
                    inode.pending.push((at, Change::Truncate(*length)));
                }
            }
            Event::Rename(before, path) => {
                let Some(inode) = self.seen.remove(before) else { return };
                self.seen.insert(path.clone(), inode);
                self.rename(path, (at, Naming::Rename(before.clone(), path.clone(), inode)));
            }
            Event::Unlink(path) => {
                self.seen.remove(path);
                self.rename(path, (at, Naming::Remove(path.clone())));
            }
            Event::SyncBegin(token) => drop(self.syncs.insert(*token, at)),
            Event::SyncEnd(path, token) if ended => self.sync(path, self.syncs[token]),
            Event::SyncEnd(..) | Event::MakeDirectory | Event::Mark(_) => {}
        }
    }

    fn inode(&mut self, path: &Path) -> Option<&mut Inode<'a>> {
        self.seen.get(path).map(|inode| &mut self.inodes[*inode])
    }

    fn rename(&mut self, path: &Path, naming: (usize, Naming)) {
        self.pending.entry(path.parent().unwrap().to_owned()).or_default().push(naming);
    }

    fn sync(&mut self, path: &Path, begun: usize) {
        if let Some(inode) = self.inode(path) {
            inode.sync(begun);
        }
        let Some(pending) = self.pending.get_mut(path) else { return };
        let later = pending.split_off(pending.partition_point(|(at, _)| *at < begun));
        for (_, naming) in std::mem::replace(pending, later) {
            name(&mut self.durable, &naming);
        }
    }

    fn left(&self, dice: &mut Dice) -> Vec<(PathBuf, Vec<u8>)> {
        let mut names = self.durable.clone();
        for pending in self.pending.values() {
            let kept = dice.below(pending.len() as u64 + 1) as usize;
            pending[..kept].iter().for_each(|(_, naming)| name(&mut names, naming));
        }
        names.into_iter().map(|(path, inode)| (path, self.inodes[inode].left(dice))).collect()
    }
}

fn name(names: &mut BTreeMap<PathBuf, usize>, naming: &Naming) {
    match naming {
        Naming::Set(path, inode) => drop(names.insert(path.clone(), *inode)),
        Naming::Rename(before, path, inode) => {
            names.remove(before);
            names.insert(path.clone(), *inode);
        }
        Naming::Remove(path) => drop(names.remove(path)),
    }
}

impl Inode<'_> {
    fn sync(&mut self, begun: usize) {
        let later = self.pending.split_off(self.pending.partition_point(|(at, _)| *at < begun));
        for (_, change) in std::mem::replace(&mut self.pending, later) {
            match change {
                Change::Write(offset, data) => put(&mut self.durable, offset as usize, data),
                Change::Truncate(length) => self.durable.resize(length as usize, 0),
            }
        }
    }

    fn left(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (_, change) in &self.pending {
            match (change, dice.below(3)) {
                (_, 0) => {}
                (Change::Truncate(length), _) => bytes.resize(*length as usize, 0),
                (Change::Write(offset, data), 1) => put(&mut bytes, *offset as usize, data),
                (Change::Write(offset, data), _) => tear(&mut bytes, *offset as usize, data, dice),
            }
        }
        bytes
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

/// Some of the sectors of a write.
fn tear(bytes: &mut Vec<u8>, offset: usize, data: &[u8], dice: &mut Dice) {
    let mut done = 0;
    while done < data.len() {
        let length = (SECTOR - (offset + done) % SECTOR).min(data.len() - done);
        if dice.below(2) == 0 {
            put(bytes, offset + done, &data[done..done + length]);
        }
        done += length;
    }
}
