//! Cluster mode: the gateway by which drivers are submitted, asked about and ended. Standalone masters speak it (with
//! `spark.master.rest.enabled`, port 6066). Source: Spark's
//! `org.apache.spark.deploy.rest.SubmitRestProtocolMessage`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, http};

/// The gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    base: String,
}

/// A driver to be started on the cluster.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Create {
    /// The jar, where the cluster can read it.
    pub app_resource: String,
    /// A class in it.
    pub main_class: String,
    /// Its arguments.
    pub app_args: Vec<String>,
    /// Version of Spark that this speaks for.
    pub client_spark_version: String,
    /// Properties of Spark.
    pub spark_properties: BTreeMap<String, String>,
    /// Variables of the driver.
    pub environment_variables: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct CreateMessage<'a> {
    action: &'static str,
    #[serde(flatten)]
    create: &'a Create,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Answer {
    success: Option<bool>,
    message: Option<String>,
    submission_id: Option<String>,
    driver_state: Option<DriverState>,
    worker_host_port: Option<String>,
}

/// How a driver stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its state.
    pub state: DriverState,
    /// `host:port` of the worker that runs it; empty while none does.
    pub worker: String,
    /// What went wrong, as the master knows it.
    pub message: String,
}

/// States of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DriverState {
    /// Waits for a worker.
    Submitted,
    /// Runs.
    Running,
    /// Ended with exit status 0.
    Finished,
    /// Failed and is being started again, as supervised drivers are.
    Relaunching,
    /// The master was replaced and has not found it yet.
    Unknown,
    /// Ended by order.
    Killed,
    /// Ended with another exit status.
    Failed,
    /// Could not be started.
    Error,
    /// The master has never heard of it, or has forgotten it.
    NotFound,
    /// A state of a later version.
    #[serde(other)]
    Other,
}

impl DriverState {
    /// Whether it runs no more and will not again.
    pub fn is_terminal(self) -> bool {
        use DriverState::*;
        matches!(self, Finished | Killed | Failed | Error | NotFound)
    }
}

impl Gateway {
    /// At this address, e.g. `http://master:6066`.
    pub fn new(address: &str) -> Gateway {
        Gateway { base: format!("{}/v1/submissions", address.trim_end_matches('/')) }
    }

    /// Submits a driver; gives its id.
    ///
    /// # Errors
    /// [`Error::Refused`] when the gateway will not take it; after any other it is unknown whether it did.
    pub async fn create(&self, create: &Create) -> Result<String, Error> {
        let url = format!("{}/create", self.base);
        let message = CreateMessage { action: "CreateSubmissionRequest", create };
        let body = serde_json::to_string(&message)
            .map_err(|error| Error::Unreadable { url: url.clone(), why: error.to_string() })?;
        let answer: Answer = http::post(&url, body).await?;
        match (answer.success, answer.submission_id) {
            (Some(true), Some(id)) => Ok(id),
            _ => Err(refused(url, answer.message)),
        }
    }

    /// Asks about a driver.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn status(&self, id: &str) -> Result<Status, Error> {
        let url = format!("{}/status/{id}", self.base);
        let answer: Answer = http::get(&url).await?;
        let state = match answer.driver_state {
            Some(state) => state,
            // A master that does not know it says only that it failed to find it.
            None if answer.success == Some(false) => DriverState::NotFound,
            None => return Err(refused(url, answer.message)),
        };
        let worker = answer.worker_host_port.unwrap_or_default();
        Ok(Status { state, worker, message: answer.message.unwrap_or_default() })
    }

    /// Orders a driver to end. Whether it has, only [`Gateway::status`] tells.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn kill(&self, id: &str) -> Result<(), Error> {
        // It says no when there is nothing to kill, which is as good.
        http::post::<Answer>(&format!("{}/kill/{id}", self.base), String::new()).await.map(drop)
    }
}

fn refused(url: String, message: Option<String>) -> Error {
    Error::Refused { url, status: 200, message: message.unwrap_or_default() }
}
