//! Compiles the contracts with protox, a protobuf compiler in Rust, so that no `protoc` is needed on the machine.

use std::path::{Path, PathBuf};

use prost::Message as _;

/// The folders that hold contracts, relative to `proto/`.
const FOLDERS: [&str; 5] =
    ["mesos/v1", "mesos/v1/scheduler", "mesos/v1/executor", "mesos/v1/master", "mesos/v1/maintenance"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in FOLDERS {
        let folder = Path::new("proto").join(folder);
        println!("cargo:rerun-if-changed={}", folder.display());
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "proto") {
                files.push(path);
            }
        }
    }
    files.sort();
    let descriptors = protox::compile(&files, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // Type names find the descriptor of a message, which JSON and the check of required fields work with.
    prost_build::Config::new().bytes(["."]).enable_type_names().compile_fds(descriptors)?;
    Ok(())
}
