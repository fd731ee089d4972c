//! What the machine itself costs: a small write with a disk sync, and a fork with an exec.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Median costs, in milliseconds.
pub struct Floor {
    /// Appending 256 bytes and syncing them.
    pub sync_ms: f64,
    /// Running `/bin/true` to its end.
    pub spawn_ms: f64,
}

/// Measures on the disk that holds `dir`.
///
/// # Errors
/// When the file or the program cannot be used.
pub fn measure(dir: &Path) -> anyhow::Result<Floor> {
    let mut file = File::create(dir.join("floor"))?;
    let sync_ms = median_ms(200, || {
        file.write_all(&[7; 256])?;
        file.sync_data()
    })?;
    let spawn_ms = median_ms(100, || Command::new("/bin/true").status().map(drop))?;
    Ok(Floor { sync_ms, spawn_ms })
}

fn median_ms(times: usize, mut action: impl FnMut() -> std::io::Result<()>) -> std::io::Result<f64> {
    let mut samples = Vec::with_capacity(times);
    for _ in 0..times {
        let started = Instant::now();
        action()?;
        samples.push(started.elapsed().as_secs_f64() * 1e3);
    }
    samples.sort_by(f64::total_cmp);
    Ok(samples[times / 2])
}
