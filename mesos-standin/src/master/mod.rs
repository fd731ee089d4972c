//! The master's process: elects itself by a lock, serves HTTP and agents' links, and carries out what `Cluster` decides.

mod api;
mod election;
mod links;
mod listener;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use meson_mesos::v1::{Address, MasterInfo};
use tokio::{net::TcpListener, sync::mpsc::UnboundedSender};

use crate::{
    cluster::{Cluster, Config, Now, Output, VERSION},
    http::EventSender,
    link::ToAgent,
};

/// How often time passes for the rules.
const TICK: Duration = Duration::from_millis(20);

/// What a master process is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address to listen on.
    pub listen: String,
    /// Host name or address under which others reach it.
    pub advertise: String,
    /// Directory that masters of one cluster share: the leader's lock and the registry.
    pub work_dir: PathBuf,
    /// The rules' settings.
    pub config: Config,
}

/// A master process: its rules if it leads, and its connections.
pub struct Master {
    settings: Settings,
    started: Instant,
    address: String,
    state: Mutex<State>,
}

/// What the lock protects.
#[derive(Default)]
struct State {
    /// The rules, while this process leads.
    cluster: Option<Cluster>,
    streams: HashMap<String, EventSender>,
    links: HashMap<u64, UnboundedSender<ToAgent>>,
    next_link: u64,
    /// Agents that nothing passes to or from, each with the link that it had when that began.
    partitioned: BTreeMap<String, Option<u64>>,
}

impl Master {
    /// Listens and serves until the process ends.
    ///
    /// # Errors
    /// When the address is taken, or the shared directory cannot be used.
    pub async fn run(settings: Settings) -> anyhow::Result<()> {
        std::fs::create_dir_all(&settings.work_dir).context("the work directory")?;
        let socket = TcpListener::bind(&settings.listen).await.with_context(|| settings.listen.clone())?;
        let port = socket.local_addr()?.port();
        let address = format!("{}:{port}", settings.advertise);
        // Scripts and tests read this line to learn the port.
        println!("standin-master listens on {address}");
        let master = Arc::new(Master { settings, started: Instant::now(), address, state: Mutex::default() });
        tokio::spawn(Arc::clone(&master).tick());
        tokio::spawn(Arc::clone(&master).elect(port));
        let (listener, links) = listener::split(socket)?;
        tokio::spawn(Arc::clone(&master).accept_links(links));
        axum::serve(listener, api::router(master)).await?;
        Ok(())
    }

    /// Waits for the leader's lock, then leads until the process ends, as a master of Mesos does.
    async fn elect(self: Arc<Self>, port: u16) {
        let directory = self.settings.work_dir.clone();
        let address = self.address.clone();
        let won = tokio::task::spawn_blocking(move || election::win(&directory, &address)).await;
        let registry = match won {
            Ok(Ok(registry)) => registry,
            Ok(Err(error)) => return tracing::error!(%error, "no election"),
            Err(error) => return tracing::error!(%error, "the election broke"),
        };
        let info = MasterInfo {
            id: ulid::Ulid::generate().to_string().to_lowercase(),
            ip: network_order(&self.settings.advertise),
            port: u32::from(port),
            pid: Some(format!("master@{}", self.address)),
            hostname: Some(self.settings.advertise.clone()),
            version: Some(VERSION.to_owned()),
            address: Some(Address {
                hostname: Some(self.settings.advertise.clone()),
                ip: Some(self.settings.advertise.clone()),
                port: i32::from(port),
            }),
            ..MasterInfo::default()
        };
        tracing::info!(id = info.id, "elected as leading master");
        let cluster = Cluster::new(self.settings.config.clone(), info, registry, self.now());
        self.lock().cluster = Some(cluster);
    }

    async fn tick(self: Arc<Self>) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let now = self.now();
            self.with(|cluster| cluster.tick(now));
        }
    }

    /// Changes the rules' state and carries out what follows; nothing when this process does not lead.
    fn with<T>(&self, change: impl FnOnce(&mut Cluster) -> T) -> Option<T> {
        let mut state = self.lock();
        let cluster = state.cluster.as_mut()?;
        let result = change(cluster);
        let outputs = cluster.take_outputs();
        if outputs.iter().any(|output| matches!(output, Output::Registry)) {
            // Written before anything that follows from it is sent; a master that cannot write must not lead.
            if let Err(error) = election::write_registry(&self.settings.work_dir, cluster.registry()) {
                tracing::error!(%error, "the registry cannot be written");
                std::process::exit(1);
            }
        }
        for output in outputs {
            self.carry_out(&mut state, output);
        }
        Some(result)
    }

    fn carry_out(&self, state: &mut State, output: Output) {
        match output {
            Output::Event { stream, event } => {
                if let Some(sender) = state.streams.get(&stream) {
                    sender.send(&*event);
                }
            }
            Output::CloseStream(stream) => {
                state.streams.remove(&stream);
            }
            Output::Agent { link, message } => {
                if let Some(sender) = state.links.get(&link).filter(|_| !state.is_cut(link)) {
                    // An agent that is gone is noticed by its link's reader.
                    let _ = sender.send(message);
                }
            }
            Output::CloseLink(link) => {
                state.links.remove(&link);
            }
            Output::Registry => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Now { elapsed: self.started.elapsed().as_secs_f64(), unix }
    }

    fn leader(&self) -> Option<String> {
        election::leader(&self.settings.work_dir)
    }

    fn leads(&self) -> bool {
        self.lock().cluster.is_some()
    }
}

impl State {
    /// Whether a partition swallows what is said on a link.
    fn is_cut(&self, link: u64) -> bool {
        self.partitioned.values().any(|cut| *cut == Some(link))
    }
}

/// An IPv4 address as the number that `MasterInfo` has; 0 for a host name.
fn network_order(address: &str) -> u32 {
    address.parse::<std::net::Ipv4Addr>().map_or(0, |address| u32::from_le_bytes(address.octets()))
}
