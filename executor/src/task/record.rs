//! The record of an attempt: one small file of JSON lines, each appended when it becomes a fact.
//!
//! One file and not one a fact, because creating files is what costs most in starting a step. Who creates it owns the
//! attempt: a supervisor, which will run it, or an executor that gives it up. After that the supervisor alone appends
//! until its tree is gone, then the executor alone. A line is one write; what has no line end is not yet a fact.
//!
//! Not synced: the record protects against the death of processes, which the page cache outlives. When the machine
//! itself dies its child processes die too, and what is then missing is reported as lost.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::spec::{Exit, Process};

/// A fact about an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// This process supervises it. Only as the first.
    Supervisor(Process),
    /// It was never started and never will be. Only as the first.
    GivenUp,
    /// This is the child, which leads a process group.
    Child(Process),
    /// The whole tree is gone.
    Exit(Exit),
    /// Every replica has the whole log.
    LogStored,
    /// Its last report is acknowledged, or nobody wants it.
    Done,
}

/// All facts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Who supervises or supervised it.
    pub supervisor: Option<Process>,
    /// Its child.
    pub child: Option<Process>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// Whether every replica has the whole log.
    pub log_stored: bool,
    /// Whether nothing is left to be said of it.
    pub done: bool,
    facts: usize,
}

impl Record {
    fn take(&mut self, fact: Fact) {
        self.facts += 1;
        match fact {
            Fact::Supervisor(process) => self.supervisor = Some(process),
            Fact::GivenUp => {}
            Fact::Child(process) => self.child = Some(process),
            Fact::Exit(exit) => self.exit = Some(exit),
            Fact::LogStored => self.log_stored = true,
            Fact::Done => self.done = true,
        }
    }
}

/// Reads the record; a missing one is empty.
pub fn read(path: &Path) -> Record {
    let mut record = Record::default();
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().filter_map(|line| serde_json::from_str(line).ok()).for_each(|fact| record.take(fact));
    record
}

/// Reads the record of an attempt that somebody has claimed, be it in this very moment: the first line is waited for.
/// Blocks for that long; a claimer that died in the middle has run nothing.
pub fn read_claimed(path: &Path) -> Record {
    const PATIENCE: Duration = Duration::from_secs(1);
    let give_up = Instant::now() + PATIENCE;
    loop {
        let record = read(path);
        if record.facts > 0 || Instant::now() >= give_up {
            return record;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Creates the record with its first fact.
///
/// # Errors
/// `AlreadyExists` when somebody was first, and what the disk says.
pub fn claim(path: &Path, fact: &Fact) -> io::Result<()> {
    File::options().append(true).create_new(true).open(path)?.write_all(&line(fact))
}

/// Appends a fact. An attempt that nobody claimed is thereby given up.
///
/// # Errors
/// What the disk says.
pub fn append(path: &Path, fact: &Fact) -> io::Result<()> {
    File::options().append(true).create(true).open(path)?.write_all(&line(fact))
}

/// When the newest fact was written.
pub fn changed(path: &Path) -> SystemTime {
    std::fs::metadata(path).and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn line(fact: &Fact) -> Vec<u8> {
    let mut line = serde_json::to_vec(fact).expect("plain enums always encode");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_claim_wins_and_facts_add_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        assert_eq!(read(&path), Record::default());
        let process = Process { pid: 7, start_ticks: 8, boot_id: "b".into() };
        claim(&path, &Fact::Supervisor(process.clone())).unwrap();
        assert_eq!(claim(&path, &Fact::GivenUp).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        append(&path, &Fact::LogStored).unwrap();
        append(&path, &Fact::Done).unwrap();
        let record = read_claimed(&path);
        assert_eq!(record.supervisor, Some(process));
        assert!(record.done && record.log_stored && record.exit.is_none());
    }

    #[test]
    fn half_a_line_is_no_fact() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        std::fs::write(&path, "\"given_up\"\n\"done\"").unwrap();
        assert!(!read(&path).done);
    }
}
