//! The life of a step's container: made, started, followed, removed.

use std::io::Write as _;
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::ContainerState;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, LogsOptionsBuilder, StopContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures::StreamExt as _;
use tokio::time::{Instant, sleep, timeout};

use super::engine::{is_away, is_missing};
use super::{Told, container, engine, image, label, step_labels};
use crate::drive::{Job, Stop, Verdict, Voice, stopped};

/// How long an engine may be away, e.g. for its own upgrade, before the attempt is given up.
const ENGINE_PATIENCE: Duration = Duration::from_secs(60);
/// Pause before an engine that is away is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long the rest of the log is waited for when the container has ended.
const LOG_REST: Duration = Duration::from_secs(10);

/// From the image to the end of the container.
pub async fn run(job: &Job, voice: &Voice, mut stop: Stop) -> Result<i32, Verdict> {
    let told: Told = job.config()?;
    let work = async {
        let docker = engine::connect(&told.host).await?;
        image::bring(&docker, &told, voice).await?;
        // Of an earlier attempt whose clean-up could not reach the engine.
        engine::remove_all(&docker, &step_labels(job)).await?;
        let id = start(&docker, job, &told, voice).await?;
        Ok((docker, id))
    };
    let (docker, id) = tokio::select! {
        started = work => started?,
        () = stopped(&mut stop) => return Err(Verdict::user("killed", "killed before its container ran")),
    };
    let log = tokio::spawn(copy_log(docker.clone(), id.clone()));
    let end = tokio::select! {
        end = until_ended(&docker, &id) => end,
        () = stopped(&mut stop) => {
            let seconds = i32::try_from(job.kill_grace_ms.div_ceil(1_000)).unwrap_or(i32::MAX);
            let options = StopContainerOptionsBuilder::default().t(seconds).build();
            // The clean-up makes sure.
            let _ = docker.stop_container(&id, Some(options)).await;
            until_ended(&docker, &id).await
        }
    };
    // The tail may be lost when the engine is; the container's end is known all the same.
    let _ = timeout(LOG_REST, log).await;
    let state = end?;
    // It has ended, and how is known. Where it cannot be removed now, the clean-up tries again and says so.
    let _ = engine::remove_all(&docker, &[label("attempt_id", &job.attempt_id)]).await;
    judge(job, &state, *stop.borrow())
}

async fn start(docker: &Docker, job: &Job, told: &Told, voice: &Voice) -> Result<String, Verdict> {
    let name: String =
        job.attempt_id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let options = CreateContainerOptionsBuilder::default().name(&format!("meson-{name}")).build();
    job.begin().map_err(|error| Verdict::platform("driver", error))?;
    let body = container(job, &told.config, std::env::vars());
    let refused = |error: Error| match &error {
        // The engine understood and will not: the image's program is missing, a mount's source, the user.
        Error::DockerResponseServerError { status_code: 400 | 404, message } => {
            Verdict::user("container", message)
        }
        _ => Verdict::platform("container", error),
    };
    let id = docker.create_container(Some(options), body).await.map_err(refused)?.id;
    // Said before the step can speak, so that its own first message is not taken back.
    voice.message(&format!("container {} of {}", &id[..id.len().min(SHORT_ID)], told.config.image));
    // A program that is not there is found out here, and called an error of the server by Podman.
    docker.start_container(&id, None).await.map_err(|error| match error {
        Error::DockerResponseServerError { message, .. } => Verdict::user("container_start", message),
        other => Verdict::platform("container_start", other),
    })?;
    Ok(id)
}

/// Letters of a container's id that people are shown.
const SHORT_ID: usize = 12;

/// What the container wrote, to where the attempt writes. Goes on after the engine was away.
async fn copy_log(docker: Docker, id: String) {
    let mut since = 0;
    loop {
        let options =
            LogsOptionsBuilder::default().follow(true).stdout(true).stderr(true).since(since).build();
        let mut log = docker.logs(&id, Some(options));
        while let Some(Ok(output)) = log.next().await {
            // Nobody reads any more only when the attempt is over.
            let _ = match output {
                LogOutput::StdErr { message } => std::io::stderr().write_all(&message),
                LogOutput::StdOut { message }
                | LogOutput::Console { message }
                | LogOutput::StdIn { message } => {
                    std::io::stdout().write_all(&message).and_then(|()| std::io::stdout().flush())
                }
            };
            since = i32::try_from(crate::clock::unix_ms() / 1_000).unwrap_or(i32::MAX);
        }
        if !matches!(state(&docker, &id).await, Ok(state) if state.running == Some(true)) {
            return;
        }
        sleep(ASK_AGAIN).await;
    }
}

async fn state(docker: &Docker, id: &str) -> Result<ContainerState, Error> {
    Ok(docker.inspect_container(id, None).await?.state.unwrap_or_default())
}

/// Waits until the container runs no more. Calls that wait are cut by timeouts and by engines that restart.
async fn until_ended(docker: &Docker, id: &str) -> Result<ContainerState, Verdict> {
    let mut away_since = None;
    loop {
        let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
        // Its answer is only a reason to look: the exit status of the state tells more.
        let _ = docker.wait_container(id, Some(options)).next().await;
        match state(docker, id).await {
            Ok(state) if state.running == Some(false) => return Ok(state),
            Ok(_) => away_since = None,
            Err(error) if is_missing(&error) => {
                return Err(Verdict::platform("container_vanished", "somebody removed the container"));
            }
            Err(error) if is_away(&error) => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if since.elapsed() > ENGINE_PATIENCE {
                    return Err(Verdict::platform("engine_away", error));
                }
            }
            Err(error) => return Err(Verdict::platform("engine", error)),
        }
        sleep(ASK_AGAIN).await;
    }
}

/// Exit status of what SIGKILL ended.
const KILLED: i64 = 128 + 9;

fn judge(job: &Job, state: &ContainerState, is_ordered: bool) -> Result<i32, Verdict> {
    let limit = job.mem_bytes;
    let code = state.exit_code.unwrap_or_default();
    if state.oom_killed == Some(true) {
        let message = format!("the container used more memory than its limit of {limit} bytes");
        return Err(Verdict::user("out_of_memory", message));
    }
    // Podman with cgroup v1 does not see it (conmon 2.1 leaves its note in the wrong directory). Nobody else here kills.
    if code == KILLED && limit > 0 && !is_ordered {
        let message = format!("killed, most likely for using more than its limit of {limit} bytes of memory");
        return Err(Verdict::user("out_of_memory", message));
    }
    match state.error.as_deref() {
        Some(error) if code != 0 && !error.is_empty() => Err(Verdict::user("container", error)),
        _ => Ok(i32::try_from(code).unwrap_or(i32::MAX)),
    }
}
