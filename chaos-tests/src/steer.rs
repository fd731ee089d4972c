//! Steering runs and looking at their nodes, through the same client that rides through failovers.

use std::future::Future;

use anyhow::ensure;
use meson_proto::v1::run_service_client::RunServiceClient;
use meson_proto::v1::*;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::Client;
use crate::wait::until;

impl Client {
    /// Sends a request to the run service.
    ///
    /// # Errors
    /// What the service says.
    pub async fn runs<Q, A, F>(
        &self,
        request: Q,
        send: impl Fn(RunServiceClient<Channel>, Q) -> F,
    ) -> Result<A, Status>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.call(|channel| send(RunServiceClient::new(channel), request.clone())).await
    }

    /// One node of a run.
    ///
    /// # Errors
    /// What the service says.
    pub async fn node(&self, run_id: &str, path: &str) -> Result<Node, Status> {
        let request = GetNodeRequest { run_id: run_id.to_owned(), path: path.to_owned() };
        let answer = self.runs(request, |mut runs, request| async move { runs.get_node(request).await });
        Ok(answer.await?.node.unwrap_or_default())
    }

    /// Waits until a node is in this state.
    ///
    /// # Errors
    /// When it is not in time, or ends in another state.
    pub async fn until_node(&self, run_id: &str, path: &str, status: NodeStatus) -> anyhow::Result<Node> {
        let node = until(&format!("{path} is {status:?}"), || async {
            let node = self.node(run_id, path).await.ok()?;
            (node.status() == status || node.ended_at.is_some()).then_some(node)
        })
        .await?;
        ensure!(node.status() == status, "{path} ended as {:?}: {:?}", node.status(), node.failure);
        Ok(node)
    }

    /// Asks for the end of a run.
    ///
    /// # Errors
    /// What the service says.
    pub async fn cancel(&self, run_id: &str) -> Result<Run, Status> {
        let request = CancelRunRequest { run_id: run_id.to_owned(), reason: "no longer wanted".to_owned() };
        let answer = self.runs(request, |mut runs, request| async move { runs.cancel_run(request).await });
        Ok(answer.await?.run.unwrap_or_default())
    }

    /// Has nothing new start.
    ///
    /// # Errors
    /// What the service says.
    pub async fn pause(&self, run_id: &str) -> Result<Run, Status> {
        let request = PauseRunRequest { run_id: run_id.to_owned() };
        let answer = self.runs(request, |mut runs, request| async move { runs.pause_run(request).await });
        Ok(answer.await?.run.unwrap_or_default())
    }

    /// Lets a paused run go on.
    ///
    /// # Errors
    /// What the service says.
    pub async fn resume(&self, run_id: &str) -> Result<Run, Status> {
        let request = ResumeRunRequest { run_id: run_id.to_owned() };
        let answer = self.runs(request, |mut runs, request| async move { runs.resume_run(request).await });
        Ok(answer.await?.run.unwrap_or_default())
    }

    /// Takes an ended run up again.
    ///
    /// # Errors
    /// What the service says.
    pub async fn restart(&self, run_id: &str) -> Result<Run, Status> {
        let request = RestartRunRequest { run_id: run_id.to_owned() };
        let answer = self.runs(request, |mut runs, request| async move { runs.restart_run(request).await });
        Ok(answer.await?.run.unwrap_or_default())
    }

    /// Sends a signal with a payload, JSON.
    ///
    /// # Errors
    /// What the service says.
    pub async fn signal(
        &self,
        run_id: &str,
        signal: &str,
        payload_json: &str,
        request_id: &str,
    ) -> Result<Run, Status> {
        let request = SignalRunRequest {
            run_id: run_id.to_owned(),
            signal: signal.to_owned(),
            payload_json: payload_json.to_owned(),
            request_id: request_id.to_owned(),
        };
        let answer = self.runs(request, |mut runs, request| async move { runs.signal_run(request).await });
        Ok(answer.await?.run.unwrap_or_default())
    }

    /// Opens the stream of a run's changes.
    ///
    /// # Errors
    /// What the service says.
    pub async fn watch(
        &self,
        run_id: &str,
        from_sequence: u64,
    ) -> Result<tonic::Streaming<WatchRunResponse>, Status> {
        let request = WatchRunRequest { run_id: run_id.to_owned(), from_sequence };
        self.runs(request, |mut runs, request| async move { runs.watch_run(request).await }).await
    }
}
