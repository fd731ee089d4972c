//! Names that both sides of the HTTP APIs use: paths, headers, media types.

/// Where a master listens to schedulers.
pub const SCHEDULER_PATH: &str = "/api/v1/scheduler";
/// Where an agent listens to executors.
pub const EXECUTOR_PATH: &str = "/api/v1/executor";
/// Where masters and agents listen to operators.
pub const OPERATOR_PATH: &str = "/api/v1";

/// Names the subscription of a scheduler: in the answer to SUBSCRIBE and in all later calls, never in SUBSCRIBE itself.
pub const STREAM_ID: &str = "Mesos-Stream-Id";
/// A stream id is never longer.
pub const STREAM_ID_BYTES_MAX: usize = 128;

/// The media type of binary protobuf.
pub const PROTOBUF: &str = "application/x-protobuf";
/// The media type of JSON.
pub const JSON: &str = "application/json";
