//! How a user says where the masters are: a list, or a path in ZooKeeper.

use std::str::FromStr;

use crate::Error;

/// Where masters listen unless told otherwise.
pub const MASTER_PORT: u16 = 5050;
/// Where ZooKeeper listens unless told otherwise.
const ZOOKEEPER_PORT: u16 = 2181;

/// Where the masters are. From text: `m1:5050,m2:5050` or `zk://user:password@z1:2181,z2:2181/mesos`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Masters {
    /// Addresses, each `host`, `host:port` or a URL.
    List(Vec<String>),
    /// The path in ZooKeeper at which the masters elect their leader.
    ZooKeeper(ZooKeeperUrl),
}

/// A path in ZooKeeper.
#[derive(Clone, PartialEq, Eq)]
pub struct ZooKeeperUrl {
    /// `host:port`, separated by commas.
    pub servers: String,
    /// The path, like `/mesos`.
    pub path: String,
    /// `user:password` for the scheme `digest`.
    pub digest: Option<String>,
}

impl std::fmt::Debug for ZooKeeperUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hidden = if self.digest.is_some() { "…@" } else { "" };
        write!(formatter, "zk://{hidden}{}{}", self.servers, self.path)
    }
}

impl FromStr for Masters {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(rest) = text.trim().strip_prefix("zk://") {
            return zookeeper(rest).map(Self::ZooKeeper);
        }
        let list: Vec<_> =
            text.split(',').map(str::trim).filter(|address| !address.is_empty()).map(str::to_owned).collect();
        if list.is_empty() {
            return Err(Error::Settings("no masters".to_owned()));
        }
        Ok(Self::List(list))
    }
}

fn zookeeper(rest: &str) -> Result<ZooKeeperUrl, Error> {
    // The text may hold a password, so it is not repeated here.
    let wrong = |reason| Error::Settings(format!("zk://user:password@host:port,…/path: {reason}"));
    let slash = rest.rfind('@').map_or(0, |at| at + 1);
    let slash = rest[slash..].find('/').map(|index| slash + index).ok_or_else(|| wrong("no path"))?;
    let (authority, path) = rest.split_at(slash);
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return Err(wrong("the path is the root"));
    }
    let (digest, servers) = match authority.rsplit_once('@') {
        Some((digest, servers)) => (Some(digest), servers),
        None => (None, authority),
    };
    if digest.is_some_and(|digest| !digest.contains(':')) {
        return Err(wrong("a user without a password"));
    }
    let servers: Vec<_> =
        servers.split(',').map(str::trim).filter(|server| !server.is_empty()).map(with_port).collect();
    if servers.is_empty() {
        return Err(wrong("no servers"));
    }
    Ok(ZooKeeperUrl { servers: servers.join(","), path: path.to_owned(), digest: digest.map(str::to_owned) })
}

fn with_port(server: &str) -> String {
    let host_ends = server.rfind(']').map_or(0, |index| index + 1);
    if server[host_ends..].contains(':') { server.to_owned() } else { format!("{server}:{ZOOKEEPER_PORT}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_paths_are_told_apart() {
        let list =
            |addresses: &[&str]| Masters::List(addresses.iter().map(|&address| address.into()).collect());
        assert_eq!("m1:5050, m2".parse::<Masters>().unwrap(), list(&["m1:5050", "m2"]));
        let url = ZooKeeperUrl { servers: "z1:2181,z2:2182".into(), path: "/mesos".into(), digest: None };
        assert_eq!("zk://z1,z2:2182/mesos".parse::<Masters>().unwrap(), Masters::ZooKeeper(url.clone()));
        let secret = ZooKeeperUrl { digest: Some("u:p@ss/word".into()), ..url };
        let parsed: Masters = "zk://u:p@ss/word@z1:2181,z2:2182/mesos/".parse().unwrap();
        assert_eq!(parsed, Masters::ZooKeeper(secret));
    }

    #[test]
    fn passwords_are_not_shown() {
        let parsed: Masters = "zk://user:sesame@z1/mesos".parse().unwrap();
        assert!(!format!("{parsed:?}").contains("sesame"), "{parsed:?}");
        let error = "zk://user:sesame@z1".parse::<Masters>().unwrap_err();
        assert!(!error.to_string().contains("sesame"), "{error}");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for text in ["", " , ", "zk://", "zk://z1", "zk://z1/", "zk:///mesos", "zk://user@z1/mesos"] {
            assert!(text.parse::<Masters>().is_err(), "{text:?}");
        }
    }
}
