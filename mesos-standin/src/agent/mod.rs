//! The agent's process.
