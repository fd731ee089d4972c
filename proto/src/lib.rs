//! The contracts: generated code of the `.proto` files beside this crate, and nothing else.
//!
//! `v1` is the public face (package `meson.v1`), `raft::v1` is spoken between replicas only. [`DESCRIPTORS`] holds the
//! encoded file descriptors for server reflection.

#![allow(missing_docs, clippy::all)]

/// The public contracts, package `meson.v1`.
pub mod v1 {
    tonic::include_proto!("meson.v1");
}

/// Contracts between replicas.
pub mod raft {
    /// Package `meson.raft.v1`.
    pub mod v1 {
        tonic::include_proto!("meson.raft.v1");
    }
}

/// The encoded `FileDescriptorSet` of all contracts.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
