//! Which waiting step goes to which offer: a function of values, [`solve`], and why a step waits, [`explain`].
//!
//! Nothing here acts, reads a clock or keeps state between calls, except [`Queue`], a container that its owner fills.
//! The rules, with the argument why no step starves, are at [`solve`].

mod amounts;
mod explain;
mod fitness;
mod problem;
mod queue;
mod shape;
mod solve;

pub use amounts::{Amounts, Resource};
pub use explain::{Reason, explain};
pub use fitness::{BestFit, Fitness, Spread};
pub use problem::{Launch, Limits, Offer, Problem, Reservation, Solution, Waiting};
pub use queue::{Demand, Queue};
pub use shape::Shape;
pub use solve::solve;

#[cfg(test)]
mod tests;
