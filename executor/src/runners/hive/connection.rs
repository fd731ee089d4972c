//! A connection to HiveServer2: TCP or TLS, the SASL handshake and its frames. Every wait has a deadline, every message
//! a largest size.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::service::Error;
use super::{Auth, Way};

/// Largest message in either direction.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Read at once.
const READ_BYTES: usize = 64 * 1024;
/// Longest answer to a handshake.
const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;

/// What a SASL handshake says.
const START: u8 = 1;
const OK: u8 = 2;
const BAD: u8 = 3;
const ERROR: u8 = 4;
const COMPLETE: u8 = 5;

trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// The connection. Reading gives what the server's messages hold, without frames.
pub struct Connection {
    stream: Box<dyn Duplex>,
    /// The socket of the stream, by which waits are bounded.
    socket: TcpStream,
    is_framed: bool,
    /// Received and not yet read.
    buffer: Vec<u8>,
    read: usize,
    deadline: Instant,
    /// What may still be received for the message that is being read.
    bytes_left: usize,
    /// Whether the last answer was larger than that.
    is_too_large: bool,
}

impl Connection {
    /// Connects and says who it is, all of it until the deadline: to this address where one is known, else to one of those
    /// that the server's name has.
    pub fn open(
        way: &Way,
        password: &str,
        peer: Option<SocketAddr>,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let away = |error: io::Error| Error::Away(format!("no HiveServer2 at {}: {error}", way.server));
        let addresses = peer.map_or_else(|| addresses(&way.server, deadline), |peer| Ok(vec![peer]));
        let socket = addresses.and_then(|addresses| connect(&addresses, deadline)).map_err(away)?;
        socket.set_nodelay(true).map_err(away)?;
        let stream: Box<dyn Duplex> = match way.tls {
            true => Box::new(encrypted(way, socket.try_clone().map_err(away)?, deadline)?),
            false => Box::new(socket.try_clone().map_err(away)?),
        };
        let mut connection = Connection {
            stream,
            socket,
            is_framed: false,
            buffer: Vec::new(),
            read: 0,
            deadline,
            bytes_left: 0,
            is_too_large: false,
        };
        if way.auth == Auth::Plain {
            connection.shake_hands(&way.user, password).map_err(|error| match error {
                Error::Away(message) => Error::Away(format!(
                    "{} broke off the SASL handshake: {message} (a server without SASL needs auth: nosasl, one with TLS \
                     tls: true)",
                    way.server
                )),
                other => other,
            })?;
            connection.is_framed = true;
        }
        Ok(connection)
    }

    /// Where the server is.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.socket.peer_addr().ok()
    }

    /// Size of what was received since the last message was sent.
    pub fn received(&self) -> usize {
        MESSAGE_BYTES_MAX - self.bytes_left
    }

    /// Whether the last answer was larger than any may be.
    pub fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    fn shake_hands(&mut self, user: &str, password: &str) -> Result<(), Error> {
        let identity = format!("\0{user}\0{password}");
        self.say(START, b"PLAIN")?;
        self.say(OK, identity.as_bytes())?;
        loop {
            let mut header = [0; 5];
            self.receive(&mut header)?;
            let [status, length @ ..] = header;
            let length = u32::from_be_bytes(length) as usize;
            if length > HANDSHAKE_BYTES_MAX {
                return Err(Error::Strange(format!("a handshake of {length} bytes")));
            }
            let mut said = vec![0; length];
            self.receive(&mut said)?;
            match status {
                OK => self.say(COMPLETE, b"")?,
                COMPLETE => return Ok(()),
                BAD | ERROR => return Err(Error::Refused(String::from_utf8_lossy(&said).into_owned())),
                other => return Err(Error::Strange(format!("a handshake with status {other}"))),
            }
        }
    }

    fn say(&mut self, status: u8, said: &[u8]) -> io::Result<()> {
        let length = u32::try_from(said.len()).map_err(io::Error::other)?;
        let mut message = vec![status];
        message.extend(length.to_be_bytes());
        message.extend(said);
        self.transmit(&message)
    }

    /// Sends a message; its answer must have come in `wait`.
    pub fn send(&mut self, message: &[u8], wait: Duration) -> io::Result<()> {
        self.deadline = Instant::now() + wait;
        self.bytes_left = MESSAGE_BYTES_MAX;
        self.is_too_large = false;
        // Of an answer that made no sense.
        self.buffer.clear();
        self.read = 0;
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(io::Error::other(format!("a message of {} bytes is too large", message.len())));
        }
        if !self.is_framed {
            return self.transmit(message);
        }
        let length = u32::try_from(message.len()).map_err(io::Error::other)?;
        self.transmit(&[&length.to_be_bytes(), message].concat())
    }

    fn transmit(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.set_write_timeout(Some(self.wait()?))?;
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).map_err(told)
    }

    /// What is left of the time.
    fn wait(&self) -> io::Result<Duration> {
        left(self.deadline)
    }

    fn receive_some(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.wait()?))?;
        match self.stream.read(to) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")),
            received => received.map_err(told),
        }
    }

    fn receive(&mut self, to: &mut [u8]) -> io::Result<()> {
        let mut received = 0;
        while received < to.len() {
            received += self.receive_some(&mut to[received..])?;
        }
        Ok(())
    }

    /// Takes in the next frame, or what is there of a stream without frames.
    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.read = 0;
        if self.is_framed {
            let mut length = [0; 4];
            self.receive(&mut length)?;
            let length = u32::from_be_bytes(length) as usize;
            self.allow(length)?;
            buffer.resize(length, 0);
            self.receive(&mut buffer)?;
        } else {
            buffer.resize(READ_BYTES, 0);
            let received = self.receive_some(&mut buffer)?;
            self.allow(received)?;
            buffer.truncate(received);
        }
        self.buffer = buffer;
        Ok(())
    }

    fn allow(&mut self, bytes: usize) -> io::Result<()> {
        let Some(left) = self.bytes_left.checked_sub(bytes) else {
            // What reads Thrift makes a text of every error.
            self.is_too_large = true;
            return Err(io::Error::other(format!("an answer of more than {MESSAGE_BYTES_MAX} bytes")));
        };
        self.bytes_left = left;
        Ok(())
    }
}

impl Read for Connection {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        // A frame may be empty.
        while self.read == self.buffer.len() {
            self.fill()?;
        }
        let from = &self.buffer[self.read..];
        let length = from.len().min(to.len());
        to[..length].copy_from_slice(&from[..length]);
        self.read += length;
        Ok(length)
    }
}

/// A socket says that it would block when its time is over.
fn told(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

/// What is left until a deadline.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The addresses of a name. The system looks them up without any limit of time, so a thread does that may be left behind.
fn addresses(server: &str, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    let (send, receive) = mpsc::channel();
    let name = server.to_owned();
    std::thread::Builder::new().name("resolve".to_owned()).spawn(move || {
        // Nobody waits any more once the time is over.
        let _ = send.send(name.to_socket_addrs().map(Vec::from_iter));
    })?;
    match receive.recv_timeout(left(deadline)?) {
        Ok(found) => found,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "its name was not resolved in time")),
    }
}

fn connect(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut refused = io::Error::other("the name has no address");
    for (address, rest) in addresses.iter().zip((1..=addresses.len()).rev()) {
        // Addresses that follow have their part of the time.
        let wait = left(deadline)? / u32::try_from(rest).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, wait.max(Duration::from_millis(1))) {
            Ok(socket) => return Ok(socket),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn encrypted(
    way: &Way,
    mut socket: TcpStream,
    deadline: Instant,
) -> Result<StreamOwned<ClientConnection, TcpStream>, Error> {
    let bad = |error: &dyn std::fmt::Display| Error::Settings(format!("TLS to {}: {error}", way.server));
    let mut roots = RootCertStore::empty();
    if way.ca_file.is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    } else {
        let read = CertificateDer::pem_file_iter(Path::new(&way.ca_file));
        let unread = |error| bad(&format!("hive_ca_file {}: {error}", way.ca_file));
        for certificate in read.map_err(unread)? {
            roots.add(certificate.map_err(unread)?).map_err(|error| bad(&error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(way.host().to_owned()).map_err(|error| bad(&error))?;
    let mut client = ClientConnection::new(Arc::new(config), name).map_err(|error| bad(&error))?;
    let wait = left(deadline)?;
    socket.set_read_timeout(Some(wait)).and_then(|()| socket.set_write_timeout(Some(wait)))?;
    // Certificates are judged here.
    client.complete_io(&mut socket).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => bad(&error),
        _ => Error::Away(format!("TLS to {}: {}", way.server, told(error))),
    })?;
    Ok(StreamOwned::new(client, socket))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that shakes hands, answers the first message with these bytes, and hangs up or stays silent.
    fn connected(answer: &'static [u8], hangs_up: bool) -> (Connection, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Way {
            server: listener.local_addr().unwrap().to_string(),
            user: "me".to_owned(),
            auth: Auth::Plain,
            tls: false,
            ca_file: String::new(),
            password_file: String::new(),
            call_timeout_ms: 0,
        };
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut said = [0; 25];
            stream.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"\x01\0\0\0\x05PLAIN\x02\0\0\0\x0a\0me\0secret");
            stream.write_all(b"\x05\0\0\0\0").unwrap();
            stream.read_exact(&mut said[..5]).unwrap();
            assert_eq!(&said[..5], b"\0\0\0\x01x");
            stream.write_all(answer).unwrap();
            if !hangs_up {
                // Until the client has gone.
                let _ = stream.read(&mut said);
            }
        });
        let deadline = Instant::now() + Duration::from_secs(10);
        (Connection::open(&way, "secret", None, deadline).unwrap(), server)
    }

    fn answer(connection: &mut Connection, bytes: usize) -> io::Result<Vec<u8>> {
        let mut answer = vec![0; bytes];
        connection.read_exact(&mut answer).map(|()| answer)
    }

    const WAIT: Duration = Duration::from_millis(200);

    #[test]
    fn frames_are_taken_apart() {
        let (mut connection, server) = connected(b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c", false);
        connection.send(b"x", WAIT).unwrap();
        assert_eq!(answer(&mut connection, 3).unwrap(), b"abc");
        assert_eq!(connection.received(), 3);
        // Nothing more comes, and that is not waited for longer than was said.
        assert_eq!(answer(&mut connection, 1).unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(connection);
        server.join().unwrap();
    }

    #[test]
    fn a_server_that_goes_away_is_told_again_and_again() {
        let (mut connection, server) = connected(b"\0\0\0\x01a\0\0\0\x09ab", true);
        connection.send(b"x", WAIT).unwrap();
        server.join().unwrap();
        assert_eq!(answer(&mut connection, 1).unwrap(), b"a");
        assert!(answer(&mut connection, 1).is_err());
        let again = connection.send(b"x", WAIT).and_then(|()| answer(&mut connection, 1));
        assert!(again.is_err());
    }

    #[test]
    fn a_message_has_a_largest_size() {
        let (mut connection, server) = connected(b"\x7f\xff\xff\xff", false);
        connection.send(b"x", WAIT).unwrap();
        let refused = answer(&mut connection, 1).unwrap_err();
        assert!(refused.to_string().contains("more than") && connection.is_too_large(), "{refused}");
        drop(connection);
        server.join().unwrap();
    }

    #[test]
    fn nobody_is_waited_for_longer_than_was_said() {
        let began = Instant::now();
        // Addresses that answer nothing, whatever this machine's network is.
        let nowhere = ["192.0.2.1:1", "192.0.2.2:1"].map(|address| address.parse().unwrap());
        assert!(connect(&nowhere, began + WAIT).is_err());
        assert!(connect(&nowhere, began).is_err());
        assert!(addresses("localhost:1", Instant::now()).is_err());
        assert!(began.elapsed() < WAIT * 10);
    }
}
