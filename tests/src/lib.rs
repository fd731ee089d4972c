//! What the whole-repository tests share: where the repository is, which files belong to it, and how findings are told.
//!
//! The tests themselves are in `tests/`: `arrows` (who may use whom), `tidy` (style), `contracts` (the gRPC contracts),
//! `docs` (the documents), `deploy` (what operators run), and `system`, `errors`, `scale`, `grpcurl`, `recommendations`,
//! `memory`, `secrets` (the running system, by [`system`]), `plugins` (kinds from outside), `mesos` (the same on a Mesos
//! cluster), and `docker`, `hdfs`, `hive`, `languages`, `spark` and `yarn` (real engines; the steps of the last two: [`spark`]).

pub mod spark;
pub mod system;
pub mod waiting;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};

/// The repository's root folder.
pub fn root() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

/// Runs a program in the root folder and returns its standard output.
pub fn output_of(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {} failed: {stderr}", arguments.join(" "));
    String::from_utf8(output.stdout).with_context(|| format!("{program} did not print UTF-8"))
}

/// A text file that git tracks.
pub struct TrackedFile {
    /// Its path from the root folder, with `/`.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

impl TrackedFile {
    /// What follows the last dot of the file's name, or nothing.
    pub fn extension(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// Its lines, with their numbers from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// All tracked files that are text and present in the work tree.
pub fn tracked_files() -> anyhow::Result<Vec<TrackedFile>> {
    let listing = output_of("git", &["ls-files", "-z"])?;
    let mut files = Vec::new();
    for path in listing.split('\0').filter(|path| !path.is_empty()) {
        // A deleted file is still listed until the deletion is committed; a binary one has no style.
        let Ok(text) = std::fs::read_to_string(root().join(path)) else { continue };
        files.push(TrackedFile { path: path.to_owned(), text });
    }
    ensure!(!files.is_empty(), "git lists no files: run the tests in a clone of the repository");
    Ok(files)
}

/// What a check found; collected, so that one run shows everything.
#[derive(Default)]
pub struct Findings(Vec<String>);

impl Findings {
    /// Adds a finding: where it is, what is wrong, and what to do about it.
    pub fn add(&mut self, place: impl std::fmt::Display, wrong: impl std::fmt::Display, remedy: &str) {
        self.0.push(format!("{place}: {wrong} ({remedy})"));
    }

    /// The findings so far, in the order they were made.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// Fails when there is any finding, and lists them all.
    pub fn conclude(self) -> anyhow::Result<()> {
        ensure!(self.0.is_empty(), "{} finding(s):\n  {}", self.0.len(), self.0.join("\n  "));
        Ok(())
    }
}

/// Compiles and runs the Rust in the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
