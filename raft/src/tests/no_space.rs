//! A disk that refuses a write although room was reserved: a quota, a file system that cannot reserve, a neighbour who
//! was faster. The store gives up with an error that says so, and comes back whole.
//!
//! Here the reserve is taken away. The disk is a small file system in memory, which only root may mount.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;

use crate::disk::{Disk, Limit, Op, Tree};

const CACHE_BYTES: u64 = 8 << 20;
const VALUE_BYTES: usize = 50_000;
const GAVE_UP: i32 = 3;

struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path) -> Self {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(path).status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "cannot mount a tmpfs at {}: run the tests as root, in a container with the capability SYS_ADMIN",
            path.display()
        );
        Self(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Does nothing as a test of its own: it is the process that meets the full disk.
#[test]
fn child() {
    let Ok(dir) = std::env::var("MESON_NO_SPACE_CHILD") else { return };
    let disk = Disk::open(Path::new(&dir), CACHE_BYTES).unwrap();
    for number in 0_u64.. {
        let put =
            Op::Put(Tree::Log, number.to_be_bytes().to_vec(), Bytes::from(vec![number as u8; VALUE_BYTES]));
        if let Err(error) = disk.write(vec![put], true).wait_blocking() {
            eprintln!("gave up: {error}");
            std::process::exit(GAVE_UP);
        }
        // On a line of its own, whatever the test harness writes before it.
        println!("\nacknowledged {number}");
    }
}

#[test]
fn a_refused_write_is_told_and_what_was_acknowledged_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(dir.path());
    let filler = dir.path().join("somebody-elses");
    std::fs::write(&filler, vec![1; 16 << 20]).unwrap();
    let store = dir.path().join("store");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::no_space::child", "--nocapture"])
        .env("MESON_NO_SPACE_CHILD", &store)
        .env("MESON_SABOTAGE", "reserve")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(GAVE_UP), "{said}");
    assert!(said.contains("gave up") && said.to_lowercase().contains("no space"), "{said}");
    let told = String::from_utf8_lossy(&output.stdout);
    let acknowledged: Vec<u64> =
        told.lines().filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok()).collect();
    assert!(acknowledged.len() > 50, "{acknowledged:?}");

    std::fs::remove_file(filler).unwrap();
    let opened = Disk::open(&store, CACHE_BYTES).unwrap();
    let limit = Limit { count: usize::MAX, bytes: usize::MAX };
    let found = opened.scan(Tree::Log, (Bound::Unbounded, Bound::Unbounded), false, limit).unwrap();
    for number in acknowledged {
        let (key, value) = &found[number as usize];
        assert_eq!(*key, number.to_be_bytes());
        assert_eq!(*value, vec![number as u8; VALUE_BYTES]);
    }
    opened.close();
    drop(disk);
}
