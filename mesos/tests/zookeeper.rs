//! Detection of the leader by a real ZooKeeper server, the one that Debian has (`scripts/setup test` installs it).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod support;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use meson_mesos::scheduler::{Config, Event, Scheduler, Signal, Signals, Subscribed};
use meson_mesos::v1::scheduler as wire;
use meson_mesos::v1::{self, FrameworkInfo};
use meson_mesos::{Encoding, Error, Masters};
use support::{FakeServer, Stream, soon};
use zookeeper_client::{Acls, Client, CreateMode};

/// Where Debian puts the server.
const JAR: &str = "/usr/share/java/zookeeper.jar";
const MAIN: &str = "org.apache.zookeeper.server.ZooKeeperServerMain";
/// A server on a busy machine takes its time.
const START_MAX: Duration = Duration::from_secs(60);

/// A server in a folder of its own; ends with the test.
struct ZooKeeper {
    folder: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
}

impl ZooKeeper {
    async fn start() -> Self {
        assert!(Path::new(JAR).exists(), "{JAR} is missing: run `scripts/setup test`");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { folder: tempfile::tempdir().unwrap(), port, process: None };
        server.run().await;
        server
    }

    async fn run(&mut self) {
        let folder = self.folder.path();
        let settings = folder.join("zoo.cfg");
        let text = format!(
            "tickTime=500\ndataDir={}\nclientPort={}\nadmin.enableServer=false\n",
            folder.join("data").display(),
            self.port
        );
        std::fs::write(&settings, text).unwrap();
        let mut command = Command::new("java");
        command.arg("-cp").arg(JAR).arg(MAIN).arg(&settings).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().expect("java is there"));
        let began = Instant::now();
        while Client::connect(&self.servers()).await.is_err() {
            assert!(began.elapsed() < START_MAX, "ZooKeeper does not start");
        }
    }

    fn servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    async fn client(&self) -> Client {
        let connector = Client::connector().with_auth("digest", b"mesos:sesame");
        connector.with_session_timeout(Duration::from_secs(4)).connect(&self.servers()).await.unwrap()
    }

    /// A session that finds its masters here, and takes up to `signals` events.
    fn scheduler(&self) -> (Scheduler, Signals) {
        let masters: Masters = format!("zk://mesos:sesame@{}/mesos", self.servers()).parse().unwrap();
        let mut config = Config::new(masters);
        config.backoff_first = Duration::from_millis(10);
        config.backoff_longest = Duration::from_millis(100);
        Scheduler::start(config, FrameworkInfo::default(), Vec::new(), None).unwrap()
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Does what a master does: keeps a node with its address as long as its session lives. Only who knows the password may
/// read it.
async fn candidate(client: &Client, address: SocketAddr) -> String {
    let master = v1::MasterInfo {
        id: address.to_string(),
        ip: 16_777_343,
        port: u32::from(address.port()),
        address: Some(v1::Address {
            hostname: Some("localhost".to_owned()),
            ip: Some(address.ip().to_string()),
            port: i32::from(address.port()),
        }),
        ..v1::MasterInfo::default()
    };
    let options = CreateMode::EphemeralSequential.with_acls(Acls::creator_all());
    let data = Encoding::Json.encode(&master);
    let (_, sequence) = client.create("/mesos/json.info_", &data, &options).await.unwrap();
    format!("/mesos/json.info_{sequence}")
}

async fn take_over(server: &mut FakeServer) -> (Option<v1::FrameworkId>, Stream) {
    let (request, reply) = server.next().await;
    let mut stream = reply.stream(Some("s"), Encoding::Protobuf).await;
    let heartbeat_interval = Some(Duration::from_secs(15));
    let event = Event::Subscribed(Subscribed { framework_id: "F1".into(), heartbeat_interval, master: None });
    stream.event::<wire::Event>(event).await;
    (request.call::<wire::Call>().framework_id, stream)
}

async fn until_subscribed(signals: &mut Signals) {
    while !matches!(soon("a signal", signals.next()).await, Signal::Subscribed(_)) {}
}

async fn disconnected(signals: &mut Signals) -> Error {
    match soon("a signal", signals.next()).await {
        Signal::Disconnected { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_session_follows_the_election() {
    let mut zookeeper = ZooKeeper::start().await;
    let (mut first, mut second) = (FakeServer::start().await, FakeServer::start().await);
    // The session begins before there is a path, and a master before there is a leader.
    let (scheduler, mut signals) = zookeeper.scheduler();
    let masters = zookeeper.client().await;
    masters.create("/mesos", b"", &CreateMode::Persistent.with_acls(Acls::creator_all())).await.unwrap();
    masters
        .create("/mesos/log_replicas", b"", &CreateMode::Persistent.with_acls(Acls::creator_all()))
        .await
        .unwrap();
    let first_node = candidate(&masters, first.address).await;
    let (id, stream) = take_over(&mut first).await;
    assert_eq!(id, None);
    until_subscribed(&mut signals).await;

    // A later candidate changes nothing; when the first one goes, it leads.
    candidate(&masters, second.address).await;
    masters.delete(&first_node, None).await.unwrap();
    let error = disconnected(&mut signals).await;
    assert!(matches!(error, Error::LeaderChanged { .. }), "{error}");
    stream.closed_by_client().await;
    let (id, mut stream) = take_over(&mut second).await;
    assert_eq!(id, Some("F1".into()));
    until_subscribed(&mut signals).await;

    // Without ZooKeeper, the subscription goes on.
    zookeeper.kill();
    stream.event::<wire::Event>(Event::Rescind("O1".into())).await;
    let told = soon("an event", signals.next()).await;
    assert!(matches!(told, Signal::Event(Event::Rescind(_))), "{told:?}");
    assert!(scheduler.is_subscribed());

    // With it again, the election is followed as before: the master's node went with its session.
    drop(masters);
    zookeeper.run().await;
    let masters = zookeeper.client().await;
    candidate(&masters, first.address).await;
    let (id, _stream) = take_over(&mut first).await;
    assert_eq!(id, Some("F1".into()));
    until_subscribed(&mut signals).await;
}

#[tokio::test]
async fn a_wrong_password_and_no_leader_are_told_apart() {
    let zookeeper = ZooKeeper::start().await;
    let server = FakeServer::start().await;
    let start = |password: &str, seconds| {
        let address = format!("zk://mesos:{password}@{}/mesos", zookeeper.servers());
        let mut config = Config::new(address.parse().unwrap());
        config.http.subscribe_timeout = Duration::from_secs(seconds);
        Scheduler::start(config, FrameworkInfo::default(), Vec::new(), None).unwrap()
    };
    let masters = zookeeper.client().await;
    masters.create("/mesos", b"", &CreateMode::Persistent.with_acls(Acls::creator_all())).await.unwrap();
    let (_scheduler, mut signals) = start("sesame", 2);
    let error = disconnected(&mut signals).await;
    assert!(matches!(error, Error::NoLeader(_)), "{error}");
    candidate(&masters, server.address).await;
    let (_scheduler, mut signals) = start("guessed", 6);
    let error = disconnected(&mut signals).await;
    assert!(matches!(error, Error::ZooKeeper { .. }), "{error}");
    assert!(!error.to_string().contains("guessed"), "{error}");
}

#[tokio::test]
async fn a_new_leader_cuts_the_wait_short() {
    let zookeeper = ZooKeeper::start().await;
    let mut server = FakeServer::start().await;
    let masters = zookeeper.client().await;
    masters.create("/mesos", b"", &CreateMode::Persistent.with_acls(Acls::creator_all())).await.unwrap();
    // A leader that has just died: nobody listens there.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let node = candidate(&masters, dead).await;
    let mut config = Config::new(format!("zk://mesos:sesame@{}/mesos", zookeeper.servers()).parse().unwrap());
    config.backoff_first = Duration::from_secs(600);
    config.backoff_longest = Duration::from_secs(600);
    let (_scheduler, mut signals) =
        Scheduler::start(config, FrameworkInfo::default(), Vec::new(), None).unwrap();
    let error = disconnected(&mut signals).await;
    assert!(matches!(error, Error::Connection { .. }), "{error}");
    masters.delete(&node, None).await.unwrap();
    candidate(&masters, server.address).await;
    let _stream = take_over(&mut server).await;
    until_subscribed(&mut signals).await;
}

#[tokio::test]
async fn a_redirect_may_be_ahead_of_zookeeper() {
    let zookeeper = ZooKeeper::start().await;
    let (mut old, mut new) = (FakeServer::start().await, FakeServer::start().await);
    let masters = zookeeper.client().await;
    masters.create("/mesos", b"", &CreateMode::Persistent.with_acls(Acls::creator_all())).await.unwrap();
    let node = candidate(&masters, old.address).await;
    let (_scheduler, mut signals) = zookeeper.scheduler();
    let (_, reply) = old.next().await;
    let location = format!("//{}/api/v1/scheduler", new.address);
    reply.status("307 Temporary Redirect", &[("Location", &location)], "").await;
    let (_, mut stream) = take_over(&mut new).await;
    until_subscribed(&mut signals).await;
    // ZooKeeper catches up, and nothing changes.
    candidate(&masters, new.address).await;
    masters.delete(&node, None).await.unwrap();
    for number in 0..20 {
        stream.event::<wire::Event>(Event::Rescind(format!("O{number}").into())).await;
        let told = soon("an event", signals.next()).await;
        assert!(matches!(told, Signal::Event(Event::Rescind(_))), "{told:?}");
        masters.sync("/mesos").await.unwrap();
    }
    assert!(old.is_idle() && new.is_idle());
}
