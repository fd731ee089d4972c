//! Placeholder.

pub mod placement;
