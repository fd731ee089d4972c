//! Histories that keep every promise pass, and there is enough in them to have been checked on.

use std::collections::BTreeMap;

use meson_chaos_tests::check::{Promise, check};

use crate::sim::{self, Size};

#[test]
fn legal_histories_pass() {
    for seed in 0..80 {
        let history = sim::history(seed, Size::default());
        let report = check(&history);
        assert!(report.holds(), "seed {seed}:\n{}", report.markdown());
        assert!(report.notes.is_empty(), "seed {seed}: {:?}", report.notes);
    }
}

#[test]
fn legal_histories_hold_something_to_check_for_every_rule() {
    let mut counts: BTreeMap<(Promise, String), u64> = BTreeMap::new();
    for seed in 0..60 {
        for verdict in check(&sim::history(seed, Size::default())).verdicts {
            for count in verdict.checked {
                *counts.entry((verdict.promise, count.what)).or_default() += count.count;
            }
        }
    }
    let empty: Vec<_> = counts.iter().filter(|(_, count)| **count == 0).collect();
    assert!(empty.is_empty(), "never checked: {empty:?}");
}
