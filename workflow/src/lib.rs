//! The nouns of Meson: workflow definitions, their checks, the Rust DSL, the YAML and JSON forms, and the sandboxed
//! expressions in them. Pure: no I/O beyond the strings it is given, no clock, no async.

pub mod definition;
pub mod units;

pub use definition::Definition;
