//! An agent: registers with the leading master, launches executors, carries their updates, survives its own restart.
//!
//! One process can be many agents; each has its own port, work directory and link to the master.

mod api;
mod checkpoint;
mod executor;
mod fetch;
mod master_link;
mod messages;
mod process;
mod run;
mod status;
mod terminate;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use meson_mesos::v1::{AgentId, AgentInfo, Attribute, FrameworkInfo, Resource};
use tokio::{net::TcpListener, sync::mpsc::UnboundedSender};

use crate::{
    link::{FromAgent, ToMaster},
    updates::Updates,
};
use executor::{Executor, Key};
pub use process::command_of;

/// How often updates that are due again are looked for.
const TICK: Duration = Duration::from_millis(50);

/// What an agent is started with. Times and names are those of the real agent's flags.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Masters, any of which leads.
    pub masters: Vec<String>,
    /// Address to listen on.
    pub listen: String,
    /// Host name that offers carry.
    pub hostname: String,
    /// Address under which executors reach the agent.
    pub advertise: String,
    /// Directory of sandboxes and checkpoints.
    pub work_dir: PathBuf,
    /// What it offers.
    pub resources: Vec<Resource>,
    /// What it is like.
    pub attributes: Vec<Attribute>,
    /// How long an executor has to subscribe.
    pub executor_registration_timeout: Duration,
    /// How long an executor has to subscribe again after the agent's restart.
    pub executor_reregistration_timeout: Duration,
    /// How long an executor has to end after `SHUTDOWN`.
    pub executor_shutdown_grace_period: Duration,
    /// How long executors wait for a lost agent.
    pub recovery_timeout: Duration,
    /// First pause before an update is sent again.
    pub update_retry: Duration,
    /// Whether it is the only agent of its process.
    pub alone: bool,
    /// The program that runs commands of tasks without executor: this one.
    pub command_executor: PathBuf,
}

/// An agent.
pub struct Agent {
    settings: Settings,
    started: Instant,
    address: String,
    state: Mutex<State>,
}

/// What the lock protects.
struct State {
    info: AgentInfo,
    frameworks: BTreeMap<String, FrameworkInfo>,
    executors: BTreeMap<Key, Executor>,
    updates: Updates,
    master: Option<UnboundedSender<ToMaster>>,
    /// Waiting for executors after a restart; nothing but their subscriptions is served.
    recovering: bool,
    /// The master told it to end.
    ended: bool,
}

impl Agent {
    /// Starts an agent: recovers, listens, then keeps itself registered. It ends with the process.
    ///
    /// # Errors
    /// When the address is taken or the checkpoint cannot be read.
    pub async fn start(settings: Settings) -> anyhow::Result<Arc<Self>> {
        std::fs::create_dir_all(&settings.work_dir).context("the work directory")?;
        let kept = checkpoint::read(&settings.work_dir)?;
        let listen = match (&kept, settings.listen.strip_suffix(":0")) {
            // Executors that wait for this agent know its old port.
            (Some(kept), Some(host)) if kept.port != 0 => format!("{host}:{}", kept.port),
            _ => settings.listen.clone(),
        };
        let socket = TcpListener::bind(&listen).await.with_context(|| listen.clone())?;
        let port = socket.local_addr()?.port();
        let info = AgentInfo {
            hostname: settings.hostname.clone(),
            port: Some(i32::from(port)),
            resources: settings.resources.clone(),
            attributes: settings.attributes.clone(),
            ..AgentInfo::default()
        };
        let agent = Arc::new(Agent {
            started: Instant::now(),
            address: format!("{}:{port}", settings.advertise),
            state: Mutex::new(State {
                info,
                frameworks: BTreeMap::new(),
                executors: BTreeMap::new(),
                updates: Updates::new(settings.update_retry.as_secs_f64()),
                master: None,
                recovering: false,
                ended: false,
            }),
            settings,
        });
        let waits = kept.is_some_and(|kept| agent.recover(kept));
        tokio::spawn(axum::serve(socket, api::router(Arc::clone(&agent))).into_future());
        tokio::spawn(Arc::clone(&agent).live(waits));
        Ok(agent)
    }

    /// Where the agent listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits for executors of before, then registers and stays so.
    async fn live(self: Arc<Self>, waits: bool) {
        if waits {
            tokio::time::sleep(self.settings.executor_reregistration_timeout).await;
            self.give_up_silent_executors();
            self.lock().recovering = false;
        }
        tokio::spawn(Arc::clone(&self).retry_updates());
        self.stay_registered().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

impl State {
    /// The agent's id, empty before it has one.
    fn id(&self) -> String {
        self.info.id.as_ref().map_or_else(String::new, |id| id.value.clone())
    }

    fn set_id(&mut self, id: String) {
        self.info.id = Some(AgentId { value: id });
    }

    /// Says something to the master; lost when there is none, as on a network.
    fn to_master(&self, message: FromAgent) {
        if let Some(master) = &self.master {
            // A link that broke is noticed by its reader.
            let _ = master.send(message.into());
        }
    }
}

fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Sixteen random bytes.
fn new_uuid() -> Vec<u8> {
    ulid::Ulid::generate().0.to_be_bytes().to_vec()
}
