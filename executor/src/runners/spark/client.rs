//! Client mode: `spark-submit`, and with it the application's driver, runs in the attempt's tree of processes. When that is
//! gone the application has no driver, and a master ends it; whether it has is asked at the end.

use std::io::{self, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use meson_spark::tag::Tag;
use meson_spark::{App, Master};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::excerpt::{Excerpt, application_id};
use super::watch::Place;
use super::{Told, errors, note_application, noted_application, properties, watch};
use crate::drive::{Job, Stop, Verdict, Voice, stopped};
use crate::ways;

/// How long the rest of the output is waited for when the program has ended.
const OUTPUT_REST: Duration = Duration::from_secs(5);
/// How long a master may take to see that a driver is gone, before it is told to end the application.
const NOTICE_MAX: Duration = Duration::from_secs(5);
/// How long a master may take to end an application.
const END_MAX: Duration = Duration::from_secs(40);
/// Applications whose drivers are asked whose they are, at once.
const LOOKS_AT_ONCE: usize = 16;
/// Pause between two questions.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// The property that names the first port to try for the interface.
const UI_PORT: &str = "spark.ui.port";

/// From the submission to the end of the program.
pub async fn run(job: &Job, told: &Told, voice: &Voice, mut stop: Stop) -> Result<i32, Verdict> {
    let failed = |error: io::Error| Verdict::platform("driver", error);
    let mut properties = properties::of(job, told);
    if !properties.contains_key(UI_PORT) {
        properties.insert(UI_PORT.to_owned(), free_port().map_err(failed)?.to_string());
    }
    properties::write(job, told, &properties).map_err(failed)?;
    let place = place(&properties[UI_PORT]);
    tokio::select! {
        ended = end_earlier(job, told) => ended?,
        () = stopped(&mut stop) => return Err(Verdict::user("killed", "killed before its application began")),
    }
    job.begin().map_err(failed)?;
    let mut child = submit(job, told).map_err(|error| {
        Verdict::platform("installation", format!("spark-submit of {} cannot be started: {error}", told.home))
    })?;
    let excerpt = Arc::new(Mutex::new(Excerpt::default()));
    let copies = [
        child.stdout.take().map(|stream| copy(job, stream, io::stdout(), excerpt.clone())),
        child.stderr.take().map(|stream| copy(job, stream, io::stderr(), excerpt.clone())),
    ];
    let own = told.tag(job);
    let watching = watch::follow(job, voice, told.config.stall.as_ref(), || place.find(|tag| *tag == own));
    let status = tokio::select! {
        status = child.wait() => status.map_err(failed)?,
        stalled = watching => {
            end(&mut child, job.grace()).await;
            return Err(stalled);
        }
        // All of the tree was told to end.
        () = stopped(&mut stop) => child.wait().await.map_err(failed)?,
    };
    for copy in copies.into_iter().flatten() {
        // Whatever still holds the stream is ended with the attempt.
        let _ = timeout(OUTPUT_REST, copy).await;
    }
    let excerpt = excerpt.lock().map(|excerpt| excerpt.text()).unwrap_or_default();
    judge(status, &excerpt)
}

fn judge(status: ExitStatus, excerpt: &str) -> Result<i32, Verdict> {
    match status.code() {
        Some(0) => Ok(0),
        Some(code) => Err(errors::judge(excerpt, code)),
        None => Err(Verdict::user("signal", format!("spark-submit ended by a signal: {excerpt}"))),
    }
}

/// Options of the driver's virtual machine, from its environment.
const SUBMIT_OPTIONS: &str = "SPARK_SUBMIT_OPTS";

/// Only the program's own arguments show in the list of processes.
fn submit(job: &Job, told: &Told) -> io::Result<Child> {
    let mut command = Command::new(Path::new(&told.home).join("bin/spark-submit"));
    command.arg("--properties-file").arg(properties::path(job));
    if let Some(class) = &told.config.main_class {
        command.args(["--class", class]);
    }
    command.arg(&told.application).args(&told.config.args);
    // Later options win.
    let options = ways::temporary_files()
        .filter(|option| !option.contains(|c: char| c.is_whitespace() || "\"'\\".contains(c)));
    let options = options.into_iter().chain(std::env::var(SUBMIT_OPTIONS)).collect::<Vec<_>>().join(" ");
    command.env(SUBMIT_OPTIONS, options);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Hands the program's output on, line by line, and notes what tells.
fn copy(
    job: &Job,
    stream: impl AsyncRead + Unpin + Send + 'static,
    mut to: impl Write + Send + 'static,
    excerpt: Arc<Mutex<Excerpt>>,
) -> JoinHandle<()> {
    let job = job.clone();
    tokio::spawn(async move {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(stream.read_until(b'\n', &mut line).await, Ok(bytes) if bytes > 0) {
            // Nobody reads any more only when the attempt is over.
            let _ = to.write_all(&line).and_then(|()| to.flush());
            let text = String::from_utf8_lossy(&line);
            if let Some(id) = application_id(&text) {
                note_application(&job, id);
            }
            if let Ok(mut excerpt) = excerpt.lock() {
                excerpt.take(&text);
            }
            line.clear();
        }
    })
}

/// Where the driver's interface will be: on the address that the environment names, else on all of them.
fn place(port: &str) -> Place {
    let own = std::env::var("SPARK_LOCAL_IP").ok().filter(|ip| !ip.is_empty() && ip != "0.0.0.0");
    Place { host: own.unwrap_or_else(|| "127.0.0.1".to_owned()), port: port.parse().unwrap_or_default() }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

async fn end(child: &mut Child, grace: Duration) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // One that has just ended is fine too.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if timeout(grace, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// The master that can be asked what runs there.
fn master(told: &Told) -> Option<Master> {
    (told.master.starts_with("spark://") && !told.master_ui.is_empty()).then(|| Master::new(&told.master_ui))
}

/// Ends what earlier attempts of the step left at the master. Their drivers are gone, but a machine that lost its power told
/// nobody: then the master keeps the application, and executors go on with their tasks.
async fn end_earlier(job: &Job, told: &Told) -> Result<(), Verdict> {
    match master(told).filter(|_| job.attempt > 1) {
        Some(master) => until_gone(&master, Whose::Earlier(&job.attempt_id), Duration::ZERO).await,
        None => Ok(()),
    }
}

/// Makes sure that no application of the attempt is left at the master.
pub async fn clean_up(job: &Job, told: &Told) -> Result<(), Verdict> {
    let Some(master) = master(told) else { return Ok(()) };
    let noted = noted_application(job);
    until_gone(&master, Whose::Attempt(&job.attempt_id, noted.as_deref()), NOTICE_MAX).await
}

/// Which applications are meant.
#[derive(Debug, Clone, Copy)]
pub enum Whose<'a> {
    /// Those of an attempt: by their tag, or by an id that was noted.
    Attempt(&'a str, Option<&'a str>),
    /// Those of the attempts of its step that came before this one, by their tags.
    Earlier(&'a str),
}

/// Waits until there are no such applications; after `notice` orders those that are left to end.
pub async fn until_gone(master: &Master, whose: Whose<'_>, notice: Duration) -> Result<(), Verdict> {
    let begun = Instant::now();
    let mut ordered = None;
    loop {
        let left = match left(master, whose).await {
            Ok(left) => left,
            Err(error) if begun.elapsed() > END_MAX => {
                let message = format!("whether an application is gone could not be asked: {error}");
                return Err(Verdict::platform("master_away", message));
            }
            Err(_) => {
                sleep(ASK_EVERY).await;
                continue;
            }
        };
        if left.is_empty() {
            return Ok(());
        }
        // Not from the beginning: a look may take long.
        if ordered.is_some_and(|at: Instant| at.elapsed() > END_MAX) {
            let message = format!("applications that are still at {}: {}", master.address(), left.join(", "));
            return Err(Verdict::platform("application_left", message));
        }
        if begun.elapsed() > notice {
            ordered.get_or_insert_with(Instant::now);
            for id in left {
                // The next look tells whether it helped.
                let _ = master.kill_application(&id).await;
            }
        }
        sleep(ASK_EVERY).await;
    }
}

/// Their ids.
async fn left(master: &Master, whose: Whose<'_>) -> Result<Vec<String>, meson_spark::Error> {
    let look = |app: App| async move { Ok(is_meant(master, whose, &app).await?.then_some(app.id)) };
    // Drivers of others may be slow.
    let looks = futures::stream::iter(master.state().await?.active_apps).map(look).buffered(LOOKS_AT_ONCE);
    Ok(looks.try_collect::<Vec<_>>().await?.into_iter().flatten().collect())
}

async fn is_meant(master: &Master, whose: Whose<'_>, app: &App) -> Result<bool, meson_spark::Error> {
    Ok(match whose {
        // With the id known, drivers of others need not be asked whose they are.
        Whose::Attempt(own, Some(noted)) => {
            noted == app.id || Tag::of_name(&app.name).is_some_and(|tag| tag.attempt_id == own)
        }
        Whose::Attempt(own, None) => master.tag(app).await?.is_some_and(|tag| tag.attempt_id == own),
        Whose::Earlier(own) => master.tag(app).await?.is_some_and(|tag| tag.is_before(own)),
    })
}
