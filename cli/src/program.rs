//! The other programs of Meson, which lie beside this one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::error::Error;
use crate::{Exit, Result};

/// The path of a program: in `MESON_BIN_DIR`, or beside this one.
pub fn path(name: &str) -> Result<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_owned));
    let dir = std::env::var_os("MESON_BIN_DIR").map(PathBuf::from).or(beside).unwrap_or_default();
    let path = dir.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::usage(format!(
        "{} is not there; build it (`make build`) or set MESON_BIN_DIR",
        path.display()
    )))
}

/// Runs a program to its end, with this one's output; its exit status is the result.
pub async fn run(name: &str, arguments: Vec<OsString>) -> Result {
    let program = path(name)?;
    let status = Command::new(&program).args(arguments).status().await;
    let status = status.map_err(|error| Error::usage(format!("{}: {error}", program.display())))?;
    Ok(match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(0) => Exit::Succeeded,
        Some(code) => Exit::Status(code),
        None => Exit::Status(1),
    })
}
