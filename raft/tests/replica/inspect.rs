//! A data directory looked at from outside: what it holds, who may look, and that looking changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::common::{Group, Shared, snapshot_path};
use meson_raft::{Config, Inspection, OpenError, Replica, StoreError, inspect};

fn plain(config: &mut Config) {
    config.keep_entries_after_snapshot = 3;
}

/// As one who calls it from a runtime.
async fn look(dir: &Path) -> Result<Inspection, StoreError> {
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || inspect(&dir)).await.unwrap()
}

fn contents(dir: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            contents(&path, found);
        } else {
            found.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_told_as_it_is_and_left_so() {
    let mut group = Group::start(1, plain).await;
    let dir = group.data_dir(0);
    for number in 0..30 {
        group.propose(&format!("set k{number} v{number}")).await;
        if number % 3 == 0 {
            group.propose(&format!("end k{number}")).await;
        }
        if number == 20 {
            group.node(0).replica.snapshot_now().await.unwrap();
        }
    }
    let status = group.node(0).replica.status();
    let busy = look(&dir).await.unwrap_err();
    let pid = std::process::id().to_string();
    assert!(matches!(&busy, StoreError::Locked { holder, .. } if holder.trim() == pid), "{busy}");
    let second = Replica::open(group.config(0), Shared::default()).await.map(|_| ()).unwrap_err();
    assert!(matches!(second, OpenError::Store(StoreError::Locked { .. })), "{second}");
    assert!(second.to_string().contains(&dir.join("store").display().to_string()), "{second}");
    group.stop(0).await;

    let mut before = BTreeMap::new();
    contents(&dir, &mut before);
    let found = look(&dir).await.unwrap();
    let mut after = BTreeMap::new();
    contents(&dir, &mut after);
    assert!(before == after, "looking changed something");

    assert_eq!((found.group_id, found.node_id), (Some(7), Some(1)));
    let log = found.log.unwrap();
    assert_eq!((Some(log.last_index), log.last_term), (status.last_log_index, status.term));
    assert_eq!(found.purged_index, Some(log.first_index - 1));
    let snapshot = found.snapshot.unwrap();
    assert_eq!((snapshot.index, snapshot.path), (status.snapshot_index, snapshot_path(&dir)));
    assert!(found.purged_index <= snapshot.index);
    assert_eq!(found.vote.map(|vote| (vote.term, vote.node_id, vote.won)), Some((status.term, 1, true)));
    assert_eq!(found.archive_records, 10);
    assert_eq!(found.members, group.members());
    let promised = found.promised.unwrap();
    assert_eq!((promised.log_index, promised.archive_records), (status.last_log_index, 10));
    assert_eq!(promised.log_entries, log.last_index + 1 - log.first_index);
    let sizes: BTreeMap<PathBuf, u64> =
        before.iter().map(|(path, bytes)| (path.clone(), bytes.len() as u64)).collect();
    assert_eq!(found.files, sizes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named() {
    let mut group = Group::start(1, plain).await;
    let dir = group.data_dir(0);
    for number in 0..20 {
        group.propose(&format!("set k{number} v{number}")).await;
    }
    group.node(0).replica.snapshot_now().await.unwrap();
    group.stop(0).await;
    let path = snapshot_path(&dir);
    std::fs::rename(&path, dir.join("aside")).unwrap();
    let (looked, opened) = both(&group).await;
    for error in [looked, opened] {
        assert!(error.contains("a snapshot is missing") && error.contains("snapshots"), "{error}");
    }
    std::fs::rename(dir.join("aside"), &path).unwrap();

    for (file, sign) in [("guard", "nobody knows what was promised"), ("db", "it is missing, and a log of")] {
        let path = dir.join("store").join(file);
        std::fs::rename(&path, dir.join("aside")).unwrap();
        let (looked, opened) = both(&group).await;
        for error in [looked, opened] {
            assert!(error.contains(sign) && error.contains(&path.display().to_string()), "{error}");
        }
        std::fs::rename(dir.join("aside"), &path).unwrap();
    }
    look(&dir).await.unwrap();
    let nothing = look(&dir.join("nothing")).await.unwrap_err();
    assert!(matches!(nothing, StoreError::Io { .. }), "{nothing}");
}

/// What looking and opening say of a damaged directory.
async fn both(group: &Group) -> (String, String) {
    let looked = look(&group.data_dir(0)).await.expect_err("looking finds it");
    let opened = Replica::open(group.config(0), Shared::default()).await.map(|_| ());
    let opened = opened.expect_err("opening finds it");
    assert!(matches!(opened, OpenError::Store(StoreError::Corrupt { .. })), "{opened}");
    (looked.to_string(), opened.to_string())
}
