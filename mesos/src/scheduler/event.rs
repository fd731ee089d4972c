//! Events of a master as an enum, so that a `match` sees all of them. The other way round is there for stand-ins.

use std::time::Duration;

use bytes::Bytes;

use crate::contract::present;
use crate::encoding;
use crate::v1::scheduler as wire;
use crate::v1::scheduler::event::Type;
use crate::v1::{
    AgentId, ExecutorId, FrameworkId, InverseOffer, MasterInfo, Offer, OfferId, OperationStatus, TaskStatus,
};

/// The first event of a subscription.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribed {
    /// The framework's id, given now or before.
    pub framework_id: FrameworkId,
    /// How often the master sends a heartbeat.
    pub heartbeat_interval: Option<Duration>,
    /// Who the master is.
    pub master: Option<MasterInfo>,
}

/// From an executor to its scheduler. Mesos does not promise that it arrives.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Where the executor runs.
    pub agent_id: AgentId,
    /// Which executor.
    pub executor_id: ExecutorId,
    /// What it says.
    pub data: Bytes,
}

/// What a master says.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "events are moved once, through one queue")]
pub enum Event {
    /// The subscription is open.
    Subscribed(Subscribed),
    /// New offers.
    Offers(Vec<Offer>),
    /// Requests to give resources back.
    InverseOffers(Vec<InverseOffer>),
    /// The offer is void.
    Rescind(OfferId),
    /// The inverse offer is void.
    RescindInverseOffer(OfferId),
    /// News of a task. To be acknowledged if it has a uuid.
    Update(TaskStatus),
    /// News of an operation. To be acknowledged if it has a uuid.
    UpdateOperationStatus(OperationStatus),
    /// From an executor.
    Message(Message),
    /// An executor ended, or an agent was removed. Not sent reliably.
    Failure {
        /// The agent.
        agent_id: Option<AgentId>,
        /// The executor; absent if the agent was removed.
        executor_id: Option<ExecutorId>,
        /// The wait status of the executor's process.
        status: Option<i32>,
    },
    /// Something that cannot be repaired; the stream ends.
    Error(String),
    /// The master is there.
    Heartbeat,
    /// An event of a newer protocol, by its number. To be ignored.
    Unknown(i32),
}

impl TryFrom<wire::Event> for Event {
    type Error = encoding::Error;

    fn try_from(event: wire::Event) -> Result<Self, encoding::Error> {
        let number = event.r#type.unwrap_or_default();
        let Ok(kind) = Type::try_from(number) else { return Ok(Self::Unknown(number)) };
        let lacks = |field| move || encoding::Error::lacks::<wire::Event>(field);
        Ok(match kind {
            Type::Unknown => Self::Unknown(number),
            Type::Subscribed => Self::Subscribed(present(event.subscribed, lacks("subscribed"))?.into()),
            Type::Offers => Self::Offers(present(event.offers, lacks("offers"))?.offers),
            Type::InverseOffers => {
                Self::InverseOffers(present(event.inverse_offers, lacks("inverse_offers"))?.inverse_offers)
            }
            Type::Rescind => Self::Rescind(present(event.rescind, lacks("rescind"))?.offer_id),
            Type::RescindInverseOffer => {
                let rescind = present(event.rescind_inverse_offer, lacks("rescind_inverse_offer"))?;
                Self::RescindInverseOffer(rescind.inverse_offer_id)
            }
            Type::Update => Self::Update(present(event.update, lacks("update"))?.status),
            Type::UpdateOperationStatus => {
                let update = present(event.update_operation_status, lacks("update_operation_status"))?;
                Self::UpdateOperationStatus(update.status)
            }
            Type::Message => {
                let wire::event::Message { agent_id, executor_id, data } =
                    present(event.message, lacks("message"))?;
                Self::Message(Message { agent_id, executor_id, data })
            }
            Type::Failure => {
                let wire::event::Failure { agent_id, executor_id, status } =
                    present(event.failure, lacks("failure"))?;
                Self::Failure { agent_id, executor_id, status }
            }
            Type::Error => Self::Error(present(event.error, lacks("error"))?.message),
            Type::Heartbeat => Self::Heartbeat,
        })
    }
}

impl From<Event> for wire::Event {
    fn from(event: Event) -> Self {
        use wire::event as body;
        let mut written = Self::default();
        let kind = match event {
            Event::Subscribed(subscribed) => {
                written.subscribed = Some(subscribed.into());
                Type::Subscribed as i32
            }
            Event::Offers(offers) => {
                written.offers = Some(body::Offers { offers });
                Type::Offers as i32
            }
            Event::InverseOffers(inverse_offers) => {
                written.inverse_offers = Some(body::InverseOffers { inverse_offers });
                Type::InverseOffers as i32
            }
            Event::Rescind(offer_id) => {
                written.rescind = Some(body::Rescind { offer_id });
                Type::Rescind as i32
            }
            Event::RescindInverseOffer(inverse_offer_id) => {
                written.rescind_inverse_offer = Some(body::RescindInverseOffer { inverse_offer_id });
                Type::RescindInverseOffer as i32
            }
            Event::Update(status) => {
                written.update = Some(body::Update { status });
                Type::Update as i32
            }
            Event::UpdateOperationStatus(status) => {
                written.update_operation_status = Some(body::UpdateOperationStatus { status });
                Type::UpdateOperationStatus as i32
            }
            Event::Message(Message { agent_id, executor_id, data }) => {
                written.message = Some(body::Message { agent_id, executor_id, data });
                Type::Message as i32
            }
            Event::Failure { agent_id, executor_id, status } => {
                written.failure = Some(body::Failure { agent_id, executor_id, status });
                Type::Failure as i32
            }
            Event::Error(message) => {
                written.error = Some(body::Error { message });
                Type::Error as i32
            }
            Event::Heartbeat => Type::Heartbeat as i32,
            Event::Unknown(number) => number,
        };
        written.r#type = Some(kind);
        written
    }
}

impl From<wire::event::Subscribed> for Subscribed {
    fn from(subscribed: wire::event::Subscribed) -> Self {
        // A number that is no time, like NaN, is as good as none.
        let interval = subscribed.heartbeat_interval_seconds;
        let heartbeat_interval = interval.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self { framework_id: subscribed.framework_id, heartbeat_interval, master: subscribed.master_info }
    }
}

impl From<Subscribed> for wire::event::Subscribed {
    fn from(subscribed: Subscribed) -> Self {
        Self {
            framework_id: subscribed.framework_id,
            heartbeat_interval_seconds: subscribed.heartbeat_interval.map(|interval| interval.as_secs_f64()),
            master_info: subscribed.master,
        }
    }
}
