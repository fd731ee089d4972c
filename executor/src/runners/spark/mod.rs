//! `spark`: an application of Spark. In client mode `spark-submit` runs in the attempt, and with it the application's
//! driver; in cluster mode the driver runs on the cluster and this follows it. Either way the application is tagged before
//! it starts, followed by its REST API, and looked for at the master when the attempt is over.

mod client;
mod cluster;
mod errors;
mod excerpt;
mod progress;
mod properties;
mod settings;
mod watch;

use std::path::Path;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use meson_proto::v1::Launch;
use meson_spark::tag::Tag;
use serde::{Deserialize, Serialize};

use super::python::python_path;
use super::{Place, Plan, Rejected, Runner, is_program, read};
use crate::config;
use crate::drive::{self, Job, Stop, Verdict, Voice};
use crate::task::dirs::write_whole;
use settings::{Config, Mode};

/// The runner.
pub struct Spark;

/// What the driver is told.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    config: Config,
    /// Where Spark is installed.
    home: String,
    /// The master, as Spark names it.
    master: String,
    /// Web interface of a standalone master; empty when unknown.
    master_ui: String,
    /// Gateway of cluster mode; empty when unknown.
    gateway: String,
    /// Interpreter of Python; empty to leave it to Spark.
    python: String,
    /// The program: a path or URI.
    application: String,
}

impl Told {
    fn tag(&self, job: &Job) -> Tag {
        Tag { attempt_id: job.attempt_id.clone(), on_cluster: self.config.deploy_mode == Mode::Cluster }
    }
}

/// Notes the id of the attempt's application, by which it is known at the master even when its program renamed it.
fn note_application(job: &Job, id: &str) {
    // Without the note it is looked for by its name.
    let _ = write_whole(&job.dir.join(APPLICATION), id.as_bytes());
}

/// The id that was noted.
fn noted_application(job: &Job) -> Option<String> {
    std::fs::read_to_string(job.dir.join(APPLICATION)).ok()
}

const APPLICATION: &str = "application";

impl Runner for Spark {
    fn kind(&self) -> &'static str {
        "spark"
    }

    fn is_available(&self, config: &config::Config) -> bool {
        !config.spark_home.is_empty()
            && Path::new(&config.spark_home).join("bin/spark-submit").is_file()
            && is_program(&config.java)
    }

    fn prepare(&self, launch: &Launch, place: &Place<'_>) -> Result<Plan, Rejected> {
        let mut config: Config = read(launch)?;
        config.check()?;
        let settings = place.config;
        let code = config.code.take().map(|code| (place.dir.work().join("step.py"), code));
        let named = config.script.clone().or_else(|| config.jar.clone());
        let application = match (&code, named) {
            (Some((path, _)), _) => path.to_string_lossy().into_owned(),
            // A path that starts like an option would be taken for one.
            (None, Some(named)) if named.contains("://") || named.starts_with('/') => named,
            (None, Some(named)) => place.dir.work().join(named).to_string_lossy().into_owned(),
            (None, None) => return Err(Rejected(settings::ONE_PROGRAM.to_owned())),
        };
        let cores = launch.resources.map_or(1, |resources| (resources.cpus_milli / 1_000).max(1));
        let or = |own: &Option<String>, setting: &String| own.clone().unwrap_or_else(|| setting.clone());
        let master = match or(&config.master, &settings.spark_master) {
            local if local == "local" => format!("local[{cores}]"),
            master => master,
        };
        // The settings' addresses are those of the settings' master.
        let is_own = config.master.as_ref().is_some_and(|master| *master != settings.spark_master);
        let of_master = |own: &Option<String>, setting: &String| {
            if is_own { own.clone().unwrap_or_default() } else { or(own, setting) }
        };
        let told = Told {
            master_ui: of_master(&config.master_ui, &settings.spark_master_ui),
            gateway: of_master(&config.gateway, &settings.spark_gateway),
            python: or(&config.interpreter, &settings.spark_python),
            home: settings.spark_home.clone(),
            application,
            master,
            config,
        };
        if told.config.deploy_mode == Mode::Cluster {
            check_cluster(&told, launch)?;
        }
        let mut program = drive::program(launch, place, &told)?;
        program.files.extend(code);
        program.env.push(("SPARK_HOME".to_owned(), told.home.clone()));
        let python_path = python_path(launch, settings.helper("python"));
        program.env.push(("PYTHONPATH".to_owned(), python_path));
        Ok(Plan::Process(program))
    }

    fn drive<'a>(
        &'a self,
        job: &'a Job,
        voice: &'a Voice,
        stop: Stop,
    ) -> BoxFuture<'a, Result<i32, Verdict>> {
        async move {
            let told: Told = job.config()?;
            match told.config.deploy_mode {
                Mode::Client => client::run(job, &told, voice, stop).await,
                Mode::Cluster => cluster::run(job, &told, voice, stop).await,
            }
        }
        .boxed()
    }

    fn clean_up<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<(), Verdict>> {
        async move {
            let told: Told = job.config()?;
            match told.config.deploy_mode {
                Mode::Client => client::clean_up(job, &told).await,
                Mode::Cluster => cluster::clean_up(job, &told).await,
            }
        }
        .boxed()
    }
}

fn check_cluster(told: &Told, launch: &Launch) -> Result<(), Rejected> {
    let refuse = |message: &str| Err(Rejected(message.to_owned()));
    if !told.master.starts_with("spark://") {
        return refuse(
            "cluster mode is for standalone masters, `spark://…`: at others an application could not be found again \
             for certain; use client mode",
        );
    }
    // Without the one nothing can be submitted; without the other the next attempt would not find what still runs (P3).
    if told.gateway.is_empty() || told.master_ui.is_empty() {
        return refuse(
            "cluster mode needs two addresses of its master: `gateway` for drivers, e.g. http://master:6066, and \
             `master_ui`, e.g. http://master:8080; or the executor's settings `spark_gateway` and `spark_master_ui`",
        );
    }
    // What a master is told of a driver's environment stands in its files and its answers.
    if !launch.secrets.is_empty() {
        return refuse("a driver on the cluster gets no secrets: run the step in client mode");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runners::testing::plan;
    use crate::task::dirs::AttemptDir;

    fn told(config: &str) -> Told {
        let Ok(Plan::Process(program)) = plan("spark", config) else { panic!("no process: {config}") };
        serde_json::from_str::<Job>(&program.files[0].1).unwrap().config().unwrap()
    }

    #[test]
    fn programs_are_found_from_the_attempts_directory() {
        let of = |config| told(config).application;
        assert_eq!(of(r#"{"script": "--conf"}"#), "/attempt/work/--conf");
        assert_eq!(of(r#"{"code": "1"}"#), "/attempt/work/step.py");
        assert_eq!(of(r#"{"jar": "hdfs://n/a.jar", "main_class": "M"}"#), "hdfs://n/a.jar");
        assert_eq!(told(r#"{"code": "1"}"#).master, "local[1]");
        assert_eq!(told(r#"{"code": "1", "master": "local[*]"}"#).master, "local[*]");
    }

    #[test]
    fn a_driver_on_the_cluster_gets_no_secrets() {
        let (config, dir) = (config::Config::default(), AttemptDir::new("/attempt".into()));
        let prepare = |mode: &str, secrets: &[&str]| {
            let config_json = format!(
                r#"{{"jar": "a", "main_class": "M", "deploy_mode": "{mode}", "gateway": "http://g", "master_ui": "http://u",
                    "master": "spark://m:7077"}}"#
            );
            let secrets = secrets.iter().map(|name| (name.to_string(), "token".to_owned())).collect();
            let launch = Launch { kind: "spark".to_owned(), config_json, secrets, ..Launch::default() };
            Spark.prepare(&launch, &Place { config: &config, dir: &dir })
        };
        assert!(prepare("client", &["TOKEN"]).is_ok());
        assert!(prepare("cluster", &[]).is_ok(), "{:?}", prepare("cluster", &[]));
        assert!(prepare("cluster", &["TOKEN"]).unwrap_err().to_string().contains("client mode"));
    }

    #[test]
    fn bad_configurations_are_refused() {
        for bad in [
            "{}",
            r#"{"script": "a", "code": "b"}"#,
            r#"{"jar": "a"}"#,
            r#"{"code": "a", "main_class": "M"}"#,
            r#"{"jar": "a", "main_class": "-M"}"#,
            r#"{"code": "a", "deploy_mode": "cluster", "gateway": "http://g"}"#,
            r#"{"jar": "a", "main_class": "M", "deploy_mode": "cluster"}"#,
            r#"{"jar": "a", "main_class": "M", "deploy_mode": "cluster", "gateway": "http://g", "master_ui": "http://u", "master": "yarn"}"#,
            r#"{"jar": "a", "main_class": "M", "deploy_mode": "cluster", "gateway": "http://g", "master": "spark://m:1"}"#,
            r#"{"code": "a", "jars": ["x,y"]}"#,
            r#"{"code": "a", "conf": {"my.own": 1}}"#,
            r#"{"code": "a", "conf": {"spark.meson.attempt_id": "x"}}"#,
            r#"{"code": "a", "stall": {"after": "soon"}}"#,
            r#"{"code": "a", "executors": {"memory": "much"}}"#,
            r#"{"code": "a", "executors": {"count": 2}, "dynamic_allocation": {"max": 3}}"#,
        ] {
            assert!(plan("spark", bad).is_err(), "{bad}");
        }
    }
}
