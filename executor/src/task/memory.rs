//! The memory of a process tree, for machines without a cgroup to limit it.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

/// Memory in bytes that these processes really use when it is above `limit`, else `None`.
///
/// Resident pages are cheap to read but count shared pages once per process, so a forked worker pool would look too
/// big; only when their sum is above the limit is the exact (proportional) size read.
pub fn above(pids: &[i32], limit: u64) -> Option<u64> {
    let resident: u64 = pids.iter().map(|pid| resident(*pid)).sum();
    if resident <= limit {
        return None;
    }
    let exact: u64 = pids.iter().map(|pid| proportional(*pid).unwrap_or_else(|| self::resident(*pid))).sum();
    (exact > limit).then_some(exact)
}

fn resident(pid: i32) -> u64 {
    let pages = fs::read_to_string(format!("/proc/{pid}/statm"))
        .ok()
        .and_then(|text| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok())
        .unwrap_or(0);
    pages * page_bytes()
}

fn page_bytes() -> u64 {
    const USUAL: u64 = 4096;
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok()).unwrap_or(USUAL)
}

fn proportional(pid: i32) -> Option<u64> {
    parse_pss(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

fn parse_pss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proportional_size_is_read_in_bytes() {
        assert_eq!(
            parse_pss("5580 [rollup]\nRss:   884 kB\nPss:     385 kB\nPss_Anon: 100 kB\n"),
            Some(385 * 1024)
        );
        assert_eq!(parse_pss(""), None);
    }

    #[test]
    fn this_process_is_above_a_byte_and_below_a_tebibyte() {
        let own = [i32::try_from(std::process::id()).unwrap()];
        assert!(above(&own, 1).is_some());
        assert_eq!(above(&own, 1 << 40), None);
    }
}
