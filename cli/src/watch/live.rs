//! The live view of a terminal: what ended scrolls up, below it a line for each active node with its progress, and at
//! the bottom the run's tallies.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use meson_proto::v1::*;

use super::{View, ended_line};
use crate::show;

/// Lines of active nodes; more are only counted.
const LINES_MAX: usize = 12;

/// Lines of ended nodes that scroll up each second; more are only counted in the tallies.
const ENDED_PER_SECOND_MAX: u32 = 200;

/// The view.
pub struct Live {
    screen: MultiProgress,
    footer: ProgressBar,
    more: ProgressBar,
    lines: BTreeMap<String, ProgressBar>,
    /// Active nodes without a line.
    waiting: BTreeMap<String, Node>,
    second: Instant,
    ended: u32,
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates are written here")
        .progress_chars("█▉▊▋▌▍▎▏ ")
}

impl Live {
    /// An empty view.
    pub fn new() -> Self {
        let screen = MultiProgress::new();
        let plain = |bar: &ProgressBar| bar.set_style(style("{msg}"));
        let more = screen.add(ProgressBar::new(0));
        plain(&more);
        let footer = screen.add(ProgressBar::new(0));
        footer.set_style(style("{spinner} {elapsed} {msg}"));
        footer.enable_steady_tick(Duration::from_millis(120));
        Live {
            screen,
            footer,
            more,
            lines: BTreeMap::new(),
            waiting: BTreeMap::new(),
            second: Instant::now(),
            ended: 0,
        }
    }

    fn scroll(&mut self, line: &str) {
        if self.second.elapsed() > Duration::from_secs(1) {
            self.second = Instant::now();
            self.ended = 0;
        }
        self.ended += 1;
        if self.ended <= ENDED_PER_SECOND_MAX {
            // Only fails when the terminal is gone.
            let _ = self.screen.println(line);
        }
    }

    fn add(&mut self, node: &Node) {
        let bar = ProgressBar::new(100).with_style(style("  {prefix:32!} {msg}"));
        let bar = self.screen.insert_before(&self.more, bar);
        bar.set_prefix(node.path.clone());
        self.lines.insert(node.path.clone(), bar);
        self.update(node);
    }

    fn update(&self, node: &Node) {
        let Some(bar) = self.lines.get(&node.path) else { return };
        if node.children_total > 0 {
            bar.set_style(style("  {prefix:32!} {bar:20} {pos}/{len} {msg}"));
            bar.set_length(node.children_total.into());
            bar.set_position(node.children_done.into());
        } else {
            show_percent(bar, node.percent);
        }
        bar.set_message(if node.waiting_reason.is_empty() {
            show::words(&node.message)
        } else {
            node.waiting_reason.clone()
        });
    }

    fn remove(&mut self, path: &str) {
        self.waiting.remove(path);
        if let Some(bar) = self.lines.remove(path) {
            bar.finish_and_clear();
            self.screen.remove(&bar);
            if let Some((_, node)) = self.waiting.pop_first() {
                self.add(&node);
            }
        }
    }

    fn count_more(&self) {
        let more = match self.waiting.len() {
            0 => String::new(),
            more => format!("  … and {more} more"),
        };
        self.more.set_message(more);
    }
}

fn show_percent(bar: &ProgressBar, percent: Option<f64>) {
    match percent {
        Some(percent) => {
            bar.set_style(style("  {prefix:32!} {bar:20} {pos}% {msg}"));
            bar.set_position(percent as u64);
        }
        None => bar.set_style(style("  {prefix:32!} {msg}")),
    }
}

impl View for Live {
    fn node(&mut self, node: &Node) {
        match node.status() {
            NodeStatus::Pending | NodeStatus::Ready | NodeStatus::Evaluating | NodeStatus::Unspecified => {}
            NodeStatus::Succeeded | NodeStatus::Failed | NodeStatus::Cancelled | NodeStatus::Skipped => {
                self.remove(&node.path);
                if let Some(line) = ended_line(node) {
                    self.scroll(&line);
                }
            }
            NodeStatus::Placed
            | NodeStatus::Running
            | NodeStatus::BackingOff
            | NodeStatus::Active
            | NodeStatus::Waiting => {
                if self.lines.contains_key(&node.path) {
                    self.update(node);
                } else if self.lines.len() < LINES_MAX {
                    self.add(node);
                } else {
                    self.waiting.insert(node.path.clone(), node.clone());
                }
            }
        }
        self.count_more();
    }

    fn progress(&mut self, progress: &Progress) {
        if let Some(bar) = self.lines.get(&progress.path) {
            show_percent(bar, progress.percent);
            bar.set_message(show::words(&progress.message));
        }
    }

    fn run(&mut self, run: &Run) {
        let counts = run.counts.unwrap_or_default();
        let done = counts.succeeded + counts.failed + counts.cancelled + counts.skipped;
        let status = show::run_status(run.status());
        let mut message = format!("{} {status}: {done} of {} nodes", run.workflow, counts.total);
        if counts.failed > 0 {
            message += &format!(", {} failed", counts.failed);
        }
        self.footer.set_message(message);
    }

    fn finish(&mut self) {
        self.lines.values().chain([&self.more, &self.footer]).for_each(ProgressBar::finish_and_clear);
    }
}
