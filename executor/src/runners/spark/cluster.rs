//! Cluster mode: the driver runs on the cluster and outlives whoever submitted it. It is found again by its tag: an attempt
//! that comes after one that was lost takes a living driver over, or ends it, before it submits another.

use std::path::PathBuf;
use std::time::Duration;

use meson_spark::{Create, DriverState, Error, Gateway, Master, Status};
use tokio::time::{Instant, sleep};

use super::client::until_gone;
use super::excerpt::Excerpt;
use super::watch::Place;
use super::{Told, errors, properties, watch};
use crate::drive::{Job, Stop, Verdict, Voice, stopped};
use crate::task::cleanup;
use crate::task::dirs::write_whole;

/// How long a gateway or master may be away before the attempt is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a driver that was submitted may take until its application is known, where it must be known whose it is.
const SETTLE: Duration = Duration::from_secs(30);
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
        match living(job, told).await? {
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
    voice.message(&format!("driver {id}"));
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

/// The driver of an earlier attempt that still lives and can be told to be this step's. One that lives but cannot be told
/// is ended.
async fn living(job: &Job, told: &Told) -> Result<Option<String>, Verdict> {
    if let Some(id) = remembered(job) {
        return Ok(Some(id));
    }
    if job.attempt == 1 {
        return Ok(None);
    }
    let master = Master::new(&told.master_ui);
    let main_class = told.config.main_class.as_deref().unwrap_or_default();
    let begun = Instant::now();
    loop {
        let asked = async { Ok((master.of_step(&job.attempt_id).await?, master.state().await?)) };
        let (applications, state) = match asked.await {
            Ok(answer) => answer,
            Err(error) if begun.elapsed() > PATIENCE => return Err(away(&error)),
            Err(_) => {
                sleep(ASK_EVERY).await;
                continue;
            }
        };
        let drivers: Vec<&str> = state
            .active_drivers
            .iter()
            .filter(|driver| driver.main_class == main_class)
            .map(|driver| driver.id.as_str())
            .collect();
        match (&applications[..], &drivers[..]) {
            ([], []) => return Ok(None),
            // It may be the step's, and not have come as far as an application.
            ([], _) if begun.elapsed() < SETTLE => {}
            ([], _) => return Ok(None),
            ([_], [driver]) => return Ok(Some((*driver).to_owned())),
            (many, _) => {
                for (_, tag) in many {
                    until_gone(&master, &tag.attempt_id, None, Duration::ZERO).await?;
                }
            }
        }
        sleep(ASK_EVERY).await;
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
    until_gone(&Master::new(&told.master_ui), &job.attempt_id, None, Duration::ZERO).await
}

fn away(error: &Error) -> Verdict {
    Verdict::platform("master_away", error)
}
