//! Compiles the contracts with protox, a protobuf compiler in Rust, so that no `protoc` is needed on the machine.

use std::path::{Path, PathBuf};

use prost::Message as _;

/// The folders that hold contracts, relative to this crate.
const FOLDERS: [&str; 2] = ["meson/v1", "meson/raft/v1"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in FOLDERS {
        println!("cargo:rerun-if-changed={folder}");
        for entry in std::fs::read_dir(folder)? {
            files.push(entry?.path());
        }
    }
    files.sort();
    let descriptors = protox::compile(&files, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    assert!(Path::new(&out).exists());
    Ok(())
}
