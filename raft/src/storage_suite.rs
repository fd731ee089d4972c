//! The consensus library's own suite for storage, on this crate's files.

use std::io::{Read, Write};

use bytes::Bytes;
use openraft::testing::{StoreBuilder, Suite};
use openraft::{AnyError, StorageIOError};
use tempfile::TempDir;

use crate::disk::Disk;
use crate::log_store::LogStore;
use crate::machine::Machine;
use crate::snapshot::Snapshots;
use crate::types::{StorageError, TypeConfig};
use crate::{Applied, Position, SnapshotView, StateMachine};

/// Keeps nothing: the suite only looks at what the library keeps.
struct Nothing;

impl StateMachine for Nothing {
    fn apply(&mut self, _: Position, commands: &[Bytes]) -> std::io::Result<Applied> {
        Ok(Applied { outcomes: commands.to_vec(), archive: Vec::new() })
    }

    fn snapshot(&self) -> Box<dyn SnapshotView> {
        Box::new(Nothing)
    }

    fn restore(&mut self, input: &mut dyn Read) -> std::io::Result<()> {
        std::io::copy(input, &mut std::io::sink()).map(|_| ())
    }
}

impl SnapshotView for Nothing {
    fn write(self: Box<Self>, out: &mut dyn Write) -> std::io::Result<()> {
        out.write_all(b"nothing")
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let disk = Disk::open(&path.join("store"), 8 << 20)?;
            let log = LogStore::open(disk.clone(), 1, 1 << 20)?;
            let snapshots = Snapshots::open(&path.join("snapshots"), 1)?;
            Ok::<_, crate::OpenError>((log, Machine::open(Nothing, disk, snapshots)?))
        });
        let (log, machine) = opened
            .await
            .expect("opening does not panic")
            .map_err(|error| StorageIOError::read(AnyError::new(&error)))?;
        Ok((dir, log, machine))
    }
}

#[test]
fn the_librarys_storage_suite_passes() -> Result<(), StorageError> {
    Suite::test_all(Builder)
}
