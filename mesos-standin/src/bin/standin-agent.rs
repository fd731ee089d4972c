//! The stand-in's agent process.
fn main() {}
