//! The session with the agent: subscribe, read events, and with checkpointing wait for an agent that is away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::handle::Shared;
use super::{Environment, Event, Subscribed};
use crate::Error;
use crate::backoff::Backoff;
use crate::error::Remedy;
use crate::http::{Records, Settings};
use crate::v1;
use crate::v1::executor::Call;
use crate::v1::executor::call::Type;

/// How long the first subscription is tried. An agent gives up on an executor after a minute, by default.
pub const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the executor says that it is there; agents do the same.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30 * 60);
/// Signals that wait for the user; further ones stay on the network.
pub const SIGNALS_QUEUED_MAX: usize = 256;
/// The first wait before a new subscription.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Agents do not say how often they send heartbeats; a connection that is dead shows by TCP keepalive.
const SILENCE_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Settings of a session.
#[derive(Debug, Clone)]
pub struct Config {
    /// Connections.
    pub http: Settings,
    /// How long the first subscription is tried, with or without checkpointing.
    pub registration_timeout: Duration,
    /// How often the executor says that it is there.
    pub heartbeat_interval: Duration,
    /// A subscription without any event for so long is taken for dead, if set.
    pub silence_max: Option<Duration>,
    /// Signals that wait for the user; further ones stay on the network.
    pub signals_queued_max: usize,
}

impl Config {
    /// What the environment says, and defaults.
    pub fn of(environment: &Environment) -> Result<Self, Error> {
        Ok(Self {
            http: environment.settings()?,
            registration_timeout: REGISTRATION_TIMEOUT,
            heartbeat_interval: HEARTBEAT_INTERVAL,
            silence_max: None,
            signals_queued_max: SIGNALS_QUEUED_MAX,
        })
    }
}

/// What happens in a session.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "signals are moved once, through one queue")]
pub enum Signal {
    /// The agent took SUBSCRIBE; its first event is awaited.
    Connected,
    /// The subscription is open.
    Subscribed(Subscribed),
    /// Any other event, except heartbeats. ACKNOWLEDGED has been taken note of already.
    Event(Event),
    /// The subscription, or an attempt at one, is over. Another attempt comes by itself.
    Disconnected {
        /// Why.
        error: Error,
        /// When the next attempt comes.
        retry_in: Duration,
        /// How long the agent may be away from now on.
        recovery_left: Duration,
    },
    /// The last signal. The executor is to end its tasks and itself.
    Ended(Error),
}

/// Runs in a task of its own.
pub(super) struct Session {
    environment: Environment,
    config: Config,
    shared: Arc<Shared>,
    signals: mpsc::Sender<Signal>,
    subscriptions: u64,
}

impl Session {
    pub fn new(
        environment: Environment,
        config: Config,
        shared: Arc<Shared>,
        signals: mpsc::Sender<Signal>,
    ) -> Self {
        Self { environment, config, shared, signals, subscriptions: 0 }
    }

    pub async fn run(mut self) {
        let longest = self.environment.subscription_backoff_max;
        let mut backoff = Backoff::new(BACKOFF_FIRST, longest);
        let mut patience = self.patience();
        loop {
            let before = self.subscriptions;
            let error = self.subscribe_and_read(patience).await;
            self.shared.subscribed.send_replace(0);
            if self.subscriptions > before {
                backoff.reset();
                patience = self.patience();
            }
            if let Some(end) = self.end(&error, patience) {
                self.tell(Signal::Ended(end)).await;
                return;
            }
            let recovery_left = patience.saturating_duration_since(Instant::now());
            let retry_in = backoff.next_wait().min(recovery_left);
            tracing::debug!(%error, ?retry_in, ?recovery_left, "the agent is away");
            self.tell(Signal::Disconnected { error, retry_in, recovery_left }).await;
            tokio::time::sleep(retry_in).await;
        }
    }

    /// Until when attempts are made, if the agent is away from now on.
    fn patience(&self) -> Instant {
        let time = match self.subscriptions {
            0 => self.config.registration_timeout,
            _ => self.environment.recovery_timeout,
        };
        Instant::now() + time
    }

    /// Why no further attempt is to be made, if so.
    fn end(&self, error: &Error, patience: Instant) -> Option<Error> {
        let gone =
            |reason: &str| Error::AgentGone { reason: reason.to_owned(), last: Box::new(error.clone()) };
        if error.remedy() == Remedy::GiveUp {
            return Some(error.clone());
        }
        if self.subscriptions > 0 && !self.environment.checkpoint {
            return Some(gone("the framework has no checkpointing, so an executor ends with its agent"));
        }
        if Instant::now() >= patience {
            return Some(match self.subscriptions {
                0 => gone("no subscription within the registration timeout"),
                _ => gone("no subscription within the recovery timeout"),
            });
        }
        None
    }

    /// One subscription from its beginning to its end, which is always an error.
    async fn subscribe_and_read(&mut self, patience: Instant) -> Error {
        let began = Instant::now();
        // An agent that takes the call and then says nothing must not hold us beyond our patience.
        let (mut records, first) = match timeout_at(patience, self.open()).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return error,
            Err(_) => {
                let endpoint = self.shared.url.to_string();
                return Error::Deadline { call: "SUBSCRIBE", endpoint, after: began.elapsed() };
            }
        };
        match first {
            Event::Subscribed(subscribed) => {
                self.subscriptions += 1;
                self.shared.subscribed.send_replace(self.subscriptions);
                self.tell(Signal::Subscribed(subscribed)).await;
            }
            // An agent that cleans up sends SHUTDOWN to whoever comes back.
            Event::Shutdown => self.tell(Signal::Event(Event::Shutdown)).await,
            Event::Error(message) => return self.said(false, message),
            other => {
                let what = format!("the first event is not SUBSCRIBED but {other:?}");
                return Error::Protocol { endpoint: self.shared.url.to_string(), what };
            }
        }
        self.read(&mut records).await
    }

    /// Sends SUBSCRIBE and waits for the first event.
    async fn open(&self) -> Result<(Records, Event), Error> {
        let mut subscribe = self.shared.call(Type::Subscribe);
        subscribe.subscribe = Some(self.shared.unacknowledged.borrow().subscribe());
        let mut records = self.shared.transport.subscribe(&self.shared.url, &subscribe).await?.records;
        self.tell(Signal::Connected).await;
        let first = self.next(&mut records, self.config.http.subscribe_timeout).await?;
        Ok((records, first))
    }

    async fn read(&mut self, records: &mut Records) -> Error {
        let number = self.subscriptions;
        let silence_max = self.config.silence_max.unwrap_or(SILENCE_MAX);
        let mut unwanted = self.shared.unwanted.subscribe();
        let first = Instant::now() + self.config.heartbeat_interval;
        let mut heartbeats = tokio::time::interval_at(first, self.config.heartbeat_interval);
        loop {
            let event = tokio::select! {
                event = self.next(records, silence_max) => event,
                _ = unwanted.wait_for(|unwanted| *unwanted >= number && number > 0) => {
                    return Error::Ended { endpoint: self.shared.url.to_string() };
                }
                _ = heartbeats.tick() => {
                    self.heartbeat();
                    continue;
                }
            };
            match event {
                Err(error) => return error,
                Ok(Event::Heartbeat | Event::Unknown(_)) => {}
                Ok(Event::Error(message)) => {
                    self.tell(Signal::Event(Event::Error(message.clone()))).await;
                    return self.said(true, message);
                }
                Ok(event) => {
                    self.note(&event);
                    self.tell(Signal::Event(event)).await;
                }
            }
        }
    }

    /// Keeps what a later SUBSCRIBE has to tell.
    fn note(&self, event: &Event) {
        self.shared.unacknowledged.send_if_modified(|unacknowledged| {
            match event {
                Event::Launch(task) => unacknowledged.launched(task.clone()),
                Event::LaunchGroup(group) => {
                    group.tasks.iter().for_each(|task| unacknowledged.launched(task.clone()));
                }
                Event::Acknowledged { task_id, uuid } => unacknowledged.acknowledged(task_id, uuid),
                _ => return false,
            }
            true
        });
    }

    /// Says that the executor is there, beside the reading of events. Older agents do not know the call: no matter.
    fn heartbeat(&self) {
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let call: Call = shared.call(Type::Heartbeat);
            if let Err(error) = shared.transport.call("HEARTBEAT", &shared.url, None, &call).await {
                tracing::debug!(%error, "no heartbeat to the agent");
            }
        });
    }

    async fn next(&self, records: &mut Records, within: Duration) -> Result<Event, Error> {
        let event: v1::executor::Event = records.next(within).await?;
        Event::try_from(event)
            .map_err(|source| Error::Message { endpoint: self.shared.url.to_string(), source })
    }

    fn said(&self, subscribed: bool, message: String) -> Error {
        Error::Said { endpoint: self.shared.url.to_string(), subscribed, message }
    }

    /// Waits for room in the queue. Nobody to tell means that this task is being ended.
    async fn tell(&self, signal: Signal) {
        let _ = self.signals.send(signal).await;
    }
}
