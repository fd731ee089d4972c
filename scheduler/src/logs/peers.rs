//! The other replicas, as those who may have records that this one lacks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;
use meson_proto::v1::log_service_client::LogServiceClient;
use meson_proto::v1::{ReadLogsRequest, ReadLogsResponse};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tracing::debug;

use super::service::{AttemptLookup, LOCAL_ONLY, Lookup};
use super::settings::ServiceSettings;
use super::{AttemptName, Error};

/// The other replicas.
#[derive(Debug)]
pub(super) struct Peers<L> {
    lookup: Arc<L>,
    settings: Arc<ServiceSettings>,
    channels: Mutex<HashMap<String, Channel>>,
}

/// A peer that has records.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    /// The number of its last record.
    pub last_sequence: u64,
    address: String,
}

impl<L: AttemptLookup> Peers<L> {
    pub fn new(lookup: Arc<L>, settings: Arc<ServiceSettings>) -> Self {
        Peers { lookup, settings, channels: Mutex::default() }
    }

    /// The attempt that is asked for.
    pub async fn look_up(&self, request: &ReadLogsRequest) -> Result<Lookup, Status> {
        let found = self.lookup.attempt_id(&request.run_id, &request.step, request.attempt);
        timeout(self.settings.peer_timeout, found)
            .await
            .unwrap_or_else(|_| Err(Status::unavailable("the attempt could not be looked up in time")))
    }

    /// The peer that has most of an attempt's log, where one has more than what comes before `next_sequence`.
    pub async fn holder_of_most(&self, attempt: &AttemptName, next_sequence: u64) -> Option<Holder> {
        let addresses = self.lookup.peers();
        let asked = addresses.iter().map(|address| self.last_sequence(address, attempt));
        let found = join_all(asked).await.into_iter().zip(addresses).filter_map(|(last, address)| {
            let last = last.inspect_err(|error| debug!(%address, %error, "a peer tells nothing of its logs"));
            Some(Holder { last_sequence: last.ok()??, address })
        });
        // Of those that have equally much, the first.
        let most =
            found.reduce(|most, next| if next.last_sequence > most.last_sequence { next } else { most });
        most.filter(|holder| holder.last_sequence >= next_sequence)
    }

    /// Reads from a peer, and only what it has itself.
    pub async fn read(
        &self,
        holder: &Holder,
        attempt: &AttemptName,
        request: ReadLogsRequest,
    ) -> Result<PeerLog, Status> {
        let messages = self.ask(&holder.address, attempt, request).await?;
        Ok(PeerLog { messages, settings: self.settings.clone() })
    }

    async fn last_sequence(&self, address: &str, attempt: &AttemptName) -> Result<Option<u64>, Status> {
        let request = ReadLogsRequest { tail: 1, ..ReadLogsRequest::default() };
        let asked = async {
            let mut messages = self.ask(address, attempt, request).await?;
            let mut last = None;
            while let Some(message) = messages.message().await? {
                last = last.max(message.records.iter().map(|record| record.sequence).max());
            }
            Ok(last)
        };
        timeout(self.settings.peer_timeout, asked).await.unwrap_or(Err(Error::Late.into()))
    }

    async fn ask(
        &self,
        address: &str,
        attempt: &AttemptName,
        request: ReadLogsRequest,
    ) -> Result<Streaming<ReadLogsResponse>, Status> {
        let mut request = Request::new(request);
        let value = attempt.as_str().parse().map_err(|_| Status::internal("an attempt's id is ASCII"))?;
        request.metadata_mut().insert(LOCAL_ONLY, value);
        self.lookup.sign(request.metadata_mut());
        let bytes = self.settings.message_bytes_max;
        let mut client = LogServiceClient::new(self.channel(address)?).max_decoding_message_size(bytes);
        let answer = timeout(self.settings.peer_timeout, client.read_logs(request)).await;
        Ok(answer.unwrap_or(Err(Error::Late.into()))?.into_inner())
    }

    fn channel(&self, address: &str) -> Result<Channel, Status> {
        // Every change of the map is a single call, so it is whole even after a panic.
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let channel = self.lookup.connect(address)?;
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}

/// What a peer sends of its log.
pub(super) struct PeerLog {
    messages: Streaming<ReadLogsResponse>,
    settings: Arc<ServiceSettings>,
}

impl PeerLog {
    /// The next message; none at the end.
    pub async fn next(&mut self) -> Result<Option<ReadLogsResponse>, Status> {
        let next = timeout(self.settings.peer_idle_timeout, self.messages.message()).await;
        next.unwrap_or(Err(Error::Late.into()))
    }
}
