//! One port for both: connections that begin with the link's preamble are agents', all others are HTTP.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::link::PREAMBLE;

/// How long a new connection may take to say what it is.
const PREAMBLE_WAIT: Duration = Duration::from_secs(10);

/// The HTTP half of a listening socket.
pub struct HttpListener {
    address: SocketAddr,
    connections: mpsc::Receiver<(TcpStream, SocketAddr)>,
}

/// Divides a listening socket.
pub fn split(socket: TcpListener) -> io::Result<(HttpListener, mpsc::Receiver<TcpStream>)> {
    let address = socket.local_addr()?;
    let (to_http, connections) = mpsc::channel(64);
    let (to_links, links) = mpsc::channel(64);
    tokio::spawn(async move {
        loop {
            match socket.accept().await {
                Ok((stream, peer)) => {
                    tokio::spawn(sort(stream, peer, to_http.clone(), to_links.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
    Ok((HttpListener { address, connections }, links))
}

async fn sort(
    mut stream: TcpStream,
    peer: SocketAddr,
    to_http: mpsc::Sender<(TcpStream, SocketAddr)>,
    to_links: mpsc::Sender<TcpStream>,
) {
    // Small events must not wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    let mut first = [0; 8];
    // The shortest request line is longer than the preamble, so this waits for whole ones only.
    let peeked = tokio::time::timeout(PREAMBLE_WAIT, async {
        loop {
            let seen = stream.peek(&mut first).await?;
            if seen == 0 || seen == first.len() || first.get(..seen) != PREAMBLE.get(..seen) {
                return io::Result::Ok(seen);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let is_link = matches!(peeked.await, Ok(Ok(seen)) if seen == first.len() && first == *PREAMBLE);
    if !is_link {
        // Without a receiver the process is ending.
        let _ = to_http.send((stream, peer)).await;
    } else if stream.read_exact(&mut first).await.is_ok() {
        let _ = to_links.send(stream).await;
    }
}

impl axum::serve::Listener for HttpListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.connections.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}
