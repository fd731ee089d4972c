//! The tests: many seeds, one seed again, the same seed twice, and seeds with a safeguard taken away.
//!
//! Each seed runs in a process of its own, as parts of the process's randomness count up from its start. Settings:
//! `SIM_SEEDS` how many seeds, `SIM_FIRST` the first one, `SIM_SEED` the one for `one_seed`, `MESON_SABOTAGE` a safeguard taken away.

use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::run::simulate;

/// Safeguards that can be taken away, by the names that `meson_raft::sabotage` has for them.
const SAFEGUARDS: [&str; 5] =
    ["sync-before-ack", "commit-before-ack", "read-barrier", "stepping-down", "fencing"];
/// Seeds that are run unless told otherwise, as far as the time goes: a machine that is busy gets through fewer.
const SEEDS: u64 = 1_000;
const TIME: Duration = Duration::from_secs(150);
/// Seeds in which a planted bug must be noticed at least once; the first that notices ends the search. Most bugs show within
/// ten, `fencing` in one of some four hundred.
const BUG_SEEDS: u64 = 2_000;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// What one process said.
struct Outcome {
    line: String,
    failed: bool,
    output: String,
}

fn in_its_own_process(seed: u64, bug: &str) -> Outcome {
    let output = Command::new(std::env::current_exe().expect("a program knows its own path"))
        .args(["--exact", "seeds::one_seed", "--nocapture", "--include-ignored"])
        .env("SIM_SEED", seed.to_string())
        .env("MESON_SABOTAGE", bug)
        .output()
        .expect("this program starts once more");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.contains("SIM seed")).unwrap_or("it ended early").to_owned();
    Outcome { line, failed: !output.status.success(), output: text }
}

/// Runs seeds on all cores until `enough` says so; gives what it was told.
fn run_seeds(first: u64, count: u64, bug: &str, enough: impl Fn(u64, &Outcome) -> bool + Sync) -> u64 {
    let (next, done) = (AtomicU64::new(first), AtomicUsize::new(0));
    let ran = AtomicU64::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while done.load(Ordering::Relaxed) == 0 {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    ran.fetch_add(1, Ordering::Relaxed);
                    if enough(seed, &in_its_own_process(seed, bug)) {
                        done.store(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    ran.into_inner()
}

#[test]
fn one_seed() {
    let seed = setting("SIM_SEED").unwrap_or(1);
    let report = simulate(seed);
    let verdict = report.failure.as_deref().unwrap_or("holds");
    println!(
        "SIM seed {seed} hash {:016x}, {} virtual s, {} checks: {verdict}",
        report.hash, report.seconds, report.checks
    );
    if report.failure.is_some() || std::env::var_os("SIM_TRACE").is_some() {
        report.trace.iter().for_each(|line| println!("{line}"));
    }
    assert!(
        report.failure.is_none(),
        "{verdict}\nSIM_SEED={seed} cargo test -p meson-sim one_seed -- --nocapture"
    );
}

#[test]
fn every_seed_holds() {
    let (first, asked) = (setting("SIM_FIRST").unwrap_or(1), setting("SIM_SEEDS"));
    let count = asked.unwrap_or(SEEDS);
    let failed = Mutex::new(Vec::new());
    let begun = std::time::Instant::now();
    let ran = run_seeds(first, count, "", |seed, outcome| {
        if outcome.failed {
            println!("{}\n  SIM_SEED={seed} cargo test -p meson-sim one_seed -- --nocapture", outcome.line);
            failed.lock().unwrap_or_else(PoisonError::into_inner).push((seed, outcome.output.clone()));
        }
        asked.is_none() && begun.elapsed() > TIME
    });
    println!("{ran} seeds in {:.1} s", begun.elapsed().as_secs_f64());
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    let seeds: Vec<u64> = failed.iter().map(|(seed, _)| *seed).collect();
    let first = failed.first().map_or("", |(_, output)| output);
    assert!(failed.is_empty(), "seeds {seeds:?} do not hold; the first one:\n{first}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 1..=10 {
        let (first, second) = (in_its_own_process(seed, ""), in_its_own_process(seed, ""));
        assert_eq!(first.line, second.line, "seed {seed}");
        assert!(first.line.contains("hash"), "{}", first.output);
    }
}

#[test]
fn every_planted_bug_is_noticed() {
    for bug in SAFEGUARDS {
        let noticed = Mutex::new(None);
        let tried = run_seeds(1, BUG_SEEDS, bug, |_, outcome| {
            if outcome.failed {
                *noticed.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome.line.clone());
            }
            outcome.failed
        });
        let noticed = noticed.into_inner().unwrap_or_else(PoisonError::into_inner);
        println!("{bug}: {tried} seeds, {noticed:?}");
        assert!(noticed.is_some(), "nothing noticed {bug} in {BUG_SEEDS} seeds");
    }
}
