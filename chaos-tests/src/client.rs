//! A client that rides through failovers: tries all endpoints until one answers, with the same request id.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use meson_proto::v1::cluster_service_client::ClusterServiceClient;
use meson_proto::v1::run_service_client::RunServiceClient;
use meson_proto::v1::workflow_service_client::WorkflowServiceClient;
use meson_proto::v1::*;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use crate::wait::{PATIENCE, until};

/// Longest wait for one answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after all endpoints failed.
const PAUSE: Duration = Duration::from_millis(20);

/// Talks to whichever replica answers.
pub struct Client {
    endpoints: Vec<String>,
    channels: Mutex<HashMap<String, Channel>>,
    next: AtomicUsize,
}

impl Client {
    /// Over these endpoints.
    pub fn new(endpoints: Vec<String>) -> Self {
        Client { endpoints, channels: Mutex::default(), next: AtomicUsize::new(0) }
    }

    fn channel(&self) -> Channel {
        let endpoint = &self.endpoints[self.next.load(Ordering::Relaxed) % self.endpoints.len()];
        let mut channels = self.channels.lock().expect("no holder panics");
        let connect = || {
            Endpoint::from_shared(endpoint.clone())
                .expect("endpoints are made from ports")
                .connect_timeout(Duration::from_secs(1))
                .timeout(CALL_TIMEOUT)
                .connect_lazy()
        };
        channels.entry(endpoint.clone()).or_insert_with(connect).clone()
    }

    /// Calls until there is an answer that is not a passing failure.
    ///
    /// # Errors
    /// The answer, if it is another error; or the last failure when [`PATIENCE`] is over.
    pub async fn call<T, F>(&self, mut call: impl FnMut(Channel) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let started = Instant::now();
        loop {
            match call(self.channel()).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) if is_passing(&status) && started.elapsed() < PATIENCE => {
                    self.next.fetch_add(1, Ordering::Relaxed);
                    // tidy: allow sleep: a client backs off between endpoints, as any client does
                    tokio::time::sleep(PAUSE).await;
                }
                Err(status) => return Err(status),
            }
        }
    }

    /// Registers a definition; gives its name.
    ///
    /// # Errors
    /// What the service says.
    pub async fn register(&self, definition: &str) -> anyhow::Result<String> {
        let definition = definition.to_owned();
        let answer = self
            .call(|channel| {
                let definition = definition.clone();
                async move {
                    WorkflowServiceClient::new(channel)
                        .register_workflow(RegisterWorkflowRequest { definition })
                        .await
                }
            })
            .await?;
        Ok(answer.workflow.context("a workflow comes back")?.name)
    }

    /// Starts a run of the newest version; gives its id.
    ///
    /// # Errors
    /// What the service says.
    pub async fn start(&self, workflow: &str, request_id: &str, params_json: &str) -> Result<String, Status> {
        self.start_run(StartRunRequest {
            request_id: request_id.to_owned(),
            workflow: workflow.to_owned(),
            params_json: params_json.to_owned(),
            ..StartRunRequest::default()
        })
        .await
    }

    /// Starts a run of the newest version with labels; gives its id.
    ///
    /// # Errors
    /// What the service says.
    pub async fn start_with_labels(&self, workflow: &str, labels: &[(&str, &str)]) -> Result<String, Status> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.start_run(StartRunRequest {
            workflow: workflow.to_owned(),
            labels,
            ..StartRunRequest::default()
        })
        .await
    }

    async fn start_run(&self, request: StartRunRequest) -> Result<String, Status> {
        let answer = self
            .call(|channel| {
                let request = request.clone();
                async move { RunServiceClient::new(channel).start_run(request).await }
            })
            .await?;
        Ok(answer.run.unwrap_or_default().run_id)
    }

    /// The run.
    ///
    /// # Errors
    /// What the service says.
    pub async fn run(&self, run_id: &str) -> Result<Run, Status> {
        let request = GetRunRequest { run_id: run_id.to_owned(), allow_stale: false };
        let answer = self
            .call(|channel| {
                let request = request.clone();
                async move { RunServiceClient::new(channel).get_run(request).await }
            })
            .await?;
        Ok(answer.run.unwrap_or_default())
    }

    /// All nodes of a run, page by page.
    ///
    /// # Errors
    /// What the service says.
    pub async fn nodes(&self, run_id: &str) -> Result<Vec<Node>, Status> {
        let mut nodes = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListNodesRequest {
                run_id: run_id.to_owned(),
                page_size: 1_000,
                page_token,
                ..Default::default()
            };
            let page = self
                .call(|channel| {
                    let request = request.clone();
                    async move { RunServiceClient::new(channel).list_nodes(request).await }
                })
                .await?;
            nodes.extend(page.nodes);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(nodes);
            }
        }
    }

    /// Executors known to the leader.
    ///
    /// # Errors
    /// What the service says.
    pub async fn executors(&self) -> Result<Vec<Executor>, Status> {
        let call = |channel| async move {
            ClusterServiceClient::new(channel).list_executors(ListExecutorsRequest {}).await
        };
        Ok(self.call(call).await?.executors)
    }

    /// How it goes with Mesos.
    ///
    /// # Errors
    /// What the service says.
    pub async fn mesos(&self) -> Result<GetMesosResponse, Status> {
        let call =
            |channel| async move { ClusterServiceClient::new(channel).get_mesos(GetMesosRequest {}).await };
        self.call(call).await
    }

    /// Gives the framework id up.
    ///
    /// # Errors
    /// What the service says.
    pub async fn register_anew(&self, framework_id: &str) -> Result<(), Status> {
        let request = RegisterAnewRequest { framework_id: framework_id.to_owned() };
        let call = |channel| {
            let request = request.clone();
            async move { ClusterServiceClient::new(channel).register_anew(request).await }
        };
        self.call(call).await.map(drop)
    }

    /// Waits until a run has ended.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn wait(&self, run_id: &str) -> anyhow::Result<Run> {
        until(&format!("the end of run {run_id}"), || async {
            let run = self.run(run_id).await.ok()?;
            is_terminal(run.status()).then_some(run)
        })
        .await
    }

    /// Waits until a run has ended and checks that it succeeded.
    ///
    /// # Errors
    /// When it did not.
    pub async fn succeed(&self, run_id: &str) -> anyhow::Result<Run> {
        let run = self.wait(run_id).await?;
        if run.status() != RunStatus::Succeeded {
            bail!("run {run_id} ended as {:?}: {:?}", run.status(), run.failure);
        }
        Ok(run)
    }
}

fn is_terminal(status: RunStatus) -> bool {
    matches!(status, RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled)
}

/// Failures that another replica, or the same a little later, may not give. A broken connection shows as `Unknown` or
/// `Cancelled` with a transport error behind it.
fn is_passing(status: &Status) -> bool {
    let code = status.code();
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
        || (code == Code::Unknown && std::error::Error::source(status).is_some())
}
