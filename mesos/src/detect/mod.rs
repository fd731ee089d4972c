//! Who leads: from a list of masters, of which the ones that do not lead point to the one that does, or from ZooKeeper.

mod masters;
mod zookeeper;

pub use masters::{MASTER_PORT, Masters, ZooKeeperUrl};

use std::time::Duration;

use reqwest::Url;

use crate::{Error, headers};
use zookeeper::Watch;

/// Finds the leader, again and again.
pub(crate) enum Detector {
    /// Masters in turn, as addresses of their scheduler API.
    List { urls: Vec<Url>, next: usize },
    /// What ZooKeeper says.
    ZooKeeper(Watch),
}

impl Detector {
    /// `https` is for addresses that do not say how to talk to them.
    pub fn start(masters: &Masters, https: bool) -> Result<Self, Error> {
        match masters {
            Masters::List(addresses) => {
                let urls: Vec<_> = addresses
                    .iter()
                    .map(|address| scheduler_url(address, https))
                    .collect::<Result<_, _>>()?;
                if urls.is_empty() {
                    return Err(Error::Settings("no masters".to_owned()));
                }
                Ok(Self::List { urls, next: 0 })
            }
            Masters::ZooKeeper(url) => Ok(Self::ZooKeeper(Watch::start(url.clone(), https))),
        }
    }

    /// A master to try now. From a list it is the next one, whether it leads or not.
    pub async fn leader(&mut self, within: Duration) -> Result<Url, Error> {
        match self {
            Self::List { urls, next } => {
                let url = urls[*next % urls.len()].clone();
                *next = (*next + 1) % urls.len();
                Ok(url)
            }
            Self::ZooKeeper(watch) => watch.leader(within).await,
        }
    }

    /// That master led when last tried: with a list, it is the first to try again.
    pub fn led(&mut self, url: &Url) {
        if let Self::List { urls, next } = self {
            match urls.iter().position(|known| known == url) {
                Some(index) => *next = index,
                // A leader that is not in the list was found by a redirect, and will be again.
                None => *next = 0,
            }
        }
    }

    /// Waits until another than these leads. From a list that is not to be learned.
    pub async fn changed_from(&mut self, known: &[Url]) -> Error {
        match self {
            Self::List { .. } => std::future::pending().await,
            Self::ZooKeeper(watch) => watch.changed_from(known).await,
        }
    }
}

/// The scheduler API of a master.
fn scheduler_url(master: &str, https: bool) -> Result<Url, Error> {
    let mut url = address(master, https)?;
    url.set_path(headers::SCHEDULER_PATH);
    Ok(url)
}

/// `host`, `host:port` or a URL, as the address of a master.
pub(crate) fn address(address: &str, https: bool) -> Result<Url, Error> {
    let wrong = |reason: String| Error::Settings(format!("master {address:?}: {reason}"));
    let scheme = if https { "https" } else { "http" };
    let whole = if address.contains("://") { address.to_owned() } else { format!("{scheme}://{address}") };
    let mut url = Url::parse(&whole).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong("neither http nor https, or without a host".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Not repeated, since it holds a secret.
        return Err(Error::Settings(
            "a master's address holds credentials: they belong into the settings".to_owned(),
        ));
    }
    // The port of a URL that names none is Mesos's, unless it is a whole URL, where it is the scheme's.
    if url.port().is_none()
        && !address.contains("://")
        && !address.ends_with(":80")
        && !address.ends_with(":443")
    {
        url.set_port(Some(MASTER_PORT)).map_err(|()| wrong("cannot have a port".to_owned()))?;
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_masters_are_completed() {
        for (address, https, wanted) in [
            ("m1", false, "http://m1:5050/api/v1/scheduler"),
            ("m1:5051", false, "http://m1:5051/api/v1/scheduler"),
            ("m1:80", false, "http://m1/api/v1/scheduler"),
            ("10.0.0.1:5050", true, "https://10.0.0.1:5050/api/v1/scheduler"),
            ("https://mesos.example", false, "https://mesos.example/api/v1/scheduler"),
            ("http://m1:5050/", true, "http://m1:5050/api/v1/scheduler"),
            ("[::1]:5050", false, "http://[::1]:5050/api/v1/scheduler"),
        ] {
            assert_eq!(scheduler_url(address, https).unwrap().as_str(), wanted, "{address}");
        }
        for address in ["", "ftp://m1", "http://", "m1:99999"] {
            assert!(scheduler_url(address, false).is_err(), "{address:?}");
        }
    }

    #[test]
    fn credentials_in_addresses_are_refused_and_not_shown() {
        let error = scheduler_url("http://alice:sesame@m1:5050", false).unwrap_err();
        assert!(
            error.to_string().contains("credentials") && !error.to_string().contains("sesame"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_list_is_tried_in_turn_and_a_leader_first() {
        let masters = "m1,m2,m3".parse().unwrap();
        let mut detector = Detector::start(&masters, false).unwrap();
        let mut hosts = Vec::new();
        for _ in 0..4 {
            hosts.push(detector.leader(Duration::ZERO).await.unwrap().host_str().unwrap().to_owned());
        }
        assert_eq!(hosts, ["m1", "m2", "m3", "m1"]);
        let third = scheduler_url("m3", false).unwrap();
        detector.led(&third);
        assert_eq!(detector.leader(Duration::ZERO).await.unwrap(), third);
    }
}
