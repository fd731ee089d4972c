//! The tests would notice if a safeguard were missing: each is left out in a run with the faults that it is there for, and
//! the checker accuses the promise that hangs on it. With the safeguard in place the same run is clean. Whether a fault meets
//! the right request or step is a matter of chance, so other seeds have a try where nothing came of the first. (What is
//! acknowledged before it is synced does not show when processes are killed; `raft/src/tests/powercut` shows that.)

use anyhow::{bail, ensure};
use meson_chaos_tests::check::Promise;
use meson_chaos_tests::faults::{Fault, Others, Way, Who};
use meson_chaos_tests::load::Pace;
use meson_chaos_tests::run::{Outcome, Plan, run};
use meson_chaos_tests::schedule::{Planned, Schedule};
use meson_chaos_tests::testbed::{Machine, Options};

/// A lease with its margin that steps and cuts outlast, and one that outlasts a change of leaders.
const SHORT: (u64, u64) = (1_500, 500);
const LONG: (u64, u64) = (3_000, 800);
const CUT_MS: u64 = 4_500;
const PAUSE_MS: u64 = 2_500;

/// Seeds that are tried until one notices: nearly always the first, with some two to ten violations.
const SEEDS: u64 = 5;

/// A deposed leader gives up after twice the longest election timer; with these it answers for as long as it is cut off.
const SLOW_ELECTIONS: [(&str, &str); 2] =
    [("MESON_ELECTION_MIN_MS", "800"), ("MESON_ELECTION_MAX_MS", "2400")];

/// Each of these in turn, `times` times over.
fn faults(of: impl Fn(u64) -> Fault, times: u64) -> Vec<Planned> {
    let planned =
        |number| Planned { at_ms: 2_000 + number * (CUT_MS + PAUSE_MS), lasts_ms: CUT_MS, fault: of(number) };
    (0..times).map(planned).collect()
}

/// How a run is set up.
struct Setup {
    /// The safeguard that is left out; empty for none.
    without: &'static str,
    lease: (u64, u64),
    settings: &'static [(&'static str, &'static str)],
    clients_each: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Setup { without: "", lease: SHORT, settings: &[], clients_each: 3 }
    }
}

/// The faults of replicas, and those of others.
type Faults = (Vec<Planned>, Vec<Planned>);

/// Runs under these faults.
fn strike(seed: u64, setup: &Setup, (replicas, others): Faults) -> anyhow::Result<Outcome> {
    let dir = tempfile::Builder::new().prefix("meson-safeguard-").tempdir()?;
    let mut options = Options::new(dir.path().to_owned(), seed);
    (options.lease_ms, options.lease_margin_ms) = setup.lease;
    let settings = [("MESON_HEARTBEAT_MS", "300"), ("MESON_SABOTAGE", setup.without)];
    let settings =
        settings.iter().chain(setup.settings).map(|(name, value)| (name.to_string(), value.to_string()));
    options.env.extend(settings);
    let lasts_ms = replicas.iter().chain(&others).map(|of| of.at_ms + of.lasts_ms).max().unwrap_or(0) + 1_000;
    let schedule = Schedule { seed, lasts_ms, each_when_well: false, replicas, others };
    run(Plan { options, schedule, clients_each: setup.clients_each, pace: Pace::Slow })
}

/// An executor after the other is cut off from all replicas for longer than its lease.
fn executors_cut_off(times: u64) -> Vec<Planned> {
    let replicas = || Others::Machines((0..3).map(Machine::Replica).collect());
    let cut = |number: u64| {
        let who = Who::Machine(Machine::Executor((number % 3) as u8));
        Fault::Cut { who, from: replicas(), way: Way::Both }
    };
    faults(cut, times)
}

/// The leader is cut off from the other replicas, but not from clients.
fn leaders_cut_off(times: u64) -> Vec<Planned> {
    faults(|_| Fault::Cut { who: Who::Leader, from: Others::Replicas, way: Way::Both }, times)
}

/// With one of the seeds, one of the promises that hang on the safeguard is found broken.
fn accuses(setup: &Setup, faults: impl Fn() -> Faults, promises: &[Promise]) -> anyhow::Result<()> {
    let mut last = String::new();
    for seed in 1..=SEEDS {
        let outcome = strike(seed, setup, faults())?;
        let verdicts = promises.iter().filter_map(|promise| outcome.report.verdict(*promise));
        let violations = verdicts.map(|verdict| verdict.violations.len()).sum::<usize>();
        println!("seed {seed} without {}: {violations} violations", setup.without);
        if violations > 0 {
            return Ok(());
        }
        last = outcome.markdown();
    }
    bail!("nobody noticed, the last time on this:\n{last}")
}

#[test]
fn an_attempt_that_outlives_its_lease_is_noticed() -> anyhow::Result<()> {
    let setup = Setup { without: "lease", ..Setup::default() };
    accuses(&setup, || (Vec::new(), executors_cut_off(3)), &[Promise::P3])
}

#[test]
fn a_report_that_no_fence_stops_is_noticed() -> anyhow::Result<()> {
    let setup = Setup { without: "fencing", ..Setup::default() };
    accuses(&setup, || (Vec::new(), executors_cut_off(4)), &[Promise::P3])
}

#[test]
fn an_answer_ahead_of_its_commit_is_noticed() -> anyhow::Result<()> {
    let setup = Setup {
        without: "commit-before-ack",
        settings: &SLOW_ELECTIONS,
        clients_each: 12,
        ..Setup::default()
    };
    // What was answered is lost; or, while it is not yet lost, others are told that it never was.
    let promises = [Promise::P1, Promise::Linearizable];
    accuses(&setup, || (leaders_cut_off(4), Vec::new()), &promises)
}

#[test]
fn with_all_safeguards_the_same_faults_break_nothing() -> anyhow::Result<()> {
    let setup = Setup { lease: LONG, ..Setup::default() };
    let outcome = strike(1, &setup, (leaders_cut_off(3), executors_cut_off(3)))?;
    ensure!(outcome.holds(), "{}", outcome.markdown());
    Ok(())
}
