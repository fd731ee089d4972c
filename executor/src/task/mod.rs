//! One child process tree: its files on disk, its supervisor, and the executor's handle to it.

pub mod alarm;
pub mod cgroup;
pub mod cleanup;
pub mod dirs;
pub mod exit;
pub mod handle;
pub mod memory;
pub mod proc;
pub mod pump;
pub mod record;
pub mod spec;
pub mod supervise;
pub mod temporary;
pub mod trees;
