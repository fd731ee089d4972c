//! The library that is preloaded into the processes under test, and the file by which it is told what to do.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

const SOURCE: &str = include_str!("../../shim/shim.c");

/// Compiles the library; gives its path.
pub(super) fn build(dir: &Path) -> anyhow::Result<PathBuf> {
    let source = dir.join("shim.c");
    let library = dir.join("shim.so");
    std::fs::write(&source, SOURCE)?;
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-o"]).arg(&library).arg(&source).arg("-ldl");
    let output = compiler.output().context("cc is needed: run scripts/setup test")?;
    ensure!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
    Ok(library)
}

/// Steers the library in one process.
pub(super) struct Shim {
    file: File,
}

impl Shim {
    /// With neither a shifted clock nor slow syncs.
    pub fn new(path: &Path) -> anyhow::Result<Shim> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        let shim = Shim { file };
        shim.shift_clock(0)?;
        shim.slow_syncs(0)?;
        Ok(shim)
    }

    pub fn shift_clock(&self, by_ms: i64) -> anyhow::Result<()> {
        Ok(self.file.write_all_at(&by_ms.saturating_mul(1_000_000).to_ne_bytes(), 0)?)
    }

    pub fn slow_syncs(&self, by_ms: u64) -> anyhow::Result<()> {
        Ok(self.file.write_all_at(&(by_ms as i64).saturating_mul(1_000).to_ne_bytes(), 8)?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use super::*;

    /// Seconds of the wall clock as a program sees it that has the library preloaded.
    fn seconds_seen(library: &Path, control: &Path) -> anyhow::Result<i64> {
        let mut date = Command::new("date");
        date.arg("+%s").env("LD_PRELOAD", library).env("CHAOS_SHIM_CONTROL", control);
        Ok(String::from_utf8(date.output()?.stdout)?.trim().parse()?)
    }

    #[test]
    fn a_clock_is_shifted_both_ways_and_back() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let (library, control) = (build(dir.path())?, dir.path().join("control"));
        let shim = Shim::new(&control)?;
        let seen = || -> anyhow::Result<i64> {
            let now = SystemTime::UNIX_EPOCH.elapsed()?.as_secs() as i64;
            Ok(seconds_seen(&library, &control)? - now)
        };
        for by_seconds in [0, 86_400, -86_400, 0] {
            shim.shift_clock(by_seconds * 1_000)?;
            let shift = seen()?;
            assert!((shift - by_seconds).abs() <= 5, "{shift} s where {by_seconds} s were asked for");
        }
        Ok(())
    }

    #[test]
    fn syncs_are_slowed_and_made_fast_again() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let (library, control) = (build(dir.path())?, dir.path().join("control"));
        let shim = Shim::new(&control)?;
        let synced = |conversion: &str| -> anyhow::Result<Duration> {
            let begun = Instant::now();
            let mut dd = Command::new("dd");
            dd.args(["if=/dev/zero", "count=1", "status=none", conversion]);
            dd.arg(format!("of={}", dir.path().join("file").display()));
            let status = dd.env("LD_PRELOAD", &library).env("CHAOS_SHIM_CONTROL", &control).status()?;
            ensure!(status.success(), "dd failed");
            Ok(begun.elapsed())
        };
        for conversion in ["conv=fsync", "conv=fdatasync"] {
            shim.slow_syncs(3_000)?;
            assert!(synced(conversion)? >= Duration::from_secs(3), "{conversion} is slow");
            shim.slow_syncs(0)?;
            assert!(synced(conversion)? < Duration::from_secs(3), "{conversion} is as fast as ever");
        }
        Ok(())
    }
}
