//! A replica's own disk: a file system in a file, mounted where only this machine of the test sees it. It goes with the
//! machine's mounts; the file stays for who wants to look.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use nix::mount::{MntFlags, umount2};

use crate::network::Host;

/// How often a disk is copied until nothing was written to it meanwhile.
const COPIES_MAX: u32 = 20;

/// What takes the room.
const BALLAST: &str = "ballast";

pub(super) struct Disk {
    mounted_at: PathBuf,
}

impl Disk {
    /// Makes a disk of this size, mounted at the machine's home.
    pub fn make(host: &Host, home: &Path, bytes: u64) -> anyhow::Result<Disk> {
        std::fs::create_dir_all(home)?;
        let image = home.with_extension("disk");
        File::create(&image)?.set_len(bytes)?;
        let image = image.to_string_lossy().into_owned();
        let mounted_at = home.to_string_lossy().into_owned();
        host.run(move || -> anyhow::Result<()> {
            // Nothing is kept back for root, so that full is full.
            run("mkfs.ext4", &["-q", "-m", "0", "-F", &image])?;
            run("mount", &["-o", "loop", &image, &mounted_at])
        })?
        .context("cannot make a disk for a replica: loop devices and e2fsprogs are needed")?;
        Ok(Disk { mounted_at: home.to_owned() })
    }

    /// Takes all room that is left.
    pub fn fill(&self, host: &Host) -> anyhow::Result<()> {
        let ballast = self.mounted_at.join(BALLAST);
        host.run(move || -> anyhow::Result<()> {
            let file = File::create(&ballast)?;
            // Reserving is quick and takes nearly all; writing takes the rest.
            for chunk in [64 << 20, 1 << 20, 64 << 10] {
                let mut length = file.metadata()?.len();
                while nix::fcntl::posix_fallocate(&file, length as i64, chunk).is_ok() {
                    length += chunk as u64;
                }
            }
            let mut end = File::options().append(true).open(&ballast)?;
            while end.write_all(&[0; 4096]).is_ok() {}
            Ok(())
        })?
    }

    /// Loses what was not synced, as a power cut does: whoever wrote to it must be dead. What is on the disk's file by
    /// now is all that there is; what the kernel still holds goes to a file that nobody sees any more.
    pub fn lose_unsynced(&self, host: &Host) -> anyhow::Result<()> {
        let home = self.mounted_at.clone();
        host.run(move || {
            let image = home.with_extension("disk");
            let copy = home.with_extension("copy");
            copy_at_rest(&image, &copy, &device_at(&home)?)?;
            umount2(&home, MntFlags::MNT_DETACH)?;
            std::fs::rename(&copy, &image)?;
            run("mount", &["-o", "loop", &image.to_string_lossy(), &home.to_string_lossy()])
        })?
    }

    /// Gives the room back.
    pub fn free(&self, host: &Host) -> anyhow::Result<()> {
        let ballast = self.mounted_at.join(BALLAST);
        host.run(move || match std::fs::remove_file(&ballast) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        })?
    }
}

/// The device that is mounted there, as `loop3`.
fn device_at(home: &Path) -> anyhow::Result<String> {
    let mounts = std::fs::read_to_string("/proc/thread-self/mounts")?;
    let home = home.to_string_lossy();
    let found = mounts.lines().rev().find_map(|line| {
        let mut words = line.split(' ');
        let device = words.next()?.strip_prefix("/dev/")?;
        (words.next()? == home).then(|| device.to_owned())
    });
    found.with_context(|| format!("nothing is mounted at {home}"))
}

/// Copies a disk's file as it is at one instant: if the kernel wrote to it meanwhile, once more.
fn copy_at_rest(image: &Path, copy: &Path, device: &str) -> anyhow::Result<()> {
    let written = || -> anyhow::Result<String> {
        let statistics = std::fs::read_to_string(format!("/sys/block/{device}/stat"))?;
        // The fifth number counts finished writes, the ninth those under way.
        let numbers: Vec<&str> = statistics.split_whitespace().collect();
        Ok(format!("{:?} {:?}", numbers.get(4), numbers.get(8)))
    };
    for _ in 0..COPIES_MAX {
        let before = written()?;
        run("cp", &["--sparse=always", &image.to_string_lossy(), &copy.to_string_lossy()])?;
        if written()? == before {
            return Ok(());
        }
    }
    bail!("{} is written to all the time", image.display())
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Network, Port};

    #[test]
    fn a_disk_is_filled_and_has_room_again() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let network = Network::new(&["one".to_owned()], 1)?;
        let host = network.host(Port(0));
        let home = dir.path().join("home");
        let disk = Disk::make(host, &home, 64 << 20)?;
        let write = |bytes: usize| {
            let file = home.join("data");
            host.run(move || std::fs::write(file, vec![7; bytes]).map_err(|error| error.kind()))
        };
        assert_eq!(write(1 << 20)?, Ok(()));
        disk.fill(host)?;
        assert_eq!(write(4 << 20)?, Err(std::io::ErrorKind::StorageFull));
        disk.free(host)?;
        assert_eq!(write(4 << 20)?, Ok(()));
        assert!(!home.join("data").exists(), "nobody else sees the disk");
        Ok(())
    }

    #[test]
    fn a_power_cut_loses_what_was_not_synced_and_nothing_else() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let network = Network::new(&["one".to_owned()], 1)?;
        let host = network.host(Port(0));
        let home = dir.path().join("home");
        let disk = Disk::make(host, &home, 64 << 20)?;
        let at = home.clone();
        host.run(move || -> std::io::Result<()> {
            let mut synced = File::create(at.join("synced"))?;
            synced.write_all(b"kept")?;
            synced.sync_all()?;
            File::open(&at)?.sync_all()?;
            synced.write_all(b" and lost")?;
            std::fs::write(at.join("unsynced"), "lost")
        })??;
        disk.lose_unsynced(host)?;
        let at = home.clone();
        let read = move |name: &'static str| {
            let file = at.join(name);
            host.run(move || std::fs::read_to_string(file).ok())
        };
        assert_eq!(read("synced")?.as_deref(), Some("kept"));
        assert_eq!(read("unsynced")?, None);
        // It is a disk like any other again.
        disk.fill(host)?;
        disk.free(host)
    }
}
