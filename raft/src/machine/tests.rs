//! A start after a crash in the middle of installing a snapshot.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use openraft::RaftSnapshotBuilder;
use openraft::storage::RaftStateMachine;

use super::applier::mark_archive_stale;
use super::*;
use crate::archive::Archive;
use crate::disk::{Op, Tree};
use crate::types::Batch;
use crate::{Applied, ArchiveOp, Position, SnapshotView};

/// Archives each command under its own bytes.
struct Archivist;

impl StateMachine for Archivist {
    fn apply(&mut self, at: Position, commands: &[Bytes]) -> io::Result<Applied> {
        let value = Bytes::from(at.index.to_string());
        let put = |command: &Bytes| ArchiveOp::Put { key: command.to_vec(), value: value.clone() };
        Ok(Applied { outcomes: commands.to_vec(), archive: commands.iter().map(put).collect() })
    }

    fn snapshot(&self) -> Box<dyn SnapshotView> {
        Box::new(Archivist)
    }

    fn restore(&mut self, _: &mut dyn Read) -> io::Result<()> {
        Ok(())
    }
}

impl SnapshotView for Archivist {
    fn write(self: Box<Self>, out: &mut dyn Write) -> io::Result<()> {
        // More than a frame, and not read again by `restore`: the archive behind it must be found all the same.
        out.write_all(&[7; 200_000])
    }
}

fn open(dir: &Path) -> (Disk, Machine) {
    let disk = Disk::open(&dir.join("store"), 8 << 20).unwrap();
    let snapshots = Snapshots::open(&dir.join("snapshots"), 1).unwrap();
    let machine = Machine::open(Archivist, disk.clone(), snapshots).unwrap();
    (disk, machine)
}

fn entry(index: u64, command: &'static str) -> Entry {
    let log_id = LogId::new(openraft::CommittedLeaderId::new(1, 1), index);
    let batch = Batch { commands: vec![Bytes::from_static(command.as_bytes())], ..Batch::default() };
    Entry { log_id, payload: openraft::EntryPayload::Normal(batch) }
}

fn archived(disk: &Disk) -> BTreeMap<String, Bytes> {
    let found = Archive::new(disk.clone()).scan_prefix(b"", None, 100).unwrap();
    found.into_iter().map(|(key, value)| (String::from_utf8(key).unwrap(), value)).collect()
}

#[test]
fn an_archive_half_replaced_is_replaced_at_the_next_start() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();

    // Without a snapshot the log begins at the beginning, and fills the archive again.
    let (disk, machine) = open(dir.path());
    disk.write(vec![Op::Put(Tree::Archive, b"half".to_vec(), Bytes::new())], false).wait_blocking().unwrap();
    mark_archive_stale(&disk).unwrap();
    drop(machine);
    disk.close();
    let (disk, mut machine) = open(dir.path());
    assert_eq!(archived(&disk), BTreeMap::new());

    runtime.block_on(async {
        machine.apply([entry(1, "one"), entry(2, "two")]).await.unwrap();
        machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
        machine.apply([entry(3, "three")]).await.unwrap();
    });
    disk.write(vec![Op::RemovePrefix(Tree::Archive, b"o".to_vec())], false).wait_blocking().unwrap();
    mark_archive_stale(&disk).unwrap();
    drop(machine);
    disk.close();

    // With one, the archive is what the snapshot holds; what followed is replayed.
    for _ in 0..2 {
        let (disk, mut machine) = open(dir.path());
        let expected = [("one", "1"), ("two", "2")].map(|(key, value)| (key.into(), value.into()));
        assert_eq!(archived(&disk), BTreeMap::from(expected));
        let (applied, _) = runtime.block_on(machine.applied_state()).unwrap();
        assert_eq!(applied.map(|id| id.index), Some(2));
        drop(machine);
        disk.close();
    }
}
