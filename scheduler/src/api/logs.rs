//! What the log store has to be told of runs and replicas.

use std::sync::Arc;

use tonic::Status;
use tonic::transport::Channel;

use super::errors;
use super::gate::Gate;
use super::runs::Runs;
use crate::logs::{AttemptLookup, LogStore, Lookup, Service, ServiceSettings, Settings};
use crate::paths;

/// Finds attempts in the state or the archive, as this replica knows them.
pub struct Attempts {
    runs: Runs,
    gate: Arc<Gate>,
}

/// The log service over a store in the data directory. Blocks while the store reads its journal.
///
/// # Errors
/// When the store's directory cannot be used.
pub fn service(runs: Runs, gate: Arc<Gate>) -> anyhow::Result<Service<Attempts>> {
    let store = LogStore::open(Settings::new(runs.shared.config.data_dir.join("logs")))?;
    let settings =
        ServiceSettings { message_bytes_max: runs.shared.config.message_bytes_max, ..Default::default() };
    Ok(Service::new(store, Arc::new(Attempts { runs, gate }), settings))
}

impl AttemptLookup for Attempts {
    async fn attempt_id(&self, run_id: &str, step: &str, attempt: u32) -> Result<Lookup, Status> {
        // A replica that is behind may not know a new run yet: the log is then asked for again a little later.
        let run = self.runs.record(run_id).await?;
        let state = self.runs.shared.published.state();
        let unknown = || errors::not_found("step", step, "see `mesonctl runs nodes`");
        let no = paths::find(&state, &run, step).ok_or_else(unknown)?;
        let newest = run.attempt_id(no).ok_or_else(|| {
            errors::not_found("attempt of the step", step, "it has not been started, or is no step")
        })?;
        if attempt > newest.attempt {
            let hint = format!("there are {} so far", newest.attempt);
            return Err(errors::not_found("attempt", &attempt.to_string(), &hint));
        }
        let live = run.nodes.get(&no).is_some_and(|node| node.status().is_live());
        let ended = !live || (attempt != 0 && attempt < newest.attempt);
        let number = if attempt == 0 { newest.attempt } else { attempt };
        let id = meson_engine::ids::AttemptId { attempt: number, ..newest };
        Ok(Lookup { attempt_id: id.to_string(), ended })
    }

    fn peers(&self) -> Vec<String> {
        let own = self.runs.shared.config.node_id;
        let members = self.runs.shared.replica.members().into_iter();
        members.filter(|member| member.node_id != own).map(|member| member.api_address).collect()
    }

    fn connect(&self, address: &str) -> Result<Channel, Status> {
        self.gate.channel(address)
    }
}
