//! The wire contract: generated code of `proto/mesos/v1`, and nothing else.

#![allow(missing_docs, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/mesos.v1.rs"));

/// Package `mesos.v1.scheduler`: between schedulers and the leading master.
pub mod scheduler {
    include!(concat!(env!("OUT_DIR"), "/mesos.v1.scheduler.rs"));
}

/// Package `mesos.v1.executor`: between executors and their agent.
pub mod executor {
    include!(concat!(env!("OUT_DIR"), "/mesos.v1.executor.rs"));
}

/// Package `mesos.v1.master`: between operators and a master.
pub mod master {
    include!(concat!(env!("OUT_DIR"), "/mesos.v1.master.rs"));
}

/// Package `mesos.v1.maintenance`: planned maintenance.
pub mod maintenance {
    include!(concat!(env!("OUT_DIR"), "/mesos.v1.maintenance.rs"));
}

/// The encoded `FileDescriptorSet` of all of them.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
