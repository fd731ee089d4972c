//! One line for each change of a status, for logs and pipes.

use std::collections::HashMap;

use meson_proto::v1::*;

use super::{View, ended_line};
use crate::show;

/// Prints lines.
#[derive(Default)]
pub struct Plain {
    shown: HashMap<String, (NodeStatus, u32)>,
    status: Option<RunStatus>,
}

impl View for Plain {
    fn node(&mut self, node: &Node) {
        let now = (node.status(), node.attempt);
        if self.shown.insert(node.path.clone(), now) == Some(now) {
            return;
        }
        if let Some(line) = ended_line(node) {
            println!("{line}");
            return;
        }
        match node.status() {
            NodeStatus::Running if node.attempt > 1 => println!("▶ {} (attempt {})", node.path, node.attempt),
            NodeStatus::Running => println!("▶ {}", node.path),
            NodeStatus::Active if node.children_total > 1 => {
                println!("▶ {} ({} parts)", node.path, node.children_total)
            }
            NodeStatus::BackingOff => println!("↻ {} {}", node.path, node.waiting_reason),
            NodeStatus::Waiting => println!("… {} {}", node.path, node.waiting_reason),
            _ => {}
        }
    }

    fn progress(&mut self, progress: &Progress) {
        let said = show::words(&progress.message);
        match progress.percent {
            Some(percent) => println!("  {} {percent:.0}% {said}", progress.path),
            None => println!("  {} {said}", progress.path),
        }
    }

    fn run(&mut self, run: &Run) {
        if self.status.replace(run.status()) != Some(run.status()) {
            println!("run {}", show::run_status(run.status()));
        }
    }

    fn finish(&mut self) {}
}
