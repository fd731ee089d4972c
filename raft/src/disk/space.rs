//! How much room a disk has.

use std::io;
use std::path::Path;

/// Bytes that this process may still write on the disk of a path.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = nix::sys::statvfs::statvfs(path)?;
    Ok((stat.blocks_available() as u64).saturating_mul(stat.fragment_size() as u64))
}
