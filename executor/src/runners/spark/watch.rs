//! Follows an application by the REST API of its driver and tells what it sees, until somebody stops looking. The interface
//! may be absent, slow or elsewhere than expected: then there is less to tell, and nothing else happens.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use meson_spark::tag::Tag;
use meson_spark::{Application, Error};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::note_application;
use super::progress::{Look, Shown, show};
use super::settings::{OnStall, Stall};
use crate::drive::{Job, Verdict, Voice};

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Ports that are tried: Spark takes the next one where a port is taken (`spark.port.maxRetries`).
const PORTS: u16 = 17;
/// Stages whose failed tasks are asked for, and tasks of each.
const REASONS_MAX: usize = 3;
/// Marks lines of this watch among those of the step's own code.
const BY: &str = "spark";

/// Where an application's interface may be.
#[derive(Debug, Clone)]
pub struct Place {
    /// The driver's host.
    pub host: String,
    /// The first port to look at.
    pub port: u16,
}

impl Place {
    /// The application with a tag that will do, and its address.
    pub async fn find(&self, is_ours: impl Fn(&Tag) -> bool) -> Option<(Application, String)> {
        for port in self.port..=self.port.saturating_add(PORTS) {
            let ui = format!("http://{}:{port}", self.host);
            match Application::at(&ui).await {
                Ok(Some(application)) => match application.tag().await {
                    Ok(Some(tag)) if is_ours(&tag) => return Some((application, ui)),
                    // Of somebody else, whose port was free before ours.
                    Ok(_) => {}
                    Err(_) => return None,
                },
                // It is starting.
                Ok(None) => return None,
                // What is no interface of Spark may hold a port, too.
                Err(Error::Refused { .. } | Error::Unreadable { .. } | Error::Standby { .. }) => {}
                Err(Error::Away { .. }) if port > self.port => return None,
                Err(Error::Away { .. }) => {}
            }
        }
        None
    }
}

/// Follows what `find` finds. Comes back only when the application stalls and is to fail for that.
pub async fn follow<F>(job: &Job, voice: &Voice, stall: Option<&Stall>, find: impl Fn() -> F) -> Verdict
where
    F: Future<Output = Option<(Application, String)>>,
{
    let mut watch = Watch::new(job, voice, stall);
    let mut found = None;
    loop {
        if found.is_none() {
            found = find().await;
            if let Some((application, ui)) = &found {
                watch.introduce(application, ui);
            }
        }
        if let Some((application, ui)) = &found {
            match look(application).await {
                Ok(seen) => {
                    if let Some(verdict) = watch.tell(application, ui, &show(&seen)) {
                        return verdict;
                    }
                }
                // Nothing is known of its progress, so nothing can be held against it.
                Err(_) => {
                    watch.moved_at = Instant::now();
                    found = None;
                }
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Says something about the application, without taking the word from the step's own code.
pub fn say(voice: &Voice, message: &str) {
    voice.say(&json!({ "by": BY, "message": message }));
}

async fn look(application: &Application) -> Result<Look, Error> {
    let jobs = application.jobs().await?;
    let stages = application.active_stages().await?;
    let executors = application.executors().await?;
    let mut reasons = Vec::new();
    for stage in stages.iter().filter(|stage| stage.num_failed_tasks > 0).take(REASONS_MAX) {
        let failed = application.failed_tasks(stage, REASONS_MAX).await?;
        reasons.extend(failed.into_iter().filter_map(|task| task.error_message));
    }
    Ok(Look { jobs, stages, executors, reasons })
}

struct Watch<'a> {
    job: &'a Job,
    voice: &'a Voice,
    events: PathBuf,
    /// How much of the events was looked at.
    read: u64,
    /// What the step's own code says by itself, and this leaves to it.
    own: Own,
    stall: Option<&'a Stall>,
    last: Option<Shown>,
    moved_at: Instant,
    is_stalled: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Own {
    percent: bool,
    message: bool,
    data: bool,
}

impl<'a> Watch<'a> {
    fn new(job: &'a Job, voice: &'a Voice, stall: Option<&'a Stall>) -> Self {
        let (events, moved_at) = (job.files().events(), Instant::now());
        Watch {
            job,
            voice,
            events,
            read: 0,
            own: Own::default(),
            stall,
            last: None,
            moved_at,
            is_stalled: false,
        }
    }

    fn introduce(&self, application: &Application, ui: &str) {
        note_application(self.job, &application.id);
        // To the log, so that it can be found when the run is long over.
        eprintln!("meson: Spark application {} at {ui}", application.id);
    }

    /// Tells what is new; gives a verdict when there was nothing new for too long.
    fn tell(&mut self, application: &Application, ui: &str, shown: &Shown) -> Option<Verdict> {
        let now = Instant::now();
        if self.last.as_ref().is_none_or(|last| last.pulse != shown.pulse) {
            self.moved_at = now;
            self.is_stalled = false;
        }
        if self.last.as_ref() != Some(shown) {
            self.listen();
            self.say(application, ui, shown);
            self.last = Some(shown.clone());
        }
        let stall = self.stall?;
        let after = stall.after()?;
        if now.duration_since(self.moved_at) < after || self.is_stalled {
            return None;
        }
        self.is_stalled = true;
        let message = format!("no task of {} ended for {}: {}", application.id, stall.after, shown.message);
        match stall.then {
            OnStall::Fail => Some(Verdict::timeout("stalled", message)),
            OnStall::Report => {
                eprintln!("meson: {message}");
                say(self.voice, &message);
                None
            }
        }
    }

    fn say(&self, application: &Application, ui: &str, shown: &Shown) {
        let mut line = json!({ "by": BY });
        if let (Some(percent), false) = (shown.percent, self.own.percent) {
            line["percent"] = json!(percent);
        }
        if !self.own.message {
            line["message"] = json!(shown.message);
        }
        if !self.own.data {
            let mut data = shown.data.clone();
            data["application_id"] = json!(application.id);
            data["ui"] = json!(ui);
            line["data"] = json!({ "spark": data });
        }
        self.voice.say(&line);
    }

    /// Whether the step's own code speaks, too. What it says of its progress is better than what Spark knows.
    fn listen(&mut self) {
        let Ok(mut file) = File::open(&self.events) else { return };
        let mut text = String::new();
        if file.seek(SeekFrom::Start(self.read)).is_err() || file.read_to_string(&mut text).is_err() {
            return;
        }
        // A line that is not whole yet is looked at the next time.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        for line in text[..whole].lines() {
            let Ok(Value::Object(line)) = serde_json::from_str(line) else { continue };
            if line.get("by").is_some_and(|by| by == BY) {
                continue;
            }
            self.own.percent |= line.contains_key("percent");
            self.own.message |= line.contains_key("message");
            self.own.data |= line.contains_key("data");
        }
    }
}
