//! A simulated power cut: a program writes and acknowledges while shim.c records what it does to its files, and then
//! many images are made of what a cut may have left (see `recording`), opened, and checked against its word.
//!
//! What it shows: every acknowledged vote, entry and snapshot survives, whichever of the unsynced writes reach the
//! disk, in whatever order and however torn, and no such image is taken for damage. What it cannot show: a disk that
//! lies about its syncs, or a file system that loses what it synced.

mod recording;
mod workloads;

use std::path::{Path, PathBuf};
use std::process::Command;

use recording::Event;

/// Numbers that look random (xorshift64*), the same for the same seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % end.max(1)
    }
}

/// `MESON_CUT_SEED`, `MESON_CUT_COUNT` and `MESON_CUT_STEPS` repeat a run, or make it longer.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// One recorded run of a workload.
struct Recorded {
    dir: tempfile::TempDir,
    events: Vec<Event>,
}

impl Recorded {
    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What was promised before an event.
    fn marks(&self, at: usize) -> impl Iterator<Item = &str> {
        self.events[..at].iter().filter_map(|event| match event {
            Event::Mark(text) => Some(text.trim_end()),
            _ => None,
        })
    }
}

/// Has this very program run a workload under the shim.
fn record(workload: &str, seed: u64, sabotage: &str) -> Recorded {
    let dir = tempfile::tempdir().unwrap();
    let shim = dir.path().join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/powercut/shim.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&shim)
        .arg(source)
        .arg("-ldl")
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "cc must be able to build shim.c: install a C compiler"
    );
    // The file's own name, which is the one the kernel tells the shim.
    let root = dir.path().canonicalize().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::powercut::child", "--nocapture"])
        .env("LD_PRELOAD", &shim)
        .env("MESON_CUT_CHILD", workload)
        .env("MESON_CUT_SEED", seed.to_string())
        .env("MESON_CUT_DIR", root.join("data"))
        .env("MESON_CUT_RECORD", root.join("record"))
        .env("MESON_CUT_MARKS", root.join("marks"))
        .env("MESON_SABOTAGE", sabotage)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events = recording::read(&root.join("record"));
    let syncs = events.iter().filter(|event| matches!(event, Event::SyncEnd(..))).count();
    let marks = events.iter().filter(|event| matches!(event, Event::Mark(_))).count();
    assert!((syncs > 50 || !sabotage.is_empty()) && marks > 50, "{syncs} syncs and {marks} marks recorded");
    Recorded { dir, events }
}

/// Does nothing as a test of its own: it is what [`record`] runs.
#[test]
fn child() {
    let Ok(workload) = std::env::var("MESON_CUT_CHILD") else { return };
    let dir = PathBuf::from(std::env::var("MESON_CUT_DIR").unwrap());
    let mut dice = Dice::new(setting("MESON_CUT_SEED", 1));
    match workload.as_str() {
        "log" => workloads::log::run(&dir, &mut dice),
        "replica" => workloads::replica::run(&dir, &mut dice),
        other => panic!("no workload {other}"),
    }
}

type Check = fn(&Path, &[&str]) -> Result<(), String>;

/// Cuts a recorded run at many moments; gives what was wrong after each.
fn cut_often(recorded: &Recorded, cuts: u64, seed: u64, check: Check) -> Vec<String> {
    let first = recorded.events.iter().position(|event| matches!(event, Event::Mark(_))).unwrap_or(0) as u64;
    let mut dice = Dice::new(seed);
    let mut wrong = Vec::new();
    for number in 0..cuts {
        // Some before anything was promised, too: what cannot be opened then was never more than begun.
        let from = if number % 10 == 0 { 0 } else { first };
        let at = (from + dice.below(recorded.events.len() as u64 + 1 - from)) as usize;
        let image = tempfile::tempdir().unwrap();
        recording::cut(
            &recorded.events,
            at,
            &mut dice,
            &recorded.data_dir().canonicalize().unwrap(),
            image.path(),
        );
        let marks: Vec<&str> = recorded.marks(at).collect();
        if let Err(problem) = check(image.path(), &marks) {
            wrong.push(format!("seed {seed}, cut {number} before event {at}: {problem}"));
        }
    }
    wrong
}

fn survives(workload: &str, runs: u64, cuts: u64, check: Check) {
    let first = setting("MESON_CUT_SEED", 1);
    for seed in first..first + setting("MESON_CUT_COUNT", runs) {
        let recorded = record(workload, seed, "");
        let wrong = cut_often(&recorded, cuts, seed, check);
        assert!(wrong.is_empty(), "{} of {cuts}:\n{}", wrong.len(), wrong.join("\n"));
    }
}

#[test]
fn votes_and_entries_survive_a_power_cut() {
    survives("log", 1, 80, workloads::log::check);
}

#[test]
fn acknowledged_commands_survive_a_power_cut() {
    survives("replica", 1, 50, workloads::replica::check);
}

/// A store that acknowledges before its sync loses something, and this test sees it: with the guard as a store that
/// does not open, without it as entries that are not there.
#[test]
fn a_missing_sync_is_noticed() {
    for (sabotage, sign) in [("sync-before-ack", "was promised"), ("sync-before-ack,guard", "of term")] {
        let recorded = record("log", 1, sabotage);
        let wrong = cut_often(&recorded, 20, 1, workloads::log::check);
        let lost = wrong.len();
        assert!(lost > 10, "{sabotage}: only {lost} of 20 cuts lost something:\n{}", wrong.join("\n"));
        assert!(wrong.iter().any(|problem| problem.contains(sign)), "{sabotage}:\n{}", wrong.join("\n"));
    }
}
