//! The session with the leading master: subscribe, read events, notice that it is over, and begin again.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use tokio::sync::mpsc;

use super::config::{HEARTBEAT_INTERVAL, REDIRECTS_MAX};
use super::handle::{NONE_WANTED, Shared, Subscription};
use super::{Config, Event, Subscribed, call};
use crate::backoff::Backoff;
use crate::detect::Detector;
use crate::error::Remedy;
use crate::http::{Opened, Records};
use crate::v1::FrameworkId;
use crate::{Error, encoding, headers, v1};

/// Heartbeat intervals outside of this are not believed.
const HEARTBEAT_SHORTEST: Duration = Duration::from_millis(10);
const HEARTBEAT_LONGEST: Duration = Duration::from_secs(60 * 60);

/// What happens in a session.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "signals are moved once, through one queue")]
pub enum Signal {
    /// A master took SUBSCRIBE; its first event is awaited.
    Connected {
        /// Which master.
        master: String,
    },
    /// The subscription is open. Offers of earlier ones are void; now reconcile, then use offers.
    Subscribed(Subscribed),
    /// Any other event. Heartbeats and events of a newer protocol are left out.
    Event(Event),
    /// The subscription, or an attempt at one, is over. Another attempt comes by itself.
    Disconnected {
        /// Why.
        error: Error,
        /// When the next attempt comes.
        retry_in: Duration,
    },
    /// The last signal: no attempt will help, or the framework was torn down.
    Ended(Error),
}

/// Runs in a task of its own.
pub(super) struct Session {
    config: Config,
    detector: Detector,
    shared: Arc<Shared>,
    signals: mpsc::Sender<Signal>,
    subscriptions: u64,
    /// Who was asked last, and is not worth asking again before the wait is over.
    tried: Option<Url>,
}

impl Session {
    pub fn new(
        config: Config,
        detector: Detector,
        shared: Arc<Shared>,
        signals: mpsc::Sender<Signal>,
    ) -> Self {
        Self { config, detector, shared, signals, subscriptions: 0, tried: None }
    }

    pub async fn run(mut self) {
        let mut backoff = Backoff::new(self.config.backoff_first, self.config.backoff_longest);
        loop {
            let error = self.subscribe_and_read(&mut backoff).await;
            self.shared.subscription.send_replace(None);
            if error.remedy() == Remedy::GiveUp {
                self.tell(Signal::Ended(error)).await;
                return;
            }
            let retry_in = backoff.next_wait();
            tracing::debug!(%error, ?retry_in, "the subscription is over");
            self.tell(Signal::Disconnected { error, retry_in }).await;
            if self.wait(retry_in).await {
                backoff.reset();
            }
        }
    }

    /// Waits before the next attempt, but not when another master leads meanwhile, which it says, or when no attempt is
    /// wanted any more.
    async fn wait(&mut self, time: Duration) -> bool {
        let mut unwanted = self.shared.unwanted.subscribe();
        let detector = &mut self.detector;
        let changed = async {
            match &self.tried {
                Some(url) => drop(detector.changed_from(std::slice::from_ref(url)).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(time) => false,
            () = changed => true,
            _ = unwanted.wait_for(|unwanted| *unwanted == NONE_WANTED) => false,
        }
    }

    /// One subscription from its beginning to its end, which is always an error.
    async fn subscribe_and_read(&mut self, backoff: &mut Backoff) -> Error {
        if *self.shared.unwanted.borrow() == NONE_WANTED {
            return Error::Stopped;
        }
        let (url, opened) = match self.open().await {
            Ok(opened) => opened,
            Err(error) => return error,
        };
        self.tell(Signal::Connected { master: url.to_string() }).await;
        let mut records = opened.records;
        let silence_max = match self.begin(&url, opened.stream_id, &mut records).await {
            Ok(silence_max) => silence_max,
            Err(error) => return error,
        };
        self.detector.led(&url);
        backoff.reset();
        self.read(&url, &mut records, silence_max).await
    }

    /// Finds the leader, following redirects.
    async fn open(&mut self) -> Result<(Url, Opened), Error> {
        self.tried = None;
        let mut url = self.detector.leader(self.config.http.subscribe_timeout).await?;
        self.tried = Some(url.clone());
        for _ in 0..=REDIRECTS_MAX {
            let introduction = self.shared.introduction().clone();
            let subscribe = call::subscribe(
                introduction.framework,
                introduction.suppressed_roles,
                introduction.offer_constraints,
            );
            match self.shared.transport.subscribe(&url, &subscribe).await {
                Ok(opened) => return Ok((url, opened)),
                Err(Error::Redirected { leader, .. }) => {
                    url =
                        Url::parse(&leader).map_err(|error| Error::Settings(format!("{leader}: {error}")))?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::NoLeader(format!("{REDIRECTS_MAX} redirects in a row, the last one to {url}")))
    }

    /// Reads the first event, which has to be SUBSCRIBED, and gives the longest silence to bear.
    async fn begin(
        &mut self,
        url: &Url,
        stream_id: Option<String>,
        records: &mut Records,
    ) -> Result<Duration, Error> {
        let subscribed = match next(url, records, self.config.http.subscribe_timeout).await? {
            Event::Subscribed(subscribed) => subscribed,
            Event::Error(message) => {
                return Err(Error::Said { endpoint: url.to_string(), subscribed: false, message });
            }
            other => return Err(broken(url, format!("the first event is not SUBSCRIBED but {other:?}"))),
        };
        let stream_id = stream_id.ok_or_else(|| broken(url, format!("no header {}", headers::STREAM_ID)))?;
        self.keep_framework_id(url, &subscribed.framework_id)?;
        self.subscriptions += 1;
        let framework_id = subscribed.framework_id.clone();
        let subscription =
            Subscription { number: self.subscriptions, url: url.clone(), stream_id, framework_id };
        self.shared.subscription.send_replace(Some(subscription));
        let interval = subscribed.heartbeat_interval.unwrap_or(HEARTBEAT_INTERVAL);
        let interval = interval.clamp(HEARTBEAT_SHORTEST, HEARTBEAT_LONGEST);
        self.tell(Signal::Subscribed(subscribed)).await;
        Ok(interval * self.config.heartbeats_missed_max.max(1))
    }

    /// The first id is kept for all later subscriptions. Another one later would be another framework.
    fn keep_framework_id(&self, url: &Url, id: &FrameworkId) -> Result<(), Error> {
        let mut introduction = self.shared.introduction();
        match &introduction.framework.id {
            Some(own) if own != id => {
                Err(broken(url, format!("framework {id} was subscribed where {own} asked for it")))
            }
            _ => {
                introduction.framework.id = Some(id.clone());
                Ok(())
            }
        }
    }

    /// Reads events until there is a reason to stop.
    async fn read(&mut self, url: &Url, records: &mut Records, silence_max: Duration) -> Error {
        let number = self.subscriptions;
        // A redirect may know of a new leader before our detector does: that it still sees the old one is no change.
        let known: Vec<Url> = std::iter::once(url.clone()).chain(self.tried.clone()).collect();
        let mut unwanted = self.shared.unwanted.subscribe();
        loop {
            let event = tokio::select! {
                event = next(url, records, silence_max) => event,
                error = self.detector.changed_from(&known) => return error,
                _ = unwanted.wait_for(|unwanted| *unwanted >= number) => return self.given_up(url),
            };
            match event {
                Err(error) => return error,
                Ok(Event::Heartbeat | Event::Unknown(_)) => {}
                Ok(Event::Subscribed(_)) => return broken(url, "SUBSCRIBED a second time".to_owned()),
                Ok(Event::Error(message)) => {
                    self.tell(Signal::Event(Event::Error(message.clone()))).await;
                    return Error::Said { endpoint: url.to_string(), subscribed: true, message };
                }
                // While the user is slow, nothing is read, and the time does not count as silence.
                Ok(event) => self.tell(Signal::Event(event)).await,
            }
        }
    }

    fn given_up(&self, url: &Url) -> Error {
        if *self.shared.unwanted.borrow() == NONE_WANTED {
            return Error::Stopped;
        }
        Error::Ended { endpoint: url.to_string() }
    }

    /// Waits for room in the queue. Nobody to tell means that this task is being ended.
    async fn tell(&self, signal: Signal) {
        let _ = self.signals.send(signal).await;
    }
}

async fn next(url: &Url, records: &mut Records, within: Duration) -> Result<Event, Error> {
    let event: v1::scheduler::Event = records.next(within).await?;
    Event::try_from(event)
        .map_err(|source: encoding::Error| Error::Message { endpoint: url.to_string(), source })
}

fn broken(url: &Url, what: String) -> Error {
    Error::Protocol { endpoint: url.to_string(), what }
}
