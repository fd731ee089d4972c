//! A replica's own disk: a file system in a file, mounted where only this machine of the test sees it. It goes with the
//! machine's mounts; the file stays for who wants to look.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::network::Host;

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

    /// Gives the room back.
    pub fn free(&self, host: &Host) -> anyhow::Result<()> {
        let ballast = self.mounted_at.join(BALLAST);
        host.run(move || match std::fs::remove_file(&ballast) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        })?
    }
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
}
