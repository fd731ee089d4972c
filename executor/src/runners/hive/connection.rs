//! A connection to HiveServer2: TCP or TLS, the SASL handshake and its frames. Every wait has a deadline, every message
//! a largest size.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::service::Error;
use super::{Auth, Way};

/// Longest time to connect to one address.
const CONNECT_MAX: Duration = Duration::from_secs(10);
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
}

impl Connection {
    /// Connects and says who it is.
    pub fn open(way: &Way, password: &str) -> Result<Self, Error> {
        let away = |error: io::Error| Error::Away(format!("no HiveServer2 at {}: {error}", way.server));
        let socket = connect(way).map_err(away)?;
        socket.set_nodelay(true).map_err(away)?;
        let stream: Box<dyn Duplex> = match way.tls {
            true => Box::new(encrypted(way, socket.try_clone().map_err(away)?)?),
            false => Box::new(socket.try_clone().map_err(away)?),
        };
        let mut connection = Connection {
            stream,
            socket,
            is_framed: false,
            buffer: Vec::new(),
            read: 0,
            deadline: Instant::now() + CONNECT_MAX,
            bytes_left: 0,
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
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
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
        (self.buffer, self.read) = (buffer, 0);
        Ok(())
    }

    fn allow(&mut self, bytes: usize) -> io::Result<()> {
        let too_large = || io::Error::other(format!("an answer of more than {MESSAGE_BYTES_MAX} bytes"));
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or_else(too_large)?;
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

fn connect(way: &Way) -> io::Result<TcpStream> {
    let mut refused = io::Error::other("the name has no address");
    for address in way.server.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_MAX) {
            Ok(socket) => return Ok(socket),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn encrypted(way: &Way, socket: TcpStream) -> Result<StreamOwned<ClientConnection, TcpStream>, Error> {
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
    let client = ClientConnection::new(Arc::new(config), name).map_err(|error| bad(&error))?;
    Ok(StreamOwned::new(client, socket))
}
