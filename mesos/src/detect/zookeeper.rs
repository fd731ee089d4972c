//! The leader from ZooKeeper. Each master keeps a node `json.info_<sequence>` with its `MasterInfo` as JSON; the one
//! with the lowest sequence leads.

use std::time::Duration;

use reqwest::Url;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zookeeper_client::{Client, Error as ZkError};

use super::masters::ZooKeeperUrl;
use crate::backoff::Backoff;
use crate::encoding::Encoding;
use crate::v1::MasterInfo;
use crate::{Error, headers};

/// How a master's node begins.
const NODE_PREFIX: &str = "json.info_";
/// After this long without contact, ZooKeeper forgets us and our watches.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to try to connect to a server.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(4);
/// Waits between attempts to reach ZooKeeper.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// The leader as far as we know, and why we do not know better.
#[derive(Debug, Clone, Default)]
struct Seen {
    leader: Option<Leader>,
    trouble: Option<String>,
}

/// A master with all names by which somebody may call it.
#[derive(Debug, Clone, PartialEq)]
struct Leader {
    url: Url,
    hosts: Vec<String>,
}

impl Leader {
    fn is(&self, url: &Url) -> bool {
        let port = self.url.port_or_known_default() == url.port_or_known_default();
        port && url.host_str().is_some_and(|host| self.hosts.iter().any(|known| known == host))
    }
}

/// Follows the election in a task of its own, until it is dropped.
pub(crate) struct Watch {
    url: ZooKeeperUrl,
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    pub fn start(url: ZooKeeperUrl, https: bool) -> Self {
        let (sender, seen) = watch::channel(Seen::default());
        let task = tokio::spawn(follow(url.clone(), https, sender));
        Self { url, seen, task }
    }

    /// The leader, when there is one.
    pub async fn leader(&mut self, within: Duration) -> Result<Url, Error> {
        let url = match timeout(within, self.seen.wait_for(|seen| seen.leader.is_some())).await {
            Ok(Ok(seen)) => seen.leader.as_ref().map(|leader| leader.url.clone()),
            Ok(Err(_)) | Err(_) => None,
        };
        let trouble = self.seen.borrow().trouble.clone();
        url.ok_or_else(|| match trouble {
            Some(reason) => Error::ZooKeeper { servers: self.url.servers.clone(), reason },
            None => Error::NoLeader(format!("no master is at {:?}", self.url)),
        })
    }

    /// Waits until another than these leads.
    pub async fn changed_from(&mut self, known: &[Url]) -> Error {
        let another =
            |seen: &Seen| seen.leader.as_ref().is_some_and(|leader| !known.iter().any(|url| leader.is(url)));
        let to = {
            let seen = self.seen.wait_for(another).await.ok();
            seen.and_then(|seen| seen.leader.as_ref().map(|leader| leader.url.to_string()))
        };
        match to {
            Some(to) => {
                let from = known.first().map(Url::to_string).unwrap_or_default();
                Error::LeaderChanged { from, to }
            }
            // The task that follows ends only with us.
            None => std::future::pending().await,
        }
    }
}

/// Connects and follows, and after each trouble again.
async fn follow(url: ZooKeeperUrl, https: bool, seen: watch::Sender<Seen>) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST);
    loop {
        let trouble = follow_session(&url, https, &seen, &mut backoff).await;
        // The last leader is kept: that ZooKeeper is away does not make anybody else lead.
        tracing::warn!(zookeeper = ?url, %trouble, "cannot follow the election of masters");
        seen.send_modify(|seen| seen.trouble = Some(trouble));
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

/// Follows as long as one session lives; says what ended it.
async fn follow_session(
    url: &ZooKeeperUrl,
    https: bool,
    seen: &watch::Sender<Seen>,
    backoff: &mut Backoff,
) -> String {
    let mut connector =
        Client::connector().with_session_timeout(SESSION_TIMEOUT).with_connection_timeout(CONNECTION_TIMEOUT);
    if let Some(digest) = &url.digest {
        connector = connector.with_auth("digest", digest.as_bytes());
    }
    let client = match connector.connect(&url.servers).await {
        Ok(client) => client,
        Err(error) => return error.to_string(),
    };
    backoff.reset();
    loop {
        match step(&client, url, https, seen).await {
            Ok(()) => {}
            // A node went away between two questions, so the next answer is newer.
            Err(Trouble::ZooKeeper(ZkError::NoNode)) => {}
            Err(Trouble::ZooKeeper(error)) => return error.to_string(),
            Err(Trouble::Other(reason)) => return reason,
        }
    }
}

enum Trouble {
    ZooKeeper(ZkError),
    Other(String),
}

impl From<ZkError> for Trouble {
    fn from(error: ZkError) -> Self {
        Self::ZooKeeper(error)
    }
}

/// Looks once, tells what it saw, and waits until that changes.
async fn step(
    client: &Client,
    url: &ZooKeeperUrl,
    https: bool,
    seen: &watch::Sender<Seen>,
) -> Result<(), Trouble> {
    let (found, appears) = client.check_and_watch_stat(&url.path).await?;
    if found.is_none() {
        seen.send_replace(Seen::default());
        return ended(appears.changed().await);
    }
    let (nodes, changes) = client.list_and_watch_children(&url.path).await?;
    let leader = match lowest(&nodes) {
        None => None,
        Some(node) => {
            let (data, _) = client.get_data(&format!("{}/{node}", url.path)).await?;
            Some(leader(&data, https).map_err(|reason| Trouble::Other(format!("{node}: {reason}")))?)
        }
    };
    seen.send_if_modified(|seen| {
        let differs = seen.leader != leader || seen.trouble.is_some();
        *seen = Seen { leader, trouble: None };
        differs
    });
    ended(changes.changed().await)
}

/// Whether the session goes on after what a watch said.
fn ended(event: zookeeper_client::WatchedEvent) -> Result<(), Trouble> {
    if event.session_state.is_terminated() {
        return Err(Trouble::Other(format!("the session ended: {:?}", event.session_state)));
    }
    Ok(())
}

fn lowest(nodes: &[String]) -> Option<&String> {
    let sequence =
        |node: &&String| node.strip_prefix(NODE_PREFIX).and_then(|digits| digits.parse::<i64>().ok());
    nodes.iter().filter(|node| sequence(node).is_some()).min_by_key(sequence)
}

/// Mesos's own library goes to the IP address; certificates are for names, so `https` goes to the name.
fn leader(data: &[u8], https: bool) -> Result<Leader, String> {
    let master: MasterInfo = Encoding::Json.decode(data).map_err(|error| error.to_string())?;
    let address = master.address.unwrap_or_default();
    let port = if address.port > 0 { address.port.unsigned_abs() } else { master.port };
    let port = u16::try_from(port).map_err(|_| format!("port {port}"))?;
    let name = address.hostname.or(master.hostname).filter(|name| !name.is_empty());
    let hosts: Vec<String> = if https { [name, address.ip] } else { [address.ip, name] }
        .into_iter()
        .flatten()
        .map(|host| if host.contains(':') { format!("[{host}]") } else { host })
        .collect();
    let host = hosts.first().ok_or("a master without an address")?;
    let scheme = if https { "https" } else { "http" };
    let url = Url::parse(&format!("{scheme}://{host}:{port}{}", headers::SCHEDULER_PATH));
    let url = url.map_err(|error| format!("the address {host}:{port}: {error}"))?;
    Ok(Leader { url, hosts })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = r#"{"address":{"hostname":"m2.example","ip":"10.0.0.2","port":5051},
        "capabilities":[{"type":"AGENT_UPDATE"},{"type":"SOMETHING_NEW"}],"hostname":"m2.example","id":"b8f3",
        "ip":33554442,"pid":"master@10.0.0.2:5051","port":5051,"version":"1.11.0"}"#;

    #[test]
    fn the_lowest_sequence_leads() {
        let nodes = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let some =
            nodes(&["log_replicas", "json.info_0000000010", "json.info_0000000009", "info_0000000001"]);
        assert_eq!(lowest(&some).unwrap(), "json.info_0000000009");
        assert_eq!(lowest(&nodes(&["log_replicas", "json.info_"])), None);
    }

    #[test]
    fn a_node_tells_the_address() {
        let plain = leader(NODE.as_bytes(), false).unwrap();
        assert_eq!(plain.url.as_str(), "http://10.0.0.2:5051/api/v1/scheduler");
        let tls = leader(NODE.as_bytes(), true).unwrap();
        assert_eq!(tls.url.as_str(), "https://m2.example:5051/api/v1/scheduler");
        for same in ["http://10.0.0.2:5051/", "http://m2.example:5051/api"] {
            assert!(plain.is(&Url::parse(same).unwrap()), "{same}");
        }
        assert!(!plain.is(&Url::parse("http://10.0.0.3:5051/").unwrap()));
        assert!(!plain.is(&Url::parse("http://10.0.0.2:5050/").unwrap()));
    }

    #[test]
    fn a_node_that_is_no_master_is_named() {
        assert!(leader(b"not json", false).unwrap_err().contains("JSON"));
        assert!(
            leader(br#"{"id":"x","ip":1,"port":70000,"hostname":"h"}"#, false).unwrap_err().contains("70000")
        );
        assert!(leader(br#"{"id":"x","ip":1,"port":5050}"#, false).unwrap_err().contains("address"));
    }
}
