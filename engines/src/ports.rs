//! Free ports of loopback for engines that must be told theirs: below those that the system gives to clients, so that nobody
//! takes one by chance before its engine does, or while that is restarted.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::TcpListener;

use anyhow::Context as _;

/// Where they are looked for, from a random one on.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// As many different ones as are asked for.
///
/// # Errors
/// When all are taken.
pub fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    // A hasher's keys are random.
    let start = (RandomState::new().build_hasher().finish() % u64::from(COUNT)) as u16;
    let free = (0..COUNT)
        .map(|step| FIRST + (start + step) % COUNT)
        .filter(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    let ports: Vec<u16> = free.take(N).collect();
    ports.as_slice().try_into().context("no port is free")
}
