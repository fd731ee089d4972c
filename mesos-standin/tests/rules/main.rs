//! The master's rules without processes: what each call answers, to whom, in which order.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on must fail")]

mod accept;
mod harness;
mod offers;
