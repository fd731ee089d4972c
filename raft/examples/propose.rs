//! Measures how fast one replica acknowledges commands of 256 bytes, and how large its directory grows meanwhile.
//!
//! `propose DIRECTORY CLIENTS SECONDS`: prints one line with the rate, the median and the largest directory. The
//! directory should be on the disk to be judged. One replica alone shows the disk best: a trio adds the network.

#![allow(clippy::print_stdout, reason = "its purpose is to print")]

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meson_raft::{Applied, Config, Member, Position, Replica, SnapshotView, StateMachine};

const COMMAND_BYTES: usize = 256;

/// Counts commands.
struct Counter(u64);

impl StateMachine for Counter {
    fn apply(&mut self, _: Position, commands: &[Bytes]) -> std::io::Result<Applied> {
        self.0 += commands.len() as u64;
        Ok(Applied { outcomes: vec![Bytes::new(); commands.len()], archive: Vec::new() })
    }

    fn snapshot(&self) -> Box<dyn SnapshotView> {
        Box::new(Counter(self.0))
    }

    fn restore(&mut self, input: &mut dyn Read) -> std::io::Result<()> {
        let mut count = [0; 8];
        input.read_exact(&mut count)?;
        self.0 = u64::from_le_bytes(count);
        Ok(())
    }
}

impl SnapshotView for Counter {
    fn write(self: Box<Self>, out: &mut dyn Write) -> std::io::Result<()> {
        out.write_all(&self.0.to_le_bytes())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, clients, seconds] = &arguments[..] else {
        return Err("usage: propose DIRECTORY CLIENTS SECONDS".into());
    };
    let (clients, seconds): (usize, u64) = (clients.parse()?, seconds.parse()?);
    let replica = Replica::open(Config::new(1, 1, directory), Counter(0)).await?;
    replica.initialize(vec![Member { node_id: 1, ..Member::default() }]).await?;
    while replica.read_barrier().await.is_err() {
        tokio::task::yield_now().await;
    }

    let end = Instant::now() + Duration::from_secs(seconds);
    let started = Instant::now();
    let working: Vec<_> = (0..clients).map(|_| tokio::spawn(client(replica.clone(), end))).collect();
    let mut largest = 0;
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(100)).await;
        largest = largest.max(size_of(Path::new(directory)));
    }
    let mut latencies = Vec::new();
    for client in working {
        latencies.extend(client.await?);
    }
    let rate = latencies.len() as f64 / started.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).copied().unwrap_or_default();
    println!(
        "{clients} clients: {rate:.0}/s, p50 {:?}, p99 {:?}, {} commands, largest directory {:.1} MB",
        at(0.5),
        at(0.99),
        latencies.len(),
        largest as f64 / 1e6
    );
    replica.shutdown().await;
    Ok(())
}

/// Proposes one command after the other; gives how long each took.
async fn client(replica: Replica, end: Instant) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let before = Instant::now();
        if replica.propose(vec![b'x'; COMMAND_BYTES].into()).await.is_ok() {
            latencies.push(before.elapsed());
        }
    }
    latencies
}

fn size_of(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => size_of(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
