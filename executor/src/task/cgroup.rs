//! A cgroup (v2) for one attempt, where the machine lets us: the kernel then holds the limits of memory and processor.
//!
//! `auto` uses the parent of our own cgroup when it is ours to write and hands out the memory controller; that is what
//! systemd gives with `Delegate=yes` and `DelegateSubgroup=executor`. Everything else falls back to watching `/proc`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where cgroups are.
const ROOT: &str = "/sys/fs/cgroup";
/// Share of the processors for one core, and the range of the kernel's `cpu.weight`.
const WEIGHT_OF_CORE: u64 = 100;
const WEIGHT_MIN: u64 = 1;
const WEIGHT_MAX: u64 = 10_000;

/// The directory for cgroups of attempts: of the setting, or found.
pub fn find(setting: &str) -> Option<PathBuf> {
    let parent = match setting {
        "off" => return None,
        "auto" => own()?.parent()?.to_owned(),
        path => PathBuf::from(path),
    };
    let controllers = fs::read_to_string(parent.join("cgroup.subtree_control")).ok()?;
    let probe = parent.join("meson-probe");
    let usable =
        controllers.split_whitespace().any(|name| name == "memory") && fs::create_dir(&probe).is_ok();
    if usable {
        fs::remove_dir(probe).ok()?;
    }
    usable.then_some(parent)
}

/// The cgroup of this process.
fn own() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    (!path.is_empty()).then(|| Path::new(ROOT).join(path))
}

/// The cgroup of an attempt; removed when it is dropped.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Creates it with these limits; 0 is none.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn create(path: &Path, mem_bytes: u64, cpus_milli: u64) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let cgroup = Self { path: path.to_owned() };
        if mem_bytes > 0 {
            fs::write(path.join("memory.max"), mem_bytes.to_string())?;
            // The whole tree goes, not the process that happens to be largest.
            fs::write(path.join("memory.oom.group"), "1")?;
        }
        if cpus_milli > 0 {
            // A share, as containers have it: what nobody uses anybody may. Placement already keeps to the processors; a
            // kernel that gives no cpu controller is no reason to fail.
            let weight = (cpus_milli * WEIGHT_OF_CORE / 1_000).clamp(WEIGHT_MIN, WEIGHT_MAX);
            let _ = fs::write(path.join("cpu.weight"), weight.to_string());
        }
        Ok(cgroup)
    }

    /// Runs `spawn` with this process inside, so that the child is born inside; then leaves again, so that the limits
    /// never hit the supervisor.
    ///
    /// # Errors
    /// What `spawn` returns. A cgroup that cannot be entered or left is an error too.
    pub fn within<T>(&self, spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let own = own().ok_or_else(|| io::Error::other("this process has no cgroup"))?;
        let enter = |path: &Path| fs::write(path.join("cgroup.procs"), std::process::id().to_string());
        enter(&self.path)?;
        let spawned = spawn();
        enter(&own)?;
        spawned
    }

    /// Whether the kernel killed for memory here.
    pub fn ran_out_of_memory(&self) -> bool {
        fs::read_to_string(self.path.join("memory.events")).is_ok_and(|text| oom_kills(&text) > 0)
    }
}

fn oom_kills(events: &str) -> u64 {
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Fails while something is left in it, and then stays for people to look at.
        let _ = fs::remove_dir(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_and_deaths_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("attempt");
        let cgroup = Cgroup::create(&path, 1_024, 1_500).unwrap();
        assert_eq!(fs::read_to_string(path.join("memory.max")).unwrap(), "1024");
        assert_eq!(fs::read_to_string(path.join("cpu.weight")).unwrap(), "150");
        assert!(!cgroup.ran_out_of_memory());
        fs::write(path.join("memory.events"), "low 0\noom 1\noom_kill 2\n").unwrap();
        assert!(cgroup.ran_out_of_memory());
    }

    #[test]
    fn a_directory_without_controllers_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_string_lossy().into_owned();
        assert_eq!(find(&path), None);
        fs::write(dir.path().join("cgroup.subtree_control"), "cpu memory\n").unwrap();
        assert_eq!(find(&path), Some(dir.path().to_owned()));
        assert_eq!(find("off"), None);
    }
}
