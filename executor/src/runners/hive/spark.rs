//! What Spark's own web interface tells of the jobs of a query: how far they are, and whether any is left; and by which one can
//! be ended. Jobs are known by the comment before their statement. Spark may be slow or away: then nothing is told.

use std::time::Duration;

use futures::StreamExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::drive::{Job, Verdict, Voice};

/// How often jobs are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest time for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Largest answer that is read: a small part of the memory of a small step. Whose jobs are more has no percentage.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Which statement of a query runs, from 0, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    pub index: u32,
    pub count: u32,
}

/// How the comments before all statements of a step begin, whichever attempt's they are.
pub fn step_tag(job: &Job) -> String {
    format!("-- meson run={} step={} ", plain(&job.run_id), plain(&job.step))
}

/// How the comments before all statements of an attempt begin.
pub fn tag(job: &Job) -> String {
    format!("{}attempt={} id={} ", step_tag(job), job.attempt, plain(&job.attempt_id))
}

/// The comment before one of them, by which people and Spark's jobs tell whose it is.
pub fn comment(tag: &str, place: Place) -> String {
    format!("{tag}statement={}/{} --", place.index + 1, place.count)
}

/// Names come from outside: nothing of them may end the comment or be a variable. What a step's path may have stays as it is, so
/// that no two steps have one tag.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.:/@[]".contains(c) { c } else { '_' }).collect()
}

#[derive(Debug, Deserialize)]
struct Application {
    id: String,
}

/// A job, as Spark tells of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SparkJob {
    #[serde(rename = "jobId")]
    pub id: u64,
    /// The statement that it is for.
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    num_tasks: u64,
    #[serde(default)]
    num_completed_tasks: u64,
    #[serde(default)]
    num_skipped_tasks: u64,
}

/// Tells how far the statement is that runs, for as long as it is polled.
pub async fn tell(ui: &str, tag: &str, voice: &Voice, places: watch::Receiver<Place>) {
    let Ok(mut spark) = Spark::new(ui) else { return };
    let mut told = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let place = *places.borrow();
        let Some(jobs) = spark.jobs(&comment(tag, place), "").await else { continue };
        let Some(done) = percent(&jobs) else { continue };
        let percent = ((100.0 * f64::from(place.index) + done) / f64::from(place.count.max(1))).floor();
        if told != Some(percent) {
            told = Some(percent);
            voice.percent(percent);
        }
    }
}

/// Completed tasks of all tasks that are known, in percent.
fn percent(jobs: &[SparkJob]) -> Option<f64> {
    let all: u64 = jobs.iter().map(|job| job.num_tasks).sum();
    let done: u64 = jobs.iter().map(|job| job.num_completed_tasks + job.num_skipped_tasks).sum();
    (all > 0).then(|| (100.0 * done as f64 / all as f64).min(100.0))
}

/// The web interface of a living application.
pub struct Spark {
    client: reqwest::Client,
    ui: String,
    /// Its id, once it is known.
    application: Option<String>,
}

impl Spark {
    /// At this address.
    pub fn new(ui: &str) -> Result<Self, Verdict> {
        // Fails when somebody installed a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(ANSWER_MAX).build();
        let client = client.map_err(|error| Verdict::platform("driver", error))?;
        Ok(Spark { client, ui: ui.to_owned(), application: None })
    }

    /// The tagged jobs that run; none when Spark does not tell.
    pub async fn running(&mut self, tag: &str) -> Option<Vec<SparkJob>> {
        let mut jobs = self.jobs(tag, "?status=running").await?;
        jobs.retain(|job| job.status == "RUNNING");
        Some(jobs)
    }

    /// Asks for the end of a job, as the button of the page does. Whether it comes must be looked at.
    pub async fn kill(&self, id: u64) {
        let url = format!("{}/jobs/job/kill/?id={id}", self.ui);
        if let Err(error) = self.client.post(url).send().await {
            eprintln!("job {id} cannot be ended: {error}");
        }
    }

    async fn jobs(&mut self, tag: &str, which: &str) -> Option<Vec<SparkJob>> {
        let id = match &self.application {
            Some(id) => id.clone(),
            None => {
                // Behind the address of a living application there is just that one.
                let applications: Vec<Application> = self.get("").await?;
                applications.into_iter().next()?.id
            }
        };
        let jobs: Option<Vec<SparkJob>> = self.get(&format!("/{id}/jobs{which}")).await;
        // A server that began anew is another application.
        self.application = jobs.is_some().then_some(id);
        Some(jobs?.into_iter().filter(|job| job.description.trim_start().starts_with(tag)).collect())
    }

    async fn get<T: DeserializeOwned>(&self, what: &str) -> Option<T> {
        let url = format!("{}/api/v1/applications{what}", self.ui);
        let response = self.client.get(url).send().await.ok()?.error_for_status().ok()?;
        let mut parts = response.bytes_stream();
        let mut body = Vec::new();
        while let Some(part) = parts.next().await {
            let part = part.ok()?;
            if body.len() + part.len() > ANSWER_BYTES_MAX {
                return None;
            }
            body.extend(part);
        }
        serde_json::from_slice(&body).ok()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn job(step: &str) -> Job {
        let job = serde_json::json!({ "kind": "hive", "run_id": "main:01", "workflow": "w", "step": step, "attempt": 2,
            "attempt_id": "a", "fence": 1, "dir": "/d", "env": [], "cpus_milli": 0, "mem_bytes": 0, "kill_grace_ms": 0,
            "config": null });
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn a_tag_is_one_comment() {
        let place = Place { index: 0, count: 2 };
        let written = comment(&tag(&job("a/b[0]")), place);
        assert_eq!(written, "-- meson run=main:01 step=a/b[0] attempt=2 id=a statement=1/2 --");
        assert_eq!(tag(&job("a\nselect ${x} \\")).lines().count(), 1);
        assert!(!tag(&job("a\nselect ${x} \\")).contains(['\n', '$', '\\', '{']));
    }

    #[test]
    fn progress_is_that_of_all_tasks() {
        let job = |tasks, done, skipped| SparkJob {
            id: 1,
            description: String::new(),
            status: "RUNNING".to_owned(),
            num_tasks: tasks,
            num_completed_tasks: done,
            num_skipped_tasks: skipped,
        };
        assert_eq!(percent(&[job(10, 5, 0), job(10, 0, 2)]), Some(35.0));
        assert_eq!((percent(&[]), percent(&[job(0, 0, 0)])), (None, None));
        let read: SparkJob = serde_json::from_str(r#"{"jobId": 1, "numTasks": 3}"#).unwrap();
        assert_eq!((read.num_tasks, read.description.as_str()), (3, ""));
    }
}
