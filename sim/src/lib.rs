//! The simulation of the trio is this crate's only test, `tests/seeds`. There, and not here, because the seams that it needs
//! in the log and the scheduler must not be in programs that are built beside it: only tests have development dependencies.
