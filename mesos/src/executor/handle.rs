//! The sending end of an executor's session: updates that are kept until the agent has them, and messages.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::Url;
use tokio::sync::{mpsc, watch};

use super::session::{Config, Session, Signal};
use super::{Environment, Signals, Unacknowledged};
use crate::http::Transport;
use crate::v1::executor::Call;
use crate::v1::executor::call::{self as body, Type};
use crate::v1::task_status::Source;
use crate::v1::{ExecutorId, FrameworkId, TaskStatus};
use crate::{Error, signals};

/// Sends updates and messages. Cheap to clone; the session lives as long as its [`Signals`].
#[derive(Debug, Clone)]
pub struct Executor {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub transport: Transport,
    pub url: Url,
    framework_id: FrameworkId,
    executor_id: ExecutorId,
    pub unacknowledged: watch::Sender<Unacknowledged>,
    /// The number of the subscription that is open, or 0.
    pub subscribed: watch::Sender<u64>,
    /// Subscriptions up to this number are to be given up.
    pub unwanted: watch::Sender<u64>,
    /// Held while an update is on its way, so that updates arrive in the order of [`Executor::update`].
    sending: Arc<tokio::sync::Mutex<()>>,
    /// Remembers times of updates, which only grow.
    last_timestamp: Mutex<f64>,
}

impl Executor {
    /// Begins a session, in a task on the current runtime.
    pub fn start(environment: &Environment, config: Config) -> Result<(Self, Signals), Error> {
        let transport = Transport::new(config.http.clone())?;
        let address = environment.address();
        let url = Url::parse(&address).map_err(|error| Error::Settings(format!("{address}: {error}")))?;
        let shared = Arc::new(Shared {
            transport,
            url,
            framework_id: environment.framework_id.clone(),
            executor_id: environment.executor_id.clone(),
            unacknowledged: watch::Sender::new(Unacknowledged::default()),
            subscribed: watch::Sender::new(0),
            unwanted: watch::Sender::new(0),
            sending: Arc::default(),
            last_timestamp: Mutex::new(0.0),
        });
        let (sender, receiver) = mpsc::channel::<Signal>(config.signals_queued_max.max(1));
        let session = Session::new(environment.clone(), config, shared.clone(), sender);
        let task = tokio::spawn(session.run());
        Ok((Self { shared }, signals::Signals::new(receiver, task)))
    }

    /// Sends news of a task, and keeps them until the agent acknowledges them: an error here is no loss, since the next
    /// SUBSCRIBE tells them again. Uuid, time, source and executor are filled in. Updates go out one after the other;
    /// one that is on its way goes on when this future is dropped.
    pub async fn update(&self, mut status: TaskStatus) -> Result<(), Error> {
        let order = self.shared.sending.clone().lock_owned().await;
        status.uuid = Some(Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes()));
        status.source = Some(Source::Executor as i32);
        status.executor_id = Some(self.shared.executor_id.clone());
        if status.timestamp.is_none() {
            status.timestamp = Some(self.shared.timestamp());
        }
        self.shared.unacknowledged.send_modify(|unacknowledged| unacknowledged.updated(status.clone()));
        let update = body::Update { status };
        let call = Call { update: Some(update), ..self.shared.call(Type::Update) };
        let executor = self.clone();
        let sent = tokio::spawn(async move {
            let _order = order;
            executor.send_update(&call).await
        });
        sent.await.unwrap_or(Err(Error::Stopped))
    }

    async fn send_update(&self, call: &Call) -> Result<(), Error> {
        // Mesos resends nothing on a subscription: an update that failed on it is told at the next one.
        let number = *self.shared.subscribed.borrow();
        let result = self.send("UPDATE", call).await;
        if result.is_err() && number > 0 {
            self.shared.unwanted.send_modify(|unwanted| *unwanted = number.max(*unwanted));
        }
        result
    }

    /// Sends data to the scheduler. Mesos does not promise that it arrives.
    pub async fn message(&self, data: Bytes) -> Result<(), Error> {
        let call = Call { message: Some(body::Message { data }), ..self.shared.call(Type::Message) };
        self.send("MESSAGE", &call).await
    }

    /// Waits until the agent has acknowledged all updates, at most for a time; says whether it did. For the end of an
    /// executor: what is not acknowledged is lost with it.
    pub async fn drained(&self, within: Duration) -> bool {
        let mut unacknowledged = self.shared.unacknowledged.subscribe();
        let all = unacknowledged.wait_for(|unacknowledged| unacknowledged.updates() == 0);
        matches!(tokio::time::timeout(within, all).await, Ok(Ok(_)))
    }

    /// How many updates the agent did not acknowledge yet.
    pub fn unacknowledged_updates(&self) -> usize {
        self.shared.unacknowledged.borrow().updates()
    }

    /// Whether a subscription is open at the moment.
    pub fn is_subscribed(&self) -> bool {
        *self.shared.subscribed.borrow() > 0
    }

    async fn send(&self, name: &'static str, call: &Call) -> Result<(), Error> {
        if !self.is_subscribed() {
            return Err(Error::NotSubscribed(name));
        }
        self.shared.transport.call(name, &self.shared.url, None, call).await.map(drop)
    }
}

impl Shared {
    /// A call without a body.
    pub fn call(&self, kind: Type) -> Call {
        Call {
            executor_id: self.executor_id.clone(),
            framework_id: self.framework_id.clone(),
            r#type: Some(kind as i32),
            ..Call::default()
        }
    }

    /// Seconds since the epoch, never less than before: a clock that was set back must not reorder updates.
    fn timestamp(&self) -> f64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut last: MutexGuard<'_, f64> =
            self.last_timestamp.lock().unwrap_or_else(PoisonError::into_inner);
        *last = last.max(now);
        *last
    }
}
