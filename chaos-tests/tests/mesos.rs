//! A short chaos test with Mesos as resource manager: masters die and fail over, agents are cut off and come back, and
//! leaders are killed as ever, under a mixed load; the checker judges as it does without Mesos.

use anyhow::ensure;
use meson_chaos_tests::chance::Chance;
use meson_chaos_tests::check::Promise;
use meson_chaos_tests::load::Pace;
use meson_chaos_tests::run::{Plan, run};
use meson_chaos_tests::schedule::{Limits, Schedule};
use meson_chaos_tests::testbed::Options;

#[test]
fn a_minute_of_faults_breaks_no_promise_on_mesos() -> anyhow::Result<()> {
    let seed = match std::env::var("CHAOS_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => Chance::fresh_seed(),
    };
    println!("seed {seed}: CHAOS_SEED={seed} plays the same schedule again");
    let dir = tempfile::Builder::new().prefix("meson-chaos-mesos-").tempdir()?;
    let mut options = Options::new(dir.path().to_owned(), seed);
    options.size.masters = 2;
    let limits =
        Limits { lasts_ms: 45_000, lease_ms: options.lease_ms + options.lease_margin_ms, disk_full: false };
    let schedule = Schedule::of(seed, options.size, limits);
    let outcome = run(Plan { options, schedule, clients_each: 2, pace: Pace::Mixed })?;

    // The test itself must have done something, or silence would pass for success.
    let history = &outcome.history;
    ensure!(history.faults.len() >= 5, "{} faults only", history.faults.len());
    ensure!(history.operations.len() >= 100, "{} operations only", history.operations.len());
    ensure!(history.marks.len() >= 100, "{} marks only", history.marks.len());
    for promise in Promise::ALL {
        ensure!(outcome.report.verdict(promise).is_some(), "{promise} was not checked");
    }
    if !outcome.holds() || !outcome.report.notes.is_empty() {
        let kept = dir.keep();
        anyhow::bail!("everything is in {}\n\n{}", kept.display(), outcome.markdown());
    }
    Ok(())
}
