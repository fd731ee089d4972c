//! One scheduler call: who may make it, and which rule handles it.

use std::collections::BTreeSet;

use meson_mesos::v1::{
    Filters, OfferId,
    scheduler::{Call, call},
};

use super::{Cluster, Now};
use crate::{
    link::{self, FromMaster},
    validate,
};

/// Why a call is refused at once; the shell turns it into a status code. The texts are Mesos's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400.
    #[error("{0}")]
    BadRequest(String),
    /// 401.
    #[error("{0}")]
    Unauthorized(String),
    /// 403.
    #[error("{0}")]
    Forbidden(String),
    /// 404.
    #[error("{0}")]
    NotFound(String),
    /// 406.
    #[error("{0}")]
    NotAcceptable(String),
    /// 415.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// 501.
    #[error("{0}")]
    NotImplemented(String),
    /// 503.
    #[error("{0}")]
    Unavailable(String),
}

/// What a call is answered with when it is not refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// 202: it will be processed, or silently dropped.
    Accepted,
    /// 200.
    Done,
}

impl Cluster {
    /// A call other than `SUBSCRIBE`, already checked by `validate::call`.
    ///
    /// # Errors
    /// When the framework, its stream or its principal is not what the call says.
    pub fn call(
        &mut self,
        now: Now,
        principal: Option<&str>,
        stream: Option<&str>,
        call: Call,
    ) -> Result<Answer, Refusal> {
        self.now = now;
        let id = call.framework_id.as_ref().map_or("", |id| id.value.as_str()).to_owned();
        self.authorise(&id, principal, stream)?;
        let kind = call.r#type();
        if self.swallows_call(&kind) {
            return Ok(Answer::Accepted);
        }
        if kind == call::Type::UpdateFramework {
            return self.update_framework_call(&id, call.update_framework);
        }
        self.dispatch(&id, kind, call)?;
        Ok(Answer::Accepted)
    }

    /// The checks in Mesos's order.
    fn authorise(&self, id: &str, principal: Option<&str>, stream: Option<&str>) -> Result<(), Refusal> {
        let known = self.frameworks.get(id).filter(|framework| !framework.recovered);
        let Some(framework) = known else {
            return Err(Refusal::BadRequest("Framework cannot be found".to_owned()));
        };
        let expected = framework.info.principal.as_deref();
        if let Some(principal) = principal.filter(|principal| Some(*principal) != expected) {
            let expected = expected.unwrap_or("");
            return Err(Refusal::BadRequest(format!(
                "Authenticated principal '{principal}' does not match principal '{expected}' set in `FrameworkInfo`"
            )));
        }
        let Some(own) = framework.stream.as_deref() else {
            return Err(Refusal::Forbidden("Framework is not subscribed".to_owned()));
        };
        let Some(stream) = stream else {
            return Err(Refusal::BadRequest(
                "All non-subscribe calls should include the 'Mesos-Stream-Id' header".to_owned(),
            ));
        };
        if stream != own {
            return Err(Refusal::BadRequest(format!(
                "The stream ID '{stream}' included in this request didn't match the stream ID currently associated \
                 with framework ID {id}"
            )));
        }
        Ok(())
    }

    fn dispatch(&mut self, id: &str, kind: call::Type, call: Call) -> Result<(), Refusal> {
        match kind {
            call::Type::Teardown => self.remove_framework(id),
            call::Type::Accept => self.accept(id, call.accept.unwrap_or_default()),
            call::Type::Decline => {
                let decline = call.decline.unwrap_or_default();
                self.decline(id, &decline.offer_ids, decline.filters.as_ref());
            }
            call::Type::AcceptInverseOffers => {
                let accept = call.accept_inverse_offers.unwrap_or_default();
                self.answer_inverse(id, &accept.inverse_offer_ids, accept.filters.as_ref(), true);
            }
            call::Type::DeclineInverseOffers => {
                let decline = call.decline_inverse_offers.unwrap_or_default();
                self.answer_inverse(id, &decline.inverse_offer_ids, decline.filters.as_ref(), false);
            }
            call::Type::Revive => self.revive(id, &call.revive.unwrap_or_default().roles),
            call::Type::Suppress => self.suppress(id, &call.suppress.unwrap_or_default().roles),
            call::Type::Kill => self.kill(id, call.kill.unwrap_or_default()),
            call::Type::Shutdown => self.shutdown(id, call.shutdown.unwrap_or_default()),
            call::Type::Acknowledge => {
                let ack = call.acknowledge.unwrap_or_default();
                self.acknowledge(id, &ack.agent_id.value, &ack.task_id.value, &ack.uuid);
            }
            call::Type::Reconcile => self.reconcile(id, call.reconcile.unwrap_or_default()),
            call::Type::Message => self.message(id, call.message.unwrap_or_default()),
            // The built-in allocator of Mesos ignores requests, and so does this one.
            call::Type::Request => {}
            call::Type::Subscribe | call::Type::UpdateFramework => {}
            call::Type::Unknown
            | call::Type::AcknowledgeOperationStatus
            | call::Type::ReconcileOperations => {
                return Err(Refusal::NotImplemented(format!(
                    "{} is not part of the stand-in",
                    kind.as_str_name()
                )));
            }
        }
        Ok(())
    }

    fn update_framework_call(
        &mut self,
        id: &str,
        update: Option<call::UpdateFramework>,
    ) -> Result<Answer, Refusal> {
        let update = update.unwrap_or_default();
        let suppressed = update.suppressed_roles.into_iter().collect();
        let done = self.update_framework(id, update.framework_info, suppressed);
        done.map(|()| Answer::Done).map_err(|error| {
            Refusal::BadRequest(format!("'UpdateFramework.framework_info' is not valid: {error}"))
        })
    }

    fn decline(&mut self, id: &str, offers: &[OfferId], filters: Option<&Filters>) {
        for offer in offers {
            // Mesos discards whatever offer is named, even another framework's; no sound scheduler knows one.
            if self.offers.get(&offer.value).is_some_and(|offer| offer.framework == id) {
                self.discard_offer(&offer.value, Some(filters));
            } else {
                tracing::warn!(
                    framework = id,
                    offer = offer.value,
                    "decline ignored: the offer is no longer valid"
                );
            }
        }
    }

    fn revive(&mut self, id: &str, roles: &[String]) {
        let Some(roles) = self.subscribed_roles(id, roles) else { return };
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.suppressed.retain(|role| !roles.contains(role));
            framework.filters.retain(|filter| !roles.contains(&filter.role));
            framework.inverse_filters.clear();
        }
        self.allocate(None);
    }

    fn suppress(&mut self, id: &str, roles: &[String]) {
        let Some(roles) = self.subscribed_roles(id, roles) else { return };
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.suppressed.extend(roles);
        }
    }

    /// The roles of a call, all of the framework's if it names none; nothing if one is wrong, which drops the call.
    fn subscribed_roles(&self, id: &str, roles: &[String]) -> Option<BTreeSet<String>> {
        let own = self.frameworks.get(id)?.roles();
        if roles.is_empty() {
            return Some(own.into_iter().collect());
        }
        let wrong = roles.iter().find(|role| validate::role(role).is_err() || !own.contains(role));
        if let Some(role) = wrong {
            tracing::warn!(framework = id, role, "call dropped: not one of the framework's subscribed roles");
            return None;
        }
        Some(roles.iter().cloned().collect())
    }

    fn shutdown(&mut self, id: &str, shutdown: call::Shutdown) {
        let message =
            link::ShutdownExecutor { framework_id: id.to_owned(), executor_id: shutdown.executor_id.value };
        self.tell(&shutdown.agent_id.value, FromMaster::Shutdown(message).into());
    }

    fn message(&mut self, id: &str, message: call::Message) {
        let forwarded = link::FrameworkMessage {
            framework_id: id.to_owned(),
            executor_id: message.executor_id.value,
            data: message.data.to_vec(),
        };
        self.tell(&message.agent_id.value, FromMaster::Message(forwarded).into());
    }
}
