//! Tests that need the inside of this crate and more than one of its modules.

mod no_space;
mod powercut;
