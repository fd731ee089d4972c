//! The clocks: boot time for deadlines, wall-clock time for people.
//!
//! Deadlines are measured in `CLOCK_BOOTTIME` because it is the same number in every process of the machine and goes
//! on while the machine is suspended: a lease must run out for a machine that sleeps, since the scheduler does not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Milliseconds since the machine booted, with the time it was suspended.
pub fn boot_ms() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("linux has had CLOCK_BOOTTIME since 2.6.39");
    u64::try_from(Duration::from(now).as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970 by the machine's wall clock.
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The kernel's id of this boot; boot-time deadlines and pids of another boot mean nothing.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
