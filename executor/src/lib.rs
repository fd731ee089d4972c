//! The process on an agent that runs attempts of steps and reports on them.
//!
//! `session` speaks with the leader, `attempts` holds what runs, `task` is one child process tree under its supervisor,
//! `runners` know the step technologies, `outbox` keeps reports until they are acknowledged, `logs` ships output to the
//! replicas, `secrets` reads what steps must not show and masks it, `agent` is the way to Mesos, where a Mesos agent started it, `drive` follows work that engines do elsewhere, `fs`
//! is how steps reach storage. The executor decides nothing about runs: it does what it is told, once, and says what became of it.
//!
//! Stopping. SIGTERM, SIGINT and even `kill -9` of the executor leave its attempts running under their supervisors, until
//! the lease ends; the next start on the same data directory adopts them. A service file must therefore kill the process
//! alone (systemd: `KillMode=process`).

pub mod agent;
pub mod attempts;
pub mod channel;
pub mod claims;
pub mod clock;
pub mod config;
pub mod drive;
pub mod events;
pub mod fetch;
pub mod fs;
pub mod helpers;
pub mod identity;
pub mod kept;
pub mod lease;
pub mod logs;
pub mod outbox;
pub mod runners;
mod sabotage;
pub mod secrets;
pub mod session;
pub mod task;
pub mod telemetry;
pub mod units;
pub mod ways;
