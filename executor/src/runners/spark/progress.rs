//! From what an application says of its jobs, stages and executors to what people are shown. Pure.

use meson_spark::{Executor, Job, Stage};
use serde_json::{Value, json};

/// Stages that are told one by one.
const STAGES_MAX: usize = 8;
/// Longest text of a name or reason.
const TEXT_CHARS_MAX: usize = 300;

/// What is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Of the work that is known so far; none while there is none.
    pub percent: Option<f64>,
    /// One line.
    pub message: String,
    /// The figures.
    pub data: Value,
    /// Changes whenever anything moved.
    pub pulse: [u64; 3],
}

/// What an application said at one time.
#[derive(Debug, Default)]
pub struct Look {
    /// All jobs that it remembers.
    pub jobs: Vec<Job>,
    /// The stages that run.
    pub stages: Vec<Stage>,
    /// All executors.
    pub executors: Vec<Executor>,
    /// Why tasks of these stages failed.
    pub reasons: Vec<String>,
}

/// What to show.
pub fn show(look: &Look) -> Shown {
    let sum = |of: fn(&Job) -> u64| look.jobs.iter().map(of).sum::<u64>();
    let (all, failed) = (sum(|job| job.num_tasks), sum(|job| job.num_failed_tasks));
    // A task whose result was there already is done as well.
    let done = sum(|job| (job.num_completed_tasks + job.num_skipped_tasks).min(job.num_tasks));
    let with = |status: &str| look.jobs.iter().filter(|job| job.status == status).count();
    let (running, succeeded) = (with("RUNNING"), with("SUCCEEDED"));
    let percent = (all > 0).then(|| (done as f64 / all as f64 * 1_000.0).round() / 10.0);
    let bytes = |of: fn(&Executor) -> u64| look.executors.iter().map(of).sum::<u64>();
    let stages: Vec<Value> = look.stages.iter().take(STAGES_MAX).map(stage).collect();
    let data = json!({
        "jobs": { "known": look.jobs.len(), "running": running, "succeeded": succeeded, "failed": with("FAILED") },
        "tasks": { "known": all, "done": done, "failed": failed },
        "stages": stages,
        "executors": look.executors.iter().filter(|executor| executor.is_active && executor.id != "driver").count(),
        "input_bytes": bytes(|executor| executor.total_input_bytes),
        "shuffle_read_bytes": bytes(|executor| executor.total_shuffle_read),
        "shuffle_write_bytes": bytes(|executor| executor.total_shuffle_write),
        "failed_tasks": look.reasons.iter().map(|reason| short(reason_of(reason))).collect::<Vec<_>>(),
    });
    let pulse = [done, failed, look.jobs.len() as u64];
    Shown { percent, message: message(look, succeeded), data, pulse }
}

fn message(look: &Look, succeeded: usize) -> String {
    let known = look.jobs.len();
    match look.stages.first() {
        Some(stage) => format!(
            "stage {}: {} ({} of {} tasks); {succeeded} of {known} jobs done",
            stage.stage_id,
            short(&stage.name),
            stage.num_complete_tasks,
            stage.num_tasks
        ),
        None if known == 0 => "no job yet".to_owned(),
        None => format!("{succeeded} of {known} jobs done"),
    }
}

fn stage(stage: &Stage) -> Value {
    json!({
        "id": stage.stage_id,
        "name": short(&stage.name),
        "tasks": stage.num_tasks,
        "done": stage.num_complete_tasks,
        "running": stage.num_active_tasks,
        "failed": stage.num_failed_tasks,
    })
}

/// The line of an error that tells most: the last one before the stack.
fn reason_of(error: &str) -> &str {
    let before = error.lines().take_while(|line| !line.trim_start().starts_with("at "));
    before.filter(|line| !line.trim().is_empty()).last().unwrap_or(error)
}

fn short(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_make_the_percentage() {
        let job = |status: &str, tasks, completed, skipped| Job {
            status: status.into(),
            num_tasks: tasks,
            num_completed_tasks: completed,
            num_skipped_tasks: skipped,
            ..Job::default()
        };
        let stage = Stage {
            stage_id: 7,
            name: "count at app.py:11".into(),
            num_tasks: 20,
            num_complete_tasks: 3,
            ..Stage::default()
        };
        let look = Look {
            jobs: vec![job("SUCCEEDED", 20, 20, 0), job("RUNNING", 20, 3, 2)],
            stages: vec![stage],
            reasons: vec![
                "PythonException: Traceback:\n  File x\nValueError: no\n\n\tat a.B(C.scala:1)\n".into(),
            ],
            ..Look::default()
        };
        let shown = show(&look);
        assert_eq!(shown.percent, Some(62.5));
        assert_eq!(shown.message, "stage 7: count at app.py:11 (3 of 20 tasks); 1 of 2 jobs done");
        assert_eq!(shown.data["tasks"]["done"], 25);
        assert_eq!(shown.data["failed_tasks"][0], "ValueError: no");
        assert_eq!(
            (show(&Look::default()).percent, show(&Look::default()).message.as_str()),
            (None, "no job yet")
        );
    }
}
