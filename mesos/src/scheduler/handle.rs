//! The sending end of a session: calls go out under the subscription that is open at the moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::Url;
use tokio::sync::{mpsc, watch};

use super::session::{Session, Signal};
use super::{Config, Signals, call};
use crate::detect::Detector;
use crate::http::Transport;
use crate::v1::scheduler::call::Type;
use crate::v1::scheduler::{Call, OfferConstraints};
use crate::v1::{FrameworkId, FrameworkInfo};
use crate::{Error, signals};

/// Sends calls. Cheap to clone; the session lives as long as its [`Signals`].
#[derive(Debug, Clone)]
pub struct Scheduler {
    pub(super) shared: Arc<Shared>,
}

/// A subscription that is open.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    /// Counts up, from 1.
    pub number: u64,
    pub url: Url,
    pub stream_id: String,
    pub framework_id: FrameworkId,
}

/// What SUBSCRIBE will say next time.
#[derive(Debug, Clone)]
pub(super) struct Introduction {
    pub framework: FrameworkInfo,
    pub suppressed_roles: Vec<String>,
    pub offer_constraints: Option<OfferConstraints>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub transport: Transport,
    pub introduction: Mutex<Introduction>,
    pub subscription: watch::Sender<Option<Subscription>>,
    /// Subscriptions up to this number are to be given up; all of them once the framework was torn down.
    pub unwanted: watch::Sender<u64>,
}

/// In [`Shared::unwanted`]: no subscription is wanted any more.
pub(super) const NONE_WANTED: u64 = u64::MAX;

impl Scheduler {
    /// Begins a session, in a task on the current runtime. The framework's id, if it has one, is in `framework`; roles in
    /// `suppressed_roles` get no offers until they are revived.
    pub fn start(
        config: Config,
        framework: FrameworkInfo,
        suppressed_roles: Vec<String>,
        offer_constraints: Option<OfferConstraints>,
    ) -> Result<(Self, Signals), Error> {
        let transport = Transport::new(config.http.clone())?;
        let detector = Detector::start(&config.masters, config.https)?;
        let introduction = Introduction { framework, suppressed_roles, offer_constraints };
        let shared = Arc::new(Shared {
            transport,
            introduction: Mutex::new(introduction),
            subscription: watch::Sender::new(None),
            unwanted: watch::Sender::new(0),
        });
        let (sender, receiver) = mpsc::channel::<Signal>(config.signals_queued_max.max(1));
        let session = Session::new(config, detector, shared.clone(), sender);
        let task = tokio::spawn(session.run());
        Ok((Self { shared }, signals::Signals::new(receiver, task)))
    }

    /// Sends a call. Calls that are awaited one after the other arrive in that order. `Ok` means that the master took it,
    /// not that it had an effect: that is told by events.
    pub async fn call(&self, mut call: Call) -> Result<(), Error> {
        let name = call::name(&call);
        if call.r#type == Some(Type::Subscribe as i32) {
            return Err(Error::Settings("the session itself sends SUBSCRIBE".to_owned()));
        }
        let subscription = self.shared.subscription.borrow().clone().ok_or(Error::NotSubscribed(name))?;
        call.framework_id = Some(subscription.framework_id.clone());
        if let Some(update) = &mut call.update_framework {
            update.framework_info.id = Some(subscription.framework_id.clone());
        }
        let Subscription { number, url, stream_id, .. } = subscription;
        match self.shared.transport.call(name, &url, Some(&stream_id), &call).await {
            Ok(_) => {
                self.shared.remember(&call);
                Ok(())
            }
            Err(error) => {
                if is_forgotten(&error) {
                    self.shared.give_up(number);
                }
                Err(error)
            }
        }
    }

    /// Gives up the current subscription and opens a new one.
    pub fn resubscribe(&self) {
        let number = self.shared.subscription.borrow().as_ref().map(|subscription| subscription.number);
        if let Some(number) = number {
            self.shared.give_up(number);
        }
    }

    /// The framework's id, once it has one.
    pub fn framework_id(&self) -> Option<FrameworkId> {
        self.shared.introduction().framework.id.clone()
    }

    /// Whether a subscription is open at the moment.
    pub fn is_subscribed(&self) -> bool {
        self.shared.subscription.borrow().is_some()
    }

    /// Changes what the next SUBSCRIBE says. The current subscription stays as it is: for that, there is
    /// UPDATE_FRAMEWORK. An id that the framework already has is kept.
    pub fn introduce(&self, framework: FrameworkInfo, suppressed_roles: Vec<String>) {
        let mut introduction = self.shared.introduction();
        let id = introduction.framework.id.take().or(framework.id.clone());
        introduction.framework = FrameworkInfo { id, ..framework };
        introduction.suppressed_roles = suppressed_roles;
    }
}

impl Shared {
    pub fn introduction(&self) -> MutexGuard<'_, Introduction> {
        self.introduction.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_up(&self, number: u64) {
        self.unwanted.send_if_modified(|unwanted| {
            let more = number > *unwanted;
            *unwanted = number.max(*unwanted);
            more
        });
    }

    /// Keeps what a call changed for the next SUBSCRIBE: a role that was suppressed stays so at the next master.
    fn remember(&self, call: &Call) {
        let kind = Type::try_from(call.r#type.unwrap_or_default()).unwrap_or(Type::Unknown);
        let mut introduction = self.introduction();
        match kind {
            Type::Suppress => {
                let roles = call.suppress.as_ref().map(|suppress| suppress.roles.clone()).unwrap_or_default();
                for role in introduction.these_or_all(roles) {
                    if !introduction.suppressed_roles.contains(&role) {
                        introduction.suppressed_roles.push(role);
                    }
                }
            }
            Type::Revive => {
                let roles = call.revive.as_ref().map(|revive| revive.roles.clone()).unwrap_or_default();
                let revived = introduction.these_or_all(roles);
                introduction.suppressed_roles.retain(|role| !revived.contains(role));
            }
            Type::UpdateFramework => {
                if let Some(update) = call.update_framework.clone() {
                    introduction.framework = update.framework_info;
                    introduction.suppressed_roles = update.suppressed_roles;
                    introduction.offer_constraints = update.offer_constraints;
                }
            }
            Type::Teardown => self.give_up(NONE_WANTED),
            _ => {}
        }
    }
}

impl Introduction {
    /// To Mesos, no roles are all roles.
    fn these_or_all(&self, roles: Vec<String>) -> Vec<String> {
        if !roles.is_empty() {
            return roles;
        }
        if !self.framework.roles.is_empty() {
            return self.framework.roles.clone();
        }
        self.framework.role.iter().cloned().collect()
    }
}

/// The master no longer has our subscription, though its connection may still look open. That another scheduler took
/// over has another answer, about the stream id, and is not to be fought over.
fn is_forgotten(error: &Error) -> bool {
    let (status, body) = match error {
        // Another master leads.
        Error::Redirected { .. } => return true,
        Error::Answer { status, body, .. } => (status, body),
        _ => return false,
    };
    let unknown = *status == 400 && body.contains("Framework cannot be found");
    unknown || (*status == 403 && (body.contains("not subscribed") || body.contains("not connected")))
}
