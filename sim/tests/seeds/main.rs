//! A deterministic simulation of the trio: the real log, engine and scheduler, with its actors, on one thread under
//! virtual time; a network that delays, loses, doubles, reorders and cuts; disks that lose what was not synced; and
//! executors and clients of its own. A seed decides the whole run.
//!
//! [docs/simulation.md](../../docs/simulation.md) says what is real, what is simulated, and what is checked.

mod check;
mod client;
mod definition;
mod entropy;
mod executor;
mod faults;
mod fleet;
mod history;
mod network;
mod operator;
mod replica;
mod run;
mod seeds;
mod session;
mod world;
