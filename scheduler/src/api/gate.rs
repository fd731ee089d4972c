//! Who answers a request: this replica if it leads, else the leader, to whom it is passed on once. While there is no
//! leader a request waits a little, so that a failover looks like a slow answer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use meson_raft::RoleKind;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::errors;
use crate::shared::Shared;

/// Marks a request that a replica passed on; it is not passed on again.
const FORWARDED: &str = "meson-forwarded";

/// How long a request waits for a leader.
const LEADER_WAIT: Duration = Duration::from_secs(3);

/// Longest time to reach the leader.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Interval and patience of keepalive on channels to the leader.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Where a request goes.
pub enum Route {
    /// This replica leads.
    Here,
    /// The leader, by this channel.
    Leader(Channel),
}

/// Decides on routes and keeps channels to other replicas.
pub struct Gate {
    shared: Shared,
    channels: Mutex<HashMap<String, Channel>>,
}

impl Gate {
    /// For this replica.
    pub fn new(shared: Shared) -> Self {
        Gate { shared, channels: Mutex::default() }
    }

    /// The route of a request with this metadata.
    ///
    /// # Errors
    /// UNAVAILABLE while there is no leader, or when a request that was passed on finds none here.
    pub async fn route(&self, metadata: &MetadataMap) -> Result<Route, Status> {
        let forwarded = metadata.contains_key(FORWARDED);
        match tokio::time::timeout(LEADER_WAIT, self.find(forwarded)).await {
            Ok(route) => route,
            Err(_) => Err(errors::unavailable("there is no leader right now; try again")),
        }
    }

    async fn find(&self, forwarded: bool) -> Result<Route, Status> {
        let mut role = self.shared.replica.role();
        let mut leading = self.shared.leading.subscribe();
        loop {
            let now = role.borrow_and_update().clone();
            let ready = leading.borrow_and_update().is_some();
            match (now.kind, now.leader) {
                (RoleKind::Leader, _) if ready => return Ok(Route::Here),
                (RoleKind::Leader, _) => {}
                (_, Some(leader)) if !forwarded => {
                    return self.channel(&leader.api_address).map(Route::Leader);
                }
                // The sender believed this replica to lead: it may be about to.
                (_, _) => {}
            }
            tokio::select! {
                changed = role.changed() => changed.map_err(|_| errors::unavailable("shutting down"))?,
                _ = leading.changed() => {}
            }
        }
    }

    /// A channel to another replica; connects when it is first used.
    pub fn channel(&self, address: &str) -> Result<Channel, Status> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(address.to_owned())
            .map_err(|_| errors::unavailable(&format!("the leader's address `{address}` is not valid")))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true);
        let channel = endpoint.connect_lazy();
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    /// Waits until everything committed before now is applied here, which leads.
    ///
    /// # Errors
    /// UNAVAILABLE when leadership cannot be confirmed.
    pub async fn barrier(&self) -> Result<(), Status> {
        self.shared.replica.read_barrier().await.map_err(|error| errors::read(&error))
    }
}

/// The request as it is passed on: its metadata, deadline included, and the mark.
pub fn forwarded<T>(request: Request<T>) -> Request<T> {
    let (mut metadata, extensions, message) = request.into_parts();
    metadata.insert(FORWARDED, MetadataValue::from_static("1"));
    Request::from_parts(metadata, extensions, message)
}

/// The status for a client whose request was passed on: a connection to the leader that broke is no fault of the
/// request, and another replica, or the same a little later, will do better.
pub fn broken(status: Status) -> Status {
    match std::error::Error::source(&status) {
        Some(_) => errors::unavailable(&format!("the leader went away: {}", status.message())),
        None => status,
    }
}

/// Passes a request on if another replica leads.
macro_rules! pass_on {
    ($gate:expr, $client:ty, $method:ident, $request:ident) => {
        if let $crate::api::gate::Route::Leader(channel) = $gate.route($request.metadata()).await? {
            let answer = <$client>::new(channel).$method($crate::api::gate::forwarded($request)).await;
            return answer.map_err($crate::api::gate::broken);
        }
    };
}
pub(super) use pass_on;
