//! What the test itself asks replicas, past all faults of the clients' network.

use std::time::Duration;

use meson_proto::v1::cluster_service_client::ClusterServiceClient;
use meson_proto::v1::{GetClusterStatusRequest, GetClusterStatusResponse, ReplicaRole};
use tonic::transport::{Channel, Endpoint};

use super::Machine;

/// Longest wait for an answer about the state of a replica.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// Asks replicas how they are.
pub struct Look {
    endpoints: Vec<String>,
}

impl Look {
    pub(super) fn new(endpoints: Vec<String>) -> Self {
        Look { endpoints }
    }

    /// A new connection to a replica; none when it is not an address.
    pub fn channel(&self, replica: usize) -> Option<Channel> {
        let endpoint = Endpoint::from_shared(self.endpoints.get(replica)?.clone()).ok()?;
        Some(endpoint.connect_timeout(LOOK_TIMEOUT).connect_lazy())
    }

    /// Status as one replica sees it; none when it does not answer.
    pub async fn status(&self, replica: usize) -> Option<GetClusterStatusResponse> {
        let mut cluster = ClusterServiceClient::new(self.channel(replica)?);
        let answer = cluster.get_cluster_status(GetClusterStatusRequest {});
        Some(tokio::time::timeout(LOOK_TIMEOUT, answer).await.ok()?.ok()?.into_inner())
    }

    /// All that answer.
    pub async fn statuses(&self) -> Vec<Option<GetClusterStatusResponse>> {
        futures::future::join_all((0..self.endpoints.len()).map(|replica| self.status(replica))).await
    }

    /// The replica that leads in the highest term, if one says so: a paused or cut-off one may still believe it does.
    pub async fn leader(&self) -> Option<Machine> {
        let statuses = self.statuses().await.into_iter().zip(0_u8..);
        let leading = statuses.filter_map(|(status, place)| {
            let status = status.filter(|status| status.role() == ReplicaRole::Leader)?;
            Some((status.term, place))
        });
        leading.max().map(|(_, place)| Machine::Replica(place))
    }
}
