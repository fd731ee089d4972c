//! Bounds of the state and of the work that one command may cause.

/// Nodes created by one command before the rest is left to a `Continue`.
pub const EXPAND_NODES_MAX: u32 = 500;

/// Nodes a sweep looks at in one command.
pub const SWEEP_NODES_MAX: u32 = 1_000;

/// Nodes archived by one command.
pub const ARCHIVE_NODES_MAX: u32 = 500;

/// Nodes of one run, over all its scopes.
pub const RUN_NODES_MAX: u32 = 1_000_000;

/// Items of one for_each.
pub const ITEMS_MAX: usize = 100_000;

/// Runs that have not ended.
pub const RUNS_MAX: usize = 100_000;

/// Ended runs that stay in the working state, where they can be restarted; older ones go to the archive.
pub const ENDED_RUNS_MAX: usize = 200;

/// Nodes of ended runs that stay in the working state.
pub const ENDED_NODES_MAX: u64 = 300_000;

/// Request ids that are remembered, the newest ones (P2 holds within them).
pub const REQUESTS_MAX: usize = 100_000;

/// Outputs of one node, in bytes of JSON.
pub const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// Artifacts of one attempt.
pub const ARTIFACTS_MAX: usize = 1_000;

/// Definitions one run may use, by calling workflows.
pub const PINS_MAX: usize = 64;

/// Signals of one run that no node has taken.
pub const SIGNALS_MAX: usize = 1_000;

/// Request ids of signals that a run remembers.
pub const SIGNAL_IDS_MAX: usize = 256;

/// Length of a failure's message, in bytes; the rest is cut.
pub const MESSAGE_BYTES_MAX: usize = 4 << 10;
