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
