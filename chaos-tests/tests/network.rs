//! The network of the chaos tests does what it says, or no fault of it proves anything: links let everything through,
//! until they are cut one way or both, slow, or lossy; and are well again when healed.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use meson_chaos_tests::network::{Network, Port};

/// Longer than anything takes that comes at all.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// What a cut link is given to let something through.
const CUT_FOR: Duration = Duration::from_millis(200);

struct Ends {
    network: Network,
    sockets: Vec<UdpSocket>,
}

impl Ends {
    fn new() -> anyhow::Result<Ends> {
        let network = Network::new(&["one".to_owned(), "two".to_owned(), "three".to_owned()], 7)?;
        let bind = |port: Port| -> anyhow::Result<UdpSocket> {
            let address = (port.address(), 9_000);
            Ok(network.host(port).run(move || UdpSocket::bind(address))??)
        };
        let sockets = (0..3).map(|number| bind(Port(number))).collect::<anyhow::Result<_>>()?;
        Ok(Ends { network, sockets })
    }

    fn send(&self, from: u8, to: u8, what: &[u8]) -> anyhow::Result<()> {
        self.sockets[usize::from(from)].send_to(what, (Port(to).address(), 9_000))?;
        Ok(())
    }

    fn receive(&self, at: u8, within: Duration) -> Option<Vec<u8>> {
        let socket = &self.sockets[usize::from(at)];
        let mut buffer = [0; 64];
        socket.set_read_timeout(Some(within)).ok()?;
        let (length, _) = socket.recv_from(&mut buffer).ok()?;
        Some(buffer[..length].to_vec())
    }

    fn passes(&self, from: u8, to: u8) -> anyhow::Result<bool> {
        let links = self.network.rules().link(Port(from), Port(to));
        self.send(from, to, b"hello")?;
        let within = if links.cuts > 0 { CUT_FOR } else { ARRIVES_WITHIN };
        Ok(self.receive(to, within).is_some())
    }
}

#[test]
fn a_link_is_cut_one_way_and_both_and_heals() -> anyhow::Result<()> {
    let ends = Ends::new()?;
    let rules = ends.network.rules();
    assert!(ends.passes(0, 1)? && ends.passes(1, 0)? && ends.passes(0, 2)?);

    rules.change(Port(0), Port(1), |link| link.cuts = 1);
    assert!(!ends.passes(0, 1)?, "one way is cut");
    assert!(ends.passes(1, 0)?, "the other is not");
    assert!(ends.passes(0, 2)? && ends.passes(2, 1)?, "nor are others");
    rules.change(Port(1), Port(0), |link| link.cuts = 1);
    assert!(!ends.passes(1, 0)?, "both ways are cut");
    assert_eq!(ends.network.counts().cut, 2);

    rules.heal();
    assert!(ends.passes(0, 1)? && ends.passes(1, 0)?);
    assert!(ends.receive(1, CUT_FOR).is_none(), "what was swallowed does not come back");
    Ok(())
}

#[test]
fn a_slow_link_delays_and_keeps_the_order() -> anyhow::Result<()> {
    let ends = Ends::new()?;
    ends.network.rules().change(Port(0), Port(1), |link| {
        link.delay = Duration::from_millis(50);
        link.jitter = Duration::from_millis(100);
    });
    let begun = Instant::now();
    for number in 0..100 {
        ends.send(0, 1, &[number])?;
    }
    for number in 0..100 {
        let got = ends.receive(1, ARRIVES_WITHIN).with_context(|| format!("{number} does not arrive"))?;
        assert_eq!(got, [number]);
        assert!(begun.elapsed() >= Duration::from_millis(50), "{number} came after {:?}", begun.elapsed());
    }
    assert_eq!(ends.network.counts().delayed, 100);
    Ok(())
}

#[test]
fn a_lossy_link_loses_its_share() -> anyhow::Result<()> {
    let ends = Ends::new()?;
    ends.network.rules().change(Port(0), Port(1), |link| link.loss_in_thousand = 300);
    let mut arrived = 0;
    for _ in 0..500 {
        let before = ends.network.counts().lost;
        ends.send(0, 1, b"perhaps")?;
        // Either it arrives or the switch has counted it as lost.
        while ends.receive(1, Duration::from_millis(1)).map(|_| arrived += 1).is_none() {
            if ends.network.counts().lost > before {
                break;
            }
        }
    }
    let lost = ends.network.counts().lost;
    assert_eq!(arrived + lost, 500);
    assert!((100..200).contains(&lost), "{lost} of 500 were lost where 150 were expected");
    Ok(())
}

#[test]
fn nothing_of_it_is_in_the_machine_s_own_network() -> anyhow::Result<()> {
    let devices = || -> anyhow::Result<Vec<String>> {
        let entries = std::fs::read_dir("/sys/class/net")?.collect::<Result<Vec<_>, _>>()?;
        let mut names: Vec<_> =
            entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    };
    let before = devices()?;
    let ends = Ends::new()?;
    assert_eq!(devices()?, before);
    assert!(ends.passes(0, 1)?);
    let found = UdpSocket::bind((Port(0).address(), 9_000));
    assert!(found.is_err(), "the addresses are not the machine's");
    drop(ends);
    assert_eq!(devices()?, before);
    Ok(())
}
