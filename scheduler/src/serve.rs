//! Puts the replica together and serves its faces until told to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use meson_proto::v1::cluster_service_server::ClusterServiceServer;
use meson_proto::v1::executor_service_server::ExecutorServiceServer;
use meson_proto::v1::run_service_server::RunServiceServer;
use meson_proto::v1::workflow_service_server::WorkflowServiceServer;
use meson_raft::{Replica, RoleKind};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tracing::info;

use crate::api::cluster::Cluster;
use crate::api::executors::Executors;
use crate::api::gate::Gate;
use crate::api::history::History;
use crate::api::logs;
use crate::api::runs::Runs;
use crate::api::workflows::Workflows;
use crate::clock::Clock;
use crate::config::Config;
use crate::machine::{Effects, Machine};
use crate::shared::Shared;
use crate::{http, leader};

/// Interval and patience of keepalive on client connections.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// A call is answered within this, a stream begun: a client's own deadline, if shorter, goes before.
const CALL_DEADLINE: Duration = Duration::from_secs(60);

/// How long open requests may take to end when the replica stops.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs the replica until `stop` turns true.
///
/// # Errors
/// When an address is taken, the data directory cannot be used, or the settings contradict it.
pub async fn run(config: Config, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let listeners = Listeners::bind(&config).await?;
    let (shared, effects) = open(config).await?;
    let (closing, closed) = watch::channel(false);
    let faces = Faces {
        raft: tokio::spawn(serve_raft(shared.clone(), listeners.raft, closed.clone())),
        api: tokio::spawn(serve_api(shared.clone(), listeners.api, closed.clone())),
        web: tokio::spawn(serve_http(shared.clone(), listeners.http, closed.clone())),
    };
    info!(node_id = shared.config.node_id, listen = %shared.config.listen, "replica is up");
    let work = work(&shared, effects, closed);
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        // A replica that takes part no more must not go on answering: it ends, and comes back from its disk.
        failure = shared.replica.stopped() => {
            let failure = failure.unwrap_or_else(|| "it was stopped".to_owned());
            anyhow::bail!("the replica cannot go on: {failure}");
        }
        () = stopped(stop) => {}
    }
    // It goes on leading until somebody else does.
    tokio::select! {
        done = &mut work => return done,
        () = resign(&shared) => {}
    }
    closing.send_replace(true);
    let worked = work.await;
    faces.close(&shared).await;
    worked
}

/// Takes part in the group, and leads when it is its turn, until `stop` turns true.
async fn work(shared: &Shared, effects: Effects, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    tokio::select! {
        founded = shared.replica.found(shared.config.members()?) => founded?,
        () = stopped(stop.clone()) => return Ok(()),
    }
    leader::run(shared.clone(), effects, stop).await;
    Ok(())
}

/// A leader that stops hands over first, so that nobody has to wait for its silence to be noticed.
async fn resign(shared: &Shared) {
    if shared.replica.role().borrow().kind != RoleKind::Leader {
        return;
    }
    match shared.replica.hand_over(None).await {
        Ok(successor) => info!(successor = successor.node_id, "handed over"),
        Err(error) => info!(%error, "stopping without a successor"),
    }
}

/// The tasks that answer.
struct Faces {
    raft: JoinHandle<anyhow::Result<()>>,
    api: JoinHandle<anyhow::Result<()>>,
    web: JoinHandle<anyhow::Result<()>>,
}

impl Faces {
    /// Waits a little for open requests, the other replicas' last.
    async fn close(mut self, shared: &Shared) {
        let drained = async {
            // A face that failed has said so in the log.
            let _ = tokio::join!(&mut self.api, &mut self.web);
            shared.replica.shutdown().await;
            let _ = (&mut self.raft).await;
        };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            info!("streams were still open; stopping all the same");
        }
    }
}

struct Listeners {
    api: TcpListener,
    raft: TcpListener,
    http: TcpListener,
}

impl Listeners {
    async fn bind(config: &Config) -> anyhow::Result<Self> {
        let bind = async |name: &str, address| {
            TcpListener::bind(address).await.with_context(|| format!("{name}: cannot listen on {address}"))
        };
        Ok(Listeners {
            api: bind("listen", config.listen).await?,
            raft: bind("raft_listen", config.raft_listen).await?,
            http: bind("http_listen", config.http_listen).await?,
        })
    }
}

/// What people are told to change when a kind is not known.
const PLUGINS: &str = "the setting `plugins` of schedulers and executors";

async fn open(config: Config) -> anyhow::Result<(Shared, Effects)> {
    let plugins = meson_plugins::load(&config.plugins)?;
    for plugin in &plugins {
        info!(kind = plugin.kind.name, folder = %plugin.folder.display(), "plugin");
    }
    let (machine, published, effects) = Machine::new(config.format());
    let replica = Replica::open(config.raft(), machine).await.context("opening the data directory")?;
    let mut shared = Shared::new(config, published, replica, Clock::start());
    shared.plugins = Arc::new(meson_plugins::kinds(&plugins, PLUGINS));
    Ok((shared, effects))
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // A closed channel means that the process ends.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn serve_raft(
    shared: Shared,
    listener: TcpListener,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .tcp_nodelay(true)
        .add_service(shared.replica.service())
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stopped(stop))
        .await
        .context("serving the other replicas")
}

async fn serve_http(
    shared: Shared,
    listener: TcpListener,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    axum::serve(listener, http::router(shared))
        .with_graceful_shutdown(stopped(stop))
        .await
        .context("serving HTTP")
}

async fn serve_api(shared: Shared, listener: TcpListener, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let gate = Arc::new(Gate::new(shared.clone()));
    let history = History::new(shared.replica.archive());
    let limit = shared.config.message_bytes_max;
    let runs = Runs { shared: shared.clone(), gate: gate.clone(), history };
    let workflows = Workflows { shared: shared.clone(), gate: gate.clone() };
    let (lookup, channels) = (runs.clone(), gate.clone());
    let logs = tokio::task::spawn_blocking(move || logs::service(lookup, channels)).await??;
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<RunServiceServer<Runs>>().await;
    health.set_serving::<WorkflowServiceServer<Workflows>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(meson_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let reflection_alpha = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(meson_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1alpha()?;
    Server::builder()
        .timeout(CALL_DEADLINE)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .tcp_nodelay(true)
        .add_service(WorkflowServiceServer::new(workflows).max_decoding_message_size(limit))
        .add_service(RunServiceServer::new(runs).max_decoding_message_size(limit))
        .add_service(
            ExecutorServiceServer::new(Executors { shared: shared.clone() }).max_decoding_message_size(limit),
        )
        .add_service(logs.into_server())
        .add_service(ClusterServiceServer::new(Cluster { shared, gate }))
        .add_service(health_service)
        .add_service(reflection)
        .add_service(reflection_alpha)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stopped(stop))
        .await
        .context("serving gRPC")
}
