//! A toy state machine and groups of replicas that speak over real connections.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use meson_raft::{
    Applied, ArchiveOp, Config, Member, Position, ProposeError, Replica, RoleKind, SnapshotView, StateMachine,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::task::JoinHandle;

/// Generous: the machine may be busy with other things.
pub const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// One group at a time: many would starve each other of the processor, and elect for ever.
static GROUPS: Semaphore = Semaphore::const_new(1);

/// What the toy holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Toy {
    /// `set key value`.
    pub values: BTreeMap<String, String>,
    /// Commands applied.
    pub commands: u64,
    /// Entries applied since this process began.
    pub entries: u64,
}

/// Shared with the test, so that it can look in.
#[derive(Clone, Default)]
pub struct Shared(pub Arc<Mutex<Toy>>);

impl Shared {
    pub fn get(&self, key: &str) -> Option<String> {
        self.0.lock().unwrap().values.get(key).cloned()
    }

    pub fn toy(&self) -> Toy {
        self.0.lock().unwrap().clone()
    }
}

/// `set key value`, `end key` (into the archive), `forget prefix` (out of the archive).
impl StateMachine for Shared {
    fn apply(&mut self, _: Position, commands: &[Bytes]) -> std::io::Result<Applied> {
        let mut toy = self.0.lock().unwrap();
        let mut applied = Applied::default();
        toy.entries += 1;
        for command in commands {
            toy.commands += 1;
            let text = String::from_utf8(command.to_vec()).unwrap();
            let words: Vec<&str> = text.splitn(3, ' ').collect();
            let outcome = match words[..] {
                ["set", key, value] => {
                    toy.values.insert(key.into(), value.into());
                    format!("set {key}")
                }
                ["end", key] => {
                    let value = toy.values.remove(key).unwrap_or_default();
                    applied.archive.push(ArchiveOp::Put { key: key.into(), value: value.into() });
                    format!("ended {key}")
                }
                ["forget", prefix] => {
                    applied.archive.push(ArchiveOp::DeletePrefix { prefix: prefix.into() });
                    "forgotten".into()
                }
                _ => "what?".into(),
            };
            applied.outcomes.push(outcome.into());
        }
        Ok(applied)
    }

    fn snapshot(&self) -> Box<dyn SnapshotView> {
        Box::new(View(self.toy()))
    }

    fn restore(&mut self, input: &mut dyn Read) -> std::io::Result<()> {
        let mut text = String::new();
        input.read_to_string(&mut text)?;
        let mut lines = text.lines();
        let commands = lines.next().and_then(|line| line.parse().ok());
        let commands = commands.ok_or_else(|| std::io::Error::other("no count"))?;
        let values = lines.filter_map(|line| line.split_once(' '));
        let values = values.map(|(key, value)| (key.into(), value.into())).collect();
        *self.0.lock().unwrap() = Toy { values, commands, entries: 0 };
        Ok(())
    }
}

struct View(Toy);

impl SnapshotView for View {
    fn write(self: Box<Self>, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{}", self.0.commands)?;
        for (key, value) in &self.0.values {
            writeln!(out, "{key} {value}")?;
        }
        Ok(())
    }
}

/// A replica with its server.
pub struct Node {
    pub replica: Replica,
    pub state: Shared,
    server: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Node {
    pub async fn shutdown(self) {
        self.replica.shutdown().await;
        let _ = self.stop.send(());
        self.server.abort();
        let _ = self.server.await;
    }
}

/// A group whose replicas can be stopped and started.
pub struct Group {
    dir: TempDir,
    pub addresses: Vec<SocketAddr>,
    pub nodes: Vec<Option<Node>>,
    configure: fn(&mut Config),
    _turn: SemaphorePermit<'static>,
}

impl Group {
    /// Starts replicas 1 to `count` and founds the group.
    pub async fn start(count: usize, configure: fn(&mut Config)) -> Self {
        let group = Self::found(count, configure).await;
        let members = group.members();
        for node in group.nodes.iter().flatten() {
            node.replica.initialize(members.clone()).await.unwrap();
        }
        group
    }

    /// Starts replicas 1 to `count`.
    pub async fn found(count: usize, configure: fn(&mut Config)) -> Self {
        Self::found_in(tempfile::tempdir().unwrap(), count, configure).await
    }

    /// The same, with the replicas' directories in a given one.
    pub async fn found_in(dir: TempDir, count: usize, configure: fn(&mut Config)) -> Self {
        let _turn = GROUPS.acquire().await.unwrap();
        let mut group = Self { dir, addresses: Vec::new(), nodes: Vec::new(), configure, _turn };
        for _ in 0..count {
            group.add().await;
        }
        group
    }

    /// Starts one more replica, which belongs to nothing yet.
    pub async fn add(&mut self) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.addresses.push(listener.local_addr().unwrap());
        self.nodes.push(None);
        let place = self.nodes.len() - 1;
        self.serve(place, listener).await;
        place
    }

    pub fn data_dir(&self, place: usize) -> PathBuf {
        self.dir.path().join(format!("node-{}", place + 1))
    }

    pub fn config(&self, place: usize) -> Config {
        let mut config = Config::new(7, place as u64 + 1, self.data_dir(place));
        config.cache_bytes = 8 << 20;
        (self.configure)(&mut config);
        config
    }

    pub fn members(&self) -> Vec<Member> {
        (0..self.addresses.len()).map(|place| self.member(place)).collect()
    }

    pub fn member(&self, place: usize) -> Member {
        Member {
            node_id: place as u64 + 1,
            raft_address: format!("http://{}", self.addresses[place]),
            api_address: format!("http://api-{}", place + 1),
            http_address: String::new(),
        }
    }

    pub async fn stop(&mut self, place: usize) {
        if let Some(node) = self.nodes[place].take() {
            node.shutdown().await;
        }
    }

    /// Starts a stopped replica again, on its old files and address.
    pub async fn restart(&mut self, place: usize) {
        let address = self.addresses[place];
        let listener =
            eventually("the port is free", || async { TcpListener::bind(address).await.ok() }).await;
        self.serve(place, listener).await;
    }

    async fn serve(&mut self, place: usize, listener: TcpListener) {
        let state = Shared::default();
        let replica = Replica::open(self.config(place), state.clone()).await.unwrap();
        let service = replica.service();
        let (stop, stopped) = oneshot::channel::<()>();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server = tokio::spawn(async move {
            let server = tonic::transport::Server::builder().add_service(service);
            let serving = server.serve_with_incoming_shutdown(incoming, async {
                let _ = stopped.await;
            });
            let _ = serving.await;
        });
        self.nodes[place] = Some(Node { replica, state, server, stop });
    }

    pub fn node(&self, place: usize) -> &Node {
        self.nodes[place].as_ref().expect("the replica runs")
    }

    /// Waits until a running replica leads.
    pub async fn leader(&self) -> usize {
        eventually("a leader", || async {
            self.nodes.iter().position(|node| {
                node.as_ref().is_some_and(|node| node.replica.role().borrow().kind == RoleKind::Leader)
            })
        })
        .await
    }

    /// Proposes to whoever leads until somebody answers.
    pub async fn propose(&self, command: &str) -> String {
        let outcome = eventually("an outcome", || async {
            let leader = self.leader().await;
            self.node(leader).replica.propose(command.to_owned().into()).await.ok()
        });
        String::from_utf8(outcome.await.to_vec()).unwrap()
    }

    /// Waits until a replica holds a value.
    pub async fn holds(&self, place: usize, key: &str, value: &str) {
        let what = format!("replica {} holds {key}={value}", place + 1);
        eventually(&what, || async {
            (self.node(place).state.get(key).as_deref() == Some(value)).then_some(())
        })
        .await;
    }

    pub async fn shutdown(&mut self) {
        for place in 0..self.nodes.len() {
            self.stop(place).await;
        }
    }
}

/// Polls until there is something.
pub async fn eventually<R, F: Future<Output = Option<R>>>(what: &str, mut poll: impl FnMut() -> F) -> R {
    let polling = async {
        loop {
            if let Some(found) = poll().await {
                return found;
            }
            // tidy: allow sleep: polls a condition, and the deadline only bounds a failure
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(DEADLINE, polling).await {
        Ok(found) => found,
        Err(_) => panic!("waited in vain for: {what}"),
    }
}

/// Proposes the same way as [`Group::propose`], but tells what happened.
pub async fn propose(replica: &Replica, command: String) -> Result<Bytes, ProposeError> {
    replica.propose(command.into()).await
}

/// The only snapshot in a data directory.
pub fn snapshot_path(data_dir: &Path) -> PathBuf {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(data_dir.join("snapshots")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}
