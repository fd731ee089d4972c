//! What the network costs without any fault: its round trip and its throughput, beside the loopback of the same machine.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{Network, Port};

/// Messages that go there and back.
const ROUNDS: u32 = 2_000;

/// How long bytes are sent.
const SENDING: Duration = Duration::from_secs(2);

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Median time of one byte there and back, in microseconds.
    pub round_trip_micros: u64,
    /// Megabytes a second in one stream.
    pub megabytes_a_second: u64,
}

/// Measures one connection between two hosts of a network, and one over loopback.
///
/// # Errors
/// When the network cannot be made, or a connection breaks.
pub fn measure() -> anyhow::Result<(Cost, Cost)> {
    let network = Network::new(&["one".to_owned(), "two".to_owned()], 0)?;
    let address = SocketAddr::new(IpAddr::V4(Port(0).address()), 9_000);
    let listener = network.host(Port(0)).run(move || TcpListener::bind(address))??;
    let client = network.host(Port(1)).run(move || TcpStream::connect(address))??;
    let through_switch = cost(listener, client)?;

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((through_switch, cost(listener, client)?))
}

fn cost(listener: TcpListener, mut client: TcpStream) -> anyhow::Result<Cost> {
    client.set_nodelay(true)?;
    let server = std::thread::spawn(move || serve(listener));
    let mut times = Vec::new();
    let mut byte = [0];
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        client.write_all(&[1])?;
        client.read_exact(&mut byte)?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let begun = Instant::now();
    let chunk = vec![0; 1 << 16];
    while begun.elapsed() < SENDING {
        client.write_all(&chunk)?;
    }
    client.shutdown(std::net::Shutdown::Write)?;
    let bytes = server.join().ok().context("the server panicked")??;
    let micros = begun.elapsed().as_micros().max(1) as u64;
    Ok(Cost {
        round_trip_micros: times[times.len() / 2].as_micros() as u64,
        megabytes_a_second: bytes / micros,
    })
}

/// Answers the small messages and counts what comes then.
fn serve(listener: TcpListener) -> anyhow::Result<u64> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut byte = [0];
    for _ in 0..ROUNDS {
        stream.read_exact(&mut byte)?;
        stream.write_all(&byte)?;
    }
    let mut chunk = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        match stream.read(&mut chunk)? {
            0 => return Ok(bytes),
            length => bytes += length as u64,
        }
    }
}
