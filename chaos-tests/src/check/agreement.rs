//! At the end, when nothing moves any more, all replicas hold the same runs and nodes.

use std::collections::BTreeMap;

use super::index::Index;
use super::report::{Promise, Verdict};

pub(super) fn check(index: &Index<'_>) -> Verdict {
    let mut verdict = Verdict::new(Promise::Agreement);
    let end = &index.history.end;
    verdict.count("replicas", end.fingerprints.len() as u64);
    verdict.looked(end.fingerprints.len() as u64);
    let mut camps: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (replica, fingerprint) in &end.fingerprints {
        camps.entry(fingerprint).or_default().push(replica);
    }
    if camps.len() > 1 {
        verdict.violation(end.at, format!("the replicas differ at the end, by fingerprint: {camps:?}"));
    }
    verdict
}
