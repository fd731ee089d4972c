//! `docker`: a container of an image, by the API of Docker or Podman. It sees the attempt's directory, the run's workspace
//! and the files of the task contract under the same paths as a process would.

mod engine;
mod follow;
mod image;

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use meson_proto::v1::Launch;
use serde::{Deserialize, Serialize};

use super::{Place, Plan, Rejected, Runner, read, some_texts};
use crate::config;
use crate::drive::{self, Job, Stop, Verdict, Voice};
use crate::task::dirs::AttemptDir;

/// The runner.
pub struct Docker;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    image: String,
    /// Program and arguments; default: what the image says.
    #[serde(default, deserialize_with = "some_texts")]
    command: Option<Vec<String>>,
    #[serde(default, deserialize_with = "some_texts")]
    entrypoint: Option<Vec<String>>,
    #[serde(default)]
    mounts: Vec<Bind>,
    /// User and group, e.g. `1000:1000`; default: what the image says.
    user: Option<String>,
    /// Directory in the container; default: the attempt's.
    workdir: Option<String>,
    /// Network mode, e.g. `host` or `none`.
    network: Option<String>,
    #[serde(default)]
    pull: Pull,
}

/// A directory or file of the machine, seen in the container.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bind {
    source: String,
    target: String,
    #[serde(default)]
    read_only: bool,
}

/// When the image is fetched from its registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Pull {
    Always,
    /// When the machine does not have it.
    #[default]
    Missing,
    Never,
}

/// What the driver is told.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    config: Config,
    /// Address of the engine.
    host: String,
    /// File with credentials of registries, in the form of Docker's `config.json`; empty for none.
    auth_file: String,
}

impl Runner for Docker {
    fn kind(&self) -> &'static str {
        "docker"
    }

    /// An engine by a socket is there when the socket is; one that is far away is taken at its word.
    fn is_available(&self, config: &config::Config) -> bool {
        config.docker_host.strip_prefix("unix://").is_none_or(|path| std::path::Path::new(path).exists())
    }

    fn prepare(&self, launch: &Launch, place: &Place<'_>) -> Result<Plan, Rejected> {
        let config: Config = read(launch)?;
        for bind in &config.mounts {
            if !bind.source.starts_with('/') || !bind.target.starts_with('/') {
                return Err(Rejected("source and target of a mount must be absolute paths".to_owned()));
            }
        }
        let (host, auth_file) = (place.config.docker_host.clone(), place.config.docker_auth_file.clone());
        drive::program(launch, place, &Told { config, host, auth_file }).map(Plan::Process)
    }

    fn drive<'a>(
        &'a self,
        job: &'a Job,
        voice: &'a Voice,
        stop: Stop,
    ) -> BoxFuture<'a, Result<i32, Verdict>> {
        follow::run(job, voice, stop).boxed()
    }

    fn clean_up<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<(), Verdict>> {
        async {
            let told: Told = job.config()?;
            let engine = engine::connect(&told.host).await?;
            engine::remove_all(&engine, &[label("attempt_id", &job.attempt_id)]).await
        }
        .boxed()
    }
}

/// A label that tells whose a container is.
fn label(name: &str, value: &str) -> String {
    format!("meson.{name}={value}")
}

/// Labels of all containers of the step, whatever the attempt.
fn step_labels(job: &Job) -> [String; 2] {
    [label("run", &job.run_id), label("step", &job.step)]
}

/// What the engine is asked for.
fn container(job: &Job, config: &Config, own: impl Iterator<Item = (String, String)>) -> ContainerCreateBody {
    let files = job.files();
    // Of the driver's own environment only the task contract and the step's secrets: the rest is of this machine.
    // What MESON_FS names is not in the container either.
    let of_contract = |name: &str| name.starts_with("MESON_") && name != crate::fs::VARIABLE;
    let is_of_step = |name: &String| of_contract(name) || job.secrets.contains(name);
    let contract: Vec<_> = own.filter(|(name, _)| is_of_step(name)).collect();
    let workspace = contract.iter().find(|(name, _)| name == "MESON_WORKSPACE").map(|(_, path)| path.clone());
    let env = job.env.iter().chain(&contract).map(|(name, value)| format!("{name}={value}")).collect();
    let labels: HashMap<String, String> = [
        ("run", job.run_id.clone()),
        ("step", job.step.clone()),
        ("workflow", job.workflow.clone()),
        ("attempt", job.attempt.to_string()),
        ("attempt_id", job.attempt_id.clone()),
        ("fence", job.fence.to_string()),
    ]
    .map(|(name, value)| (format!("meson.{name}"), value))
    .into();
    let memory = i64::try_from(job.mem_bytes).ok().filter(|bytes| *bytes > 0);
    let host = HostConfig {
        mounts: Some(mounts(&files, workspace, config)),
        memory,
        // As much as memory: none of it is swap.
        memory_swap: memory,
        cpu_shares: i64::try_from(job.cpus_milli * SHARES_A_CORE / 1_000).ok().map(|shares| shares.max(2)),
        network_mode: config.network.clone(),
        init: Some(true),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(config.image.clone()),
        cmd: config.command.clone(),
        entrypoint: config.entrypoint.clone(),
        env: Some(env),
        user: config.user.clone(),
        working_dir: Some(config.workdir.clone().unwrap_or_else(|| text(&files.work()))),
        labels: Some(labels),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

/// Weight of one core, as all container engines count.
const SHARES_A_CORE: u64 = 1_024;

fn mounts(files: &AttemptDir, workspace: Option<String>, config: &Config) -> Vec<Mount> {
    let bind = |source: String, target: String, read_only| Mount {
        typ: Some(MountType::BIND),
        source: Some(source),
        target: Some(target),
        read_only: Some(read_only),
        ..Mount::default()
    };
    let same = |path: String, read_only| bind(path.clone(), path, read_only);
    let mut mounts = vec![
        same(text(&files.work()), false),
        same(text(&files.events()), false),
        same(text(&files.params()), true),
    ];
    // A workspace that is an URI needs no mount.
    mounts.extend(workspace.filter(|path| path.starts_with('/')).map(|path| same(path, false)));
    let own = config.mounts.iter().map(|own| bind(own.source.clone(), own.target.clone(), own.read_only));
    mounts.extend(own);
    mounts
}

fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runners::testing::plan;

    #[test]
    fn a_container_sees_what_a_process_would() {
        let Ok(Plan::Process(program)) = plan("docker", r#"{"image": "a/b:1", "command": ["x", "$y"]}"#)
        else {
            panic!("no process")
        };
        assert_eq!((program.argv[1].as_str(), program.cleanup[1].as_str()), ("drive", "clean-up"));
        let mut job: Job = serde_json::from_str(&program.files[0].1).unwrap();
        (job.mem_bytes, job.cpus_milli) = (64 << 20, 500);
        job.secrets = vec!["TOKEN".to_owned()];
        let told: Told = job.config().unwrap();
        let own = [
            ("MESON_WORKSPACE", "/w"),
            ("MESON_FS", "/proc/1/exe"),
            ("PATH", "/bin"),
            ("MESON_EVENTS", "/attempt/events.jsonl"),
            ("TOKEN", "of the step"),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let body = container(&job, &told.config, own);
        let expected = ["MESON_WORKSPACE=/w", "MESON_EVENTS=/attempt/events.jsonl", "TOKEN=of the step"];
        assert_eq!(body.env.unwrap(), expected);
        assert_eq!(body.cmd.unwrap(), ["x", "$y"]);
        let host = body.host_config.unwrap();
        assert_eq!(
            (host.memory, host.memory_swap, host.cpu_shares),
            (Some(64 << 20), Some(64 << 20), Some(512))
        );
        let seen: Vec<_> = host.mounts.unwrap().into_iter().filter_map(|mount| mount.target).collect();
        assert_eq!(seen, ["/attempt/work", "/attempt/events.jsonl", "/attempt/params.json", "/w"]);
    }

    #[test]
    fn bad_configurations_are_refused() {
        for bad in [
            "{}",
            r#"{"image": "a", "mounts": [{"source": "x", "target": "/y"}]}"#,
            r#"{"image": "a", "x": 1}"#,
        ] {
            assert!(plan("docker", bad).is_err(), "{bad}");
        }
    }
}
