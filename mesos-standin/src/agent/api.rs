//! The agent's HTTP face: executors, health, sandboxes, and the stand-in's own controls under `/standin`.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State as Shared,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use meson_mesos::v1::{
    TaskState,
    executor::{Call, Event, call, event},
    task_status::Reason,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Agent, State,
    executor::{Key, Phase},
    run::deliver,
    status::Said,
};
use crate::{
    cluster::{Refusal, VERSION},
    http::{self, EventSender},
    link::{FrameworkMessage, FromAgent, Nothing},
    validate,
};

/// Between two heartbeats to executors: Mesos's.
const HEARTBEAT: std::time::Duration = std::time::Duration::from_secs(30 * 60);

/// All routes.
pub(super) fn router(agent: Arc<Agent>) -> Router {
    Router::new()
        .route("/api/v1/executor", any(executor))
        .route("/slave(1)/api/v1/executor", any(executor))
        .route("/health", get(|| async { StatusCode::OK }))
        .route("/version", get(|| async { http::json(&json!({ "version": VERSION })) }))
        .route("/files/read", get(read_file))
        .route("/standin/state", get(state))
        .route("/standin/forget", post(forget))
        .route("/standin/exit", post(exit))
        .route("/standin/leave", post(leave))
        .with_state(agent)
}

async fn executor(
    Shared(agent): Shared<Arc<Agent>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(refusal) = http::only_post(&method) {
        return refusal;
    }
    match agent.executor_call(&headers, &body) {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

impl Agent {
    fn executor_call(self: &Arc<Self>, headers: &HeaderMap, body: &[u8]) -> Result<Response, Refusal> {
        let call: Call = http::read_call(headers, body)?;
        validate::executor_call(&call)
            .map_err(|error| Refusal::BadRequest(format!("Failed to validate Executor::Call: {error}")))?;
        let key = (call.framework_id.value.clone(), call.executor_id.value.clone());
        let kind = call.r#type();
        let encoding =
            if kind == call::Type::Subscribe { Some(http::accepted_encoding(headers)?) } else { None };
        if kind == call::Type::Heartbeat {
            return Ok(StatusCode::ACCEPTED.into_response());
        }
        self.admit(&key, kind)?;
        match (kind, encoding) {
            (call::Type::Subscribe, Some(encoding)) => {
                let (sender, response) = http::event_stream(encoding, &[]);
                self.subscribe(&key, sender, call.subscribe.unwrap_or_default());
                Ok(response)
            }
            (call::Type::Update, _) => {
                let status = call.update.unwrap_or_default().status;
                self.executor_update(&key.0, &key.1, status);
                Ok(StatusCode::ACCEPTED.into_response())
            }
            (call::Type::Message, _) => {
                let data = call.message.unwrap_or_default().data.to_vec();
                let message = FrameworkMessage { framework_id: key.0, executor_id: key.1, data };
                self.lock().to_master(FromAgent::Message(message));
                Ok(StatusCode::ACCEPTED.into_response())
            }
            _ => Err(Refusal::NotImplemented(String::new())),
        }
    }

    /// Who may call, in Mesos's order of checks.
    fn admit(&self, key: &Key, kind: call::Type) -> Result<(), Refusal> {
        let state = self.lock();
        if state.recovering && kind != call::Type::Subscribe {
            return Err(Refusal::Unavailable("Agent has not finished recovery".to_owned()));
        }
        if !state.frameworks.contains_key(&key.0) {
            return Err(Refusal::BadRequest("Framework cannot be found".to_owned()));
        }
        let Some(executor) = state.executors.get(key) else {
            return Err(Refusal::BadRequest("Executor cannot be found".to_owned()));
        };
        if executor.phase == Phase::Registering && kind != call::Type::Subscribe {
            return Err(Refusal::Forbidden("Executor is not subscribed".to_owned()));
        }
        Ok(())
    }

    fn subscribe(self: &Arc<Self>, key: &Key, sender: EventSender, subscribe: call::Subscribe) {
        let mut state = self.lock();
        let info = state.info.clone();
        let framework = state.frameworks.get(&key.0).cloned().unwrap_or_default();
        let Some(executor) = state.executors.get_mut(key) else { return };
        if matches!(executor.phase, Phase::Terminating | Phase::Terminated) {
            return sender.send(&Event { r#type: Some(event::Type::Shutdown.into()), ..Event::default() });
        }
        executor.phase = Phase::Running;
        executor.subscription += 1;
        let subscription = executor.subscription;
        executor.stream = Some(sender.clone());
        for update in subscribe.unacknowledged_updates {
            self.take_update(&mut state, &key.0, update.status);
        }
        let unacknowledged =
            subscribe.unacknowledged_tasks.iter().map(|task| task.task_id.value.clone()).collect();
        self.drop_undelivered(&mut state, key, unacknowledged);
        let unused = state
            .executors
            .get(key)
            .is_some_and(|executor| !executor.ever_sent && executor.queued.is_empty());
        if unused {
            return self.shutdown_executor(&mut state, key);
        }
        let Some(executor) = state.executors.get_mut(key) else { return };
        let subscribed = event::Subscribed {
            executor_info: executor.info.clone(),
            framework_info: framework,
            agent_info: info,
            container_id: Some(executor.container.clone()),
        };
        sender.send(&Event {
            r#type: Some(event::Type::Subscribed.into()),
            subscribed: Some(subscribed),
            ..Event::default()
        });
        deliver(executor);
        self.checkpoint(&state);
        tokio::spawn(Arc::clone(self).watch_stream(key.clone(), subscription, sender));
    }

    /// A task that was sent before the agent's restart, and that the executor does not know, never arrived.
    fn drop_undelivered(&self, state: &mut State, key: &Key, unacknowledged: Vec<String>) {
        let Some(executor) = state.executors.get(key) else { return };
        let lost: Vec<String> = executor
            .tasks
            .iter()
            .filter(|(id, task)| {
                task.delivered && task.state == TaskState::TaskStaging && !unacknowledged.contains(id)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for task in lost {
            let aware = state.is_partition_aware(&key.0);
            let said = Said {
                state: if aware { TaskState::TaskDropped } else { TaskState::TaskLost },
                reason: Reason::AgentRestarted,
                message: "Task launched during agent restart".to_owned(),
            };
            self.say(state, &key.0, &task, Some(&key.1), said);
        }
    }

    /// Sends heartbeats until the executor's connection ends, and then notes that.
    async fn watch_stream(self: Arc<Self>, key: Key, subscription: u64, sender: EventSender) {
        let watcher = sender.downgrade();
        let beat = async {
            loop {
                tokio::time::sleep(HEARTBEAT).await;
                let state = self.lock();
                let stream = state.executors.get(&key).and_then(|executor| executor.stream.as_ref());
                if let Some(stream) = stream {
                    stream.send(&Event { r#type: Some(event::Type::Heartbeat.into()), ..Event::default() });
                }
            }
        };
        drop(sender);
        tokio::select! {
            () = watcher.closed() => {}
            () = beat => {}
        }
        let mut state = self.lock();
        let own = state.executors.get_mut(&key).filter(|executor| executor.subscription == subscription);
        if let Some(executor) = own {
            executor.stream = None;
        }
    }
}

/// The query of `GET /files/read`: only files of sandboxes, and only whole parts of them.
async fn read_file(Shared(agent): Shared<Arc<Agent>>, uri: Uri) -> Response {
    let query = uri.query().unwrap_or_default();
    let value = |name: &str| {
        query
            .split('&')
            .filter_map(|part| part.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    };
    let Some(path) = value("path") else {
        return Refusal::BadRequest("Expecting 'path=value' in query.\n".to_owned()).into_response();
    };
    let path = path.replace("%2F", "/");
    let root = agent.settings.work_dir.join("slaves");
    let inside = std::fs::canonicalize(&path)
        .ok()
        .filter(|path| std::fs::canonicalize(&root).is_ok_and(|root| path.starts_with(root)));
    let Some(bytes) = inside.and_then(|path| std::fs::read(path).ok()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let number = |name: &str| value(name).and_then(|value| value.parse::<i64>().ok());
    let offset = number("offset").unwrap_or(-1);
    let Ok(offset) = usize::try_from(offset) else {
        return http::json(&json!({ "data": "", "offset": bytes.len() }));
    };
    let length = number("length").and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX);
    let data: Vec<u8> = bytes.into_iter().skip(offset).take(length).collect();
    http::json(&json!({ "data": String::from_utf8_lossy(&data), "offset": offset }))
}

async fn state(Shared(agent): Shared<Arc<Agent>>) -> Response {
    let state = agent.lock();
    let executors: Vec<_> = state
        .executors
        .iter()
        .map(|((framework, id), executor)| {
            json!({
                "framework_id": framework,
                "executor_id": id,
                "phase": format!("{:?}", executor.phase),
                "pid": executor.pid,
                "sandbox": executor.directory,
                "tasks": executor.tasks.iter().map(|(id, task)| json!({
                    "task_id": id, "state": task.state.as_str_name(), "delivered": task.delivered,
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    http::json(&json!({ "agent_id": state.id(), "recovering": state.recovering, "executors": executors }))
}

/// The process ends at once; executors of frameworks that checkpoint go on.
async fn exit() -> Response {
    std::process::exit(0)
}

/// The agent ends all that runs on it and leaves the cluster for good, as on the real agent's `SIGUSR1`.
async fn leave(Shared(agent): Shared<Arc<Agent>>) -> Response {
    agent.end_all();
    let mut state = agent.lock();
    state.to_master(FromAgent::Unregister(Nothing {}));
    state.ended = true;
    StatusCode::OK.into_response()
}

/// What `POST /standin/forget` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Forget {
    framework_id: String,
    task_id: String,
}

/// The agent loses a task without a word; the executor keeps it.
async fn forget(Shared(agent): Shared<Arc<Agent>>, body: Bytes) -> Response {
    let forget: Forget = match http::from_json(&body) {
        Ok(forget) => forget,
        Err(refusal) => return refusal.into_response(),
    };
    let mut state = agent.lock();
    for (key, executor) in &mut state.executors {
        if key.0 == forget.framework_id {
            executor.tasks.remove(&forget.task_id);
        }
    }
    StatusCode::OK.into_response()
}
