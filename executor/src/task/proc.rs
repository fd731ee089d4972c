//! What `/proc` says about processes: who they are, who descends from whom, how much memory they use.

use std::collections::HashSet;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::spec::Process;
use crate::clock;

/// The state letter, parent and start of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z`, ….
    pub state: char,
    /// Parent's pid.
    pub parent: i32,
    /// Clock ticks from boot to start.
    pub start_ticks: u64,
}

/// Reads `/proc/<pid>/stat`.
pub fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The command's name is in parentheses and may hold anything, parentheses and blanks too.
    let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // Field 22 of the line is the 20th after the name, and two are taken.
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some(Stat { state, parent, start_ticks })
}

impl Process {
    /// The process that runs with this pid now.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, start_ticks: stat(pid)?.start_ticks, boot_id: clock::boot_id() })
    }

    /// Whether it lives: the same process, and not a zombie.
    pub fn is_alive(&self) -> bool {
        self.boot_id == clock::boot_id()
            && stat(self.pid)
                .is_some_and(|now| now.start_ticks == self.start_ticks && !matches!(now.state, 'Z' | 'X'))
    }
}

/// All living descendants of a process, nearest first.
pub fn descendants(root: i32) -> Vec<i32> {
    let mut found = vec![root];
    let mut known = HashSet::from([root]);
    let mut next = 0;
    while next < found.len() {
        for child in children(found[next]) {
            if known.insert(child) {
                found.push(child);
            }
        }
        next += 1;
    }
    found.remove(0);
    found
}

/// Children of all threads of a process, by `/proc/<pid>/task/<tid>/children`.
fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|text| {
            text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>()
        })
        .collect()
}

/// All processes whose environment holds `NAME=value`; for the left-overs of a supervisor that is gone itself.
pub fn with_environment(name: &str, value: &str) -> Vec<i32> {
    let wanted = format!("{name}={value}");
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| u32::try_from(*pid) != Ok(own))
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|block| block.split(|byte| *byte == 0).any(|pair| pair == wanted.as_bytes()))
        })
        .collect()
}

/// Sends SIGKILL; a process that is gone already is fine.
pub fn kill_hard(pids: &[i32]) {
    for pid in pids {
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_survives_odd_names() {
        let line = "77 (a) b (c)) S 12 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 20";
        assert_eq!(parse_stat(line), Some(Stat { state: 'S', parent: 12, start_ticks: 4711 }));
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    fn this_process_lives_and_another_start_is_another_process() {
        let own = Process::of(std::process::id().try_into().unwrap()).unwrap();
        assert!(own.is_alive());
        assert!(!Process { start_ticks: own.start_ticks + 1, ..own.clone() }.is_alive());
        assert!(!Process { boot_id: "another".into(), ..own }.is_alive());
    }

    #[test]
    fn a_child_is_a_descendant() {
        let mut child =
            std::process::Command::new("sleep").arg("60").env("MESON_PROBE", "42").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(descendants(std::process::id().try_into().unwrap()).contains(&pid));
        // The environment is there a moment after the program.
        while !with_environment("MESON_PROBE", "42").contains(&pid) {
            assert!(stat(pid).is_some_and(|stat| stat.state != 'Z'));
        }
        kill_hard(&[pid]);
        child.wait().unwrap();
    }
}
