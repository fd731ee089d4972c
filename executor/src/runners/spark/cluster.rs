//! Cluster mode: the driver runs on the cluster and outlives whoever submitted it. It is found again by its tag: an attempt
//! that comes after one that was lost takes a living driver over, or ends it, before it submits another.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use meson_spark::{Create, DriverState, Error, Gateway, Master, Origin, State, Status};
use tokio::time::{Instant, sleep};

use super::client::{Whose, until_gone};
use super::excerpt::Excerpt;
use super::watch::Place;
use super::{Told, errors, properties, watch};
use crate::drive::{Job, Stop, Verdict, Voice, stopped};
use crate::task::cleanup;
use crate::task::dirs::write_whole;

/// How long a gateway or master may be away before the attempt is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two questions.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long a driver may take to end by order.
const END_MAX: Duration = Duration::from_secs(40);
/// How much of a driver's log is read when it failed.
const LOG_BYTES: usize = 64 << 10;
/// What a Spark of the gateway's own line calls itself; it is only compared with the server's, and noted.
const CLIENT_VERSION: &str = "3.5.0";
/// Packages of Java from version 17 on that Spark needs to see the inside of. Source: its `JavaModuleOptions`.
const OPENED: [&str; 11] = [
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.io",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "sun.nio.ch",
    "sun.security.action",
];
/// The first port of an interface, where the step does not say.
const UI_PORT: u16 = 4040;

/// From the submission, or a driver that lives already, to the driver's end.
pub async fn run(job: &Job, told: &Told, voice: &Voice, mut stop: Stop) -> Result<i32, Verdict> {
    let gateway = Gateway::new(&told.gateway);
    let begun = async {
        match living(job, told, voice).await? {
            Some(id) => {
                eprintln!("meson: took driver {id} over, which an earlier attempt had submitted");
                remember(job, &id)?;
                Ok(id)
            }
            None => submit(job, told, &gateway).await,
        }
    };
    let id = tokio::select! {
        id = begun => id?,
        () = stopped(&mut stop) => return Err(Verdict::user("killed", "killed before its driver ran")),
    };
    watch::say(voice, &format!("driver {id}"));
    let find = || async {
        let status = gateway.status(&id).await.ok()?;
        let (host, _) = status.worker.rsplit_once(':')?;
        let port =
            told.config.conf.get("spark.ui.port").and_then(|port| port.parse().ok()).unwrap_or(UI_PORT);
        Place { host: host.to_owned(), port }.find(|tag| tag.is_of_step(&job.attempt_id)).await
    };
    let watching = watch::follow(job, voice, told.config.stall.as_ref(), find);
    let status = tokio::select! {
        status = until_ended(&gateway, &id) => status?,
        stalled = watching => {
            end(&gateway, &id).await?;
            return Err(stalled);
        }
        () = stopped(&mut stop) => {
            end(&gateway, &id).await?;
            return Err(Verdict::user("killed", format!("driver {id} was killed")));
        }
    };
    judge(told, &id, &status).await
}

/// The driver of an earlier attempt of the step that still lives.
///
/// A master does not say whose a driver is; its application does, once it has one. So as long as a driver may be the
/// step's none is submitted: two would run at once (P3). Drivers that come after the first look are not the step's,
/// because the earlier attempts were over by then.
async fn living(job: &Job, told: &Told, voice: &Voice) -> Result<Option<String>, Verdict> {
    if let Some(id) = remembered(job) {
        return Ok(Some(id));
    }
    if job.attempt == 1 {
        return Ok(None);
    }
    let master = Master::new(&told.master_ui);
    let main_class = told.config.main_class.as_deref().unwrap_or_default();
    let (mut suspects, mut away_since, mut is_said) = (None, None, false);
    loop {
        let (state, origins) = match applications(&master).await {
            Ok(answer) => answer,
            Err(error) if away_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE => {
                return Err(away(&error));
            }
            Err(_) => {
                sleep(ASK_EVERY).await;
                continue;
            }
        };
        away_since = None;
        let drivers = state.active_drivers.iter().filter(|driver| driver.main_class == main_class);
        let drivers: BTreeSet<&str> = drivers.map(|driver| driver.id.as_str()).collect();
        let suspects: &mut BTreeSet<String> =
            suspects.get_or_insert_with(|| drivers.iter().map(|id| (*id).to_owned()).collect());
        suspects.retain(|id| drivers.contains(id.as_str()));
        match find(job, &origins, suspects) {
            Found::Nothing => return Ok(None),
            Found::Driver(id) => return Ok(Some(id)),
            Found::Applications(attempt_ids) => {
                for attempt_id in attempt_ids {
                    until_gone(&master, Whose::Attempt(&attempt_id, None), Duration::ZERO).await?;
                }
            }
            Found::Unknown if !is_said => {
                is_said = true;
                let ids = suspects.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                let why = "an earlier attempt may have submitted it";
                watch::say(voice, &format!("waits until it is known whose driver {ids} is: {why}"));
            }
            Found::Unknown => {}
        }
        sleep(ASK_EVERY).await;
    }
}

async fn applications(master: &Master) -> Result<(State, Vec<Origin>), Error> {
    let state = master.state().await?;
    let mut origins = Vec::new();
    for app in &state.active_apps {
        origins.push(master.origin(app).await?);
    }
    Ok((state, origins))
}

/// What of a step is at the master.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Driver(String),
    /// Applications of these attempts, whose drivers are not known.
    Applications(Vec<String>),
    /// Nobody can say yet whose the suspects are.
    Unknown,
}

/// Looks among applications for those of the job's step. Takes drivers that turn out to be another's from the suspects.
fn find(job: &Job, origins: &[Origin], suspects: &mut BTreeSet<String>) -> Found {
    let mut of_step = Vec::new();
    for Origin { tag, driver_id } in origins {
        match (tag.as_ref().filter(|tag| tag.is_of_step(&job.attempt_id)), driver_id) {
            (Some(_), Some(id)) => return Found::Driver(id.clone()),
            (Some(tag), None) => of_step.push(tag.attempt_id.clone()),
            (None, Some(id)) => drop(suspects.remove(id)),
            (None, None) => {}
        }
    }
    match (of_step.is_empty(), suspects.len()) {
        (true, 0) => Found::Nothing,
        (true, _) => Found::Unknown,
        (false, 1) => Found::Driver(suspects.iter().next().cloned().unwrap_or_default()),
        (false, _) => Found::Applications(of_step),
    }
}

async fn submit(job: &Job, told: &Told, gateway: &Gateway) -> Result<String, Verdict> {
    let failed = |error: std::io::Error| Verdict::platform("driver", error);
    let mut spark_properties = properties::of(job, told);
    let jars = std::iter::once(&told.application).chain(&told.config.jars);
    spark_properties.insert("spark.jars".to_owned(), jars.cloned().collect::<Vec<_>>().join(","));
    // `spark-submit` would give them; the gateway does not.
    spark_properties.entry("spark.driver.defaultJavaOptions".to_owned()).or_insert_with(|| {
        OPENED.map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED")).join(" ")
    });
    // By this name an executor knows processes of its own, and ends them when their attempt was lost. A driver may run
    // on the same machine, and is to live on.
    let contract =
        std::env::vars().filter(|(name, _)| name.starts_with("MESON_") && name != "MESON_ATTEMPT_ID");
    let create = Create {
        app_resource: told.application.clone(),
        main_class: told.config.main_class.clone().unwrap_or_default(),
        app_args: told.config.args.clone(),
        client_spark_version: CLIENT_VERSION.to_owned(),
        spark_properties,
        // Of the driver's own environment only the task contract: the rest is of this machine.
        environment_variables: job.env.iter().cloned().chain(contract).collect(),
    };
    job.begin().map_err(failed)?;
    let id = gateway.create(&create).await.map_err(|error| match error {
        Error::Refused { .. } => Verdict::user("submission_refused", error),
        _ => away(&error),
    })?;
    remember(job, &id)?;
    Ok(id)
}

fn path(job: &Job) -> PathBuf {
    job.dir.join("submission")
}

fn remember(job: &Job, id: &str) -> Result<(), Verdict> {
    let written = job.begin().and_then(|()| write_whole(&path(job), id.as_bytes()));
    written.map_err(|error| Verdict::platform("driver", error))
}

fn remembered(job: &Job) -> Option<String> {
    std::fs::read_to_string(path(job)).ok().filter(|id| !id.is_empty())
}

async fn until_ended(gateway: &Gateway, id: &str) -> Result<Status, Verdict> {
    let mut away_since = None;
    loop {
        match gateway.status(id).await {
            Ok(status) if status.state.is_terminal() => return Ok(status),
            Ok(_) => away_since = None,
            Err(error) => {
                if away_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    return Err(away(&error));
                }
            }
        }
        sleep(ASK_EVERY).await;
    }
}

/// Orders a driver to end and makes sure that it does.
async fn end(gateway: &Gateway, id: &str) -> Result<(), Verdict> {
    let begun = Instant::now();
    loop {
        let asked = match gateway.status(id).await {
            Ok(status) if status.state.is_terminal() => return Ok(()),
            Ok(_) => gateway.kill(id).await,
            Err(error) => Err(error),
        };
        if begun.elapsed() > END_MAX {
            let why = asked.err().map_or_else(|| "it does not end".to_owned(), |error| error.to_string());
            return Err(Verdict::platform("driver_left", format!("driver {id} may still run: {why}")));
        }
        sleep(ASK_EVERY).await;
    }
}

async fn judge(told: &Told, id: &str, status: &Status) -> Result<i32, Verdict> {
    match status.state {
        DriverState::Finished => return Ok(0),
        DriverState::Killed => {
            return Err(Verdict::user("application_killed", format!("driver {id} was killed at the master")));
        }
        DriverState::NotFound => {
            return Err(Verdict::platform(
                "driver_vanished",
                format!("the master has no driver {id} any more"),
            ));
        }
        _ => {}
    }
    let said = log(told, id, status).await.unwrap_or_default();
    let mut excerpt = Excerpt::default();
    said.lines().for_each(|line| excerpt.take(line));
    eprintln!("meson: the end of the log of driver {id}:\n{said}");
    let text = if said.is_empty() { status.message.clone() } else { excerpt.text() };
    Err(errors::judge(&text, 1))
}

/// The end of the driver's log, from the worker that ran it.
async fn log(told: &Told, id: &str, status: &Status) -> Option<String> {
    let master = Master::new(&told.master_ui);
    let state = master.state().await.ok()?;
    let ran = |worker: &&meson_spark::Worker| format!("{}:{}", worker.host, worker.port) == status.worker;
    master.driver_log(state.workers.iter().find(ran)?, id, LOG_BYTES).await.ok()
}

/// Ends the driver, unless the attempt was lost with its executor: then the next attempt takes it over, or the reaper of
/// the leader ends it.
pub async fn clean_up(job: &Job, told: &Told) -> Result<(), Verdict> {
    if std::env::var(cleanup::AFTER).is_ok_and(|after| after == cleanup::LOSS) {
        return Ok(());
    }
    if let Some(id) = remembered(job) {
        end(&Gateway::new(&told.gateway), &id).await?;
    }
    until_gone(&Master::new(&told.master_ui), Whose::Attempt(&job.attempt_id, None), Duration::ZERO).await
}

fn away(error: &Error) -> Verdict {
    Verdict::platform("master_away", error)
}

#[cfg(test)]
mod tests {
    use meson_spark::tag::Tag;

    use super::*;
    use crate::runners::Plan;
    use crate::runners::testing::plan;

    fn origin(attempt_id: &str, driver_id: Option<&str>) -> Origin {
        let tag = Tag { attempt_id: attempt_id.to_owned(), on_cluster: true };
        Origin { tag: (!attempt_id.is_empty()).then_some(tag), driver_id: driver_id.map(str::to_owned) }
    }

    #[test]
    fn nothing_is_submitted_while_a_driver_may_be_the_steps() {
        let Ok(Plan::Process(program)) = plan("spark", r#"{"code": "1"}"#) else { panic!("no process") };
        let job: Job = serde_json::from_str(&program.files[0].1).unwrap();
        let job = Job { attempt_id: "1-R.7.2".to_owned(), ..job };
        let found = |origins: &[Origin], suspects: &[&str]| {
            find(&job, origins, &mut suspects.iter().map(|id| (*id).to_owned()).collect())
        };
        let driver = |id: &str| Found::Driver(id.to_owned());
        assert_eq!(found(&[], &[]), Found::Nothing);
        assert_eq!(found(&[], &["a"]), Found::Unknown, "it has no application yet");
        assert_eq!(found(&[origin("1-R.8.1", Some("a"))], &["a"]), Found::Nothing, "another step's");
        assert_eq!(found(&[origin("", Some("a"))], &["a"]), Found::Nothing, "a stranger's");
        assert_eq!(found(&[origin("1-R.8.1", Some("a"))], &["a", "b"]), Found::Unknown);
        assert_eq!(
            found(&[origin("1-R.8.1", Some("a")), origin("1-R.7.1", Some("b"))], &["a", "b"]),
            driver("b")
        );
        // Where interfaces are off only the names of applications tell.
        assert_eq!(found(&[origin("1-R.7.1", None)], &["a"]), driver("a"));
        assert_eq!(found(&[origin("1-R.8.1", None)], &["a"]), Found::Unknown);
        let mine = Found::Applications(vec!["1-R.7.1".to_owned()]);
        assert_eq!(found(&[origin("1-R.7.1", None), origin("1-R.8.1", None)], &["a", "b"]), mine);
    }
}
