//! A server of our own that does what a test tells it, byte by byte. It knows as much HTTP as the tests need.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use meson_mesos::{Encoding, headers, recordio};
use prost::{Message, Name};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// No test waits longer for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A request that was read whole.
pub struct Request {
    pub path: String,
    /// With names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    /// The call in its body, in the encoding that its headers name.
    pub fn call<M: Message + Name + Default>(&self) -> M {
        let encoding = Encoding::of_media_type(self.header("content-type").unwrap()).unwrap();
        encoding.decode(&self.body).unwrap()
    }
}

/// Answers one request; dropping it closes the connection.
pub struct Reply(Box<dyn Connection>);

impl Reply {
    pub async fn status(mut self, status: &str, more: &[(&str, &str)], body: &str) {
        let mut head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
        for (name, value) in more {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let _ = self.0.write_all(format!("{head}\r\n{body}").as_bytes()).await;
        let _ = self.0.shutdown().await;
    }

    pub async fn accepted(self) {
        self.status("202 Accepted", &[], "").await;
    }

    /// Begins an endless answer.
    pub async fn stream(mut self, stream_id: Option<&str>, encoding: Encoding) -> Stream {
        let mut head = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: {}\r\n",
            encoding.media_type()
        );
        if let Some(id) = stream_id {
            head.push_str(&format!("{}: {id}\r\n", headers::STREAM_ID));
        }
        self.0.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        Stream { connection: self.0, encoding }
    }
}

/// An endless answer. Dropping it closes the connection without the end that HTTP demands.
pub struct Stream {
    connection: Box<dyn Connection>,
    encoding: Encoding,
}

impl Stream {
    /// One chunk with these bytes.
    pub async fn chunk(&mut self, bytes: &[u8]) {
        let _ = self.connection.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await;
        let _ = self.connection.write_all(bytes).await;
        let _ = self.connection.write_all(b"\r\n").await;
        let _ = self.connection.flush().await;
    }

    /// One event in one chunk.
    pub async fn event<W: Message + Name>(&mut self, event: impl Into<W>) {
        let record = self.encoding.encode(&event.into());
        self.chunk(&recordio::encode(&record)).await;
    }

    /// Ends it properly.
    pub async fn finish(mut self) {
        let _ = self.connection.write_all(b"0\r\n\r\n").await;
        let _ = self.connection.shutdown().await;
    }

    /// Waits until the client closes the connection.
    pub async fn closed_by_client(mut self) {
        let mut byte = [0];
        let read = tokio::time::timeout(PATIENCE, self.connection.read(&mut byte)).await;
        assert!(matches!(read.expect("the client keeps the connection"), Ok(0) | Err(_)));
    }
}

/// Hands each request to the test.
pub struct FakeServer {
    pub address: SocketAddr,
    requests: mpsc::UnboundedReceiver<(Request, Reply)>,
}

impl FakeServer {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    pub async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (sender, tls) = (sender.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(Box::new(socket), sender).await,
                        Some(acceptor) => {
                            if let Ok(secure) = acceptor.accept(socket).await {
                                serve(Box::new(secure), sender).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, requests }
    }

    pub fn start_unix(listener: UnixListener) -> Self {
        let (sender, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(Box::new(socket), sender.clone()));
            }
        });
        Self { address: SocketAddr::from(([127, 0, 0, 1], 1)), requests }
    }

    /// The next request, which has to come.
    pub async fn next(&mut self) -> (Request, Reply) {
        let next = tokio::time::timeout(PATIENCE, self.requests.recv()).await;
        next.expect("a request comes").expect("the server runs")
    }

    /// Whether there is no request waiting.
    pub fn is_idle(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }
}

/// Reads one request and hands it over with the connection.
async fn serve(mut connection: Box<dyn Connection>, sender: mpsc::UnboundedSender<(Request, Reply)>) {
    let mut bytes = Vec::new();
    let head_ends = loop {
        if let Some(index) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break index;
        }
        match connection.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    };
    let head = String::from_utf8(bytes[..head_ends].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = bytes[head_ends + 4..].to_vec();
    while body.len() < length {
        if connection.read_buf(&mut body).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let _ = sender.send((Request { path, headers, body }, Reply(connection)));
}

/// The next signal, which has to come.
pub async fn soon<T>(what: &str, future: impl Future<Output = Option<T>>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what} does not come"))
        .expect(what)
}
