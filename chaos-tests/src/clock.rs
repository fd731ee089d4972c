//! The clock of all histories: `CLOCK_MONOTONIC`, which all processes of a machine share and no fault moves.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::history::Micros;

/// Microseconds since some moment that is the same for all processes of this machine.
pub fn now() -> Micros {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    time.as_micros() as Micros
}
