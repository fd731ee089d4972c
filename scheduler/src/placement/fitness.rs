//! How well an offer suits a step, among those that fit. Another policy is another implementation of [`Fitness`].

use std::fmt;

use super::{Amounts, Offer, Shape};

/// Ranks the offers that fit a step.
pub trait Fitness: fmt::Debug {
    /// From 0 to 1; the offer with the highest score is taken, the first in the problem's order among equals. `left` is
    /// what earlier launches left of the offer; the step fits into it.
    fn score(&self, shape: &Shape, offer: &Offer, left: &Amounts) -> f64;
}

/// Fills agents one after the other, so that large steps find room: the fuller in cpus and memory, the better.
#[derive(Debug, Clone, Copy, Default)]
pub struct BestFit;

/// Spreads steps, so that each has room and one lost agent hurts less: the emptier in cpus and memory, the better.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spread;

impl Fitness for BestFit {
    fn score(&self, shape: &Shape, offer: &Offer, left: &Amounts) -> f64 {
        let after = left.saturating_sub(&shape.resources);
        let cpus = used_share(after.cpus_milli, offer.total.cpus_milli);
        let mem = used_share(after.mem_bytes, offer.total.mem_bytes);
        (cpus + mem) / 2.0
    }
}

impl Fitness for Spread {
    fn score(&self, shape: &Shape, offer: &Offer, left: &Amounts) -> f64 {
        1.0 - BestFit.score(shape, offer, left)
    }
}

fn used_share(free: u64, total: u64) -> f64 {
    if total == 0 {
        return 1.0;
    }
    (1.0 - free as f64 / total as f64).clamp(0.0, 1.0)
}
