//! The two transports behind one pair of traits: TCP for loopback and tests, AF_VSOCK for real guests.

use std::future::Future;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_vsock::{VsockAddr, VsockListener, VsockStream};

use crate::address::Address;

/// A connected byte stream.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// Takes connections in.
pub(crate) trait Accept: Send {
    type Stream: Stream;
    /// The next connection.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Opens connections to the guest.
pub(crate) trait Dial: Clone + Send + Sync + 'static {
    type Stream: Stream;
    /// A new connection.
    fn dial(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _peer) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Accept for VsockListener {
    type Stream = VsockStream;

    async fn accept(&self) -> io::Result<VsockStream> {
        let (stream, _peer) = VsockListener::accept(self).await?;
        Ok(stream)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct TcpDialer(pub(crate) std::net::SocketAddr);

impl Dial for TcpDialer {
    type Stream = TcpStream;

    async fn dial(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.0).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct VsockDialer(pub(crate) VsockAddr);

impl Dial for VsockDialer {
    type Stream = VsockStream;

    async fn dial(&self) -> io::Result<VsockStream> {
        VsockStream::connect(self.0).await
    }
}

/// A listener of either kind.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Vsock(VsockListener),
}

impl Listener {
    pub(crate) async fn bind(at: &Address) -> io::Result<Self> {
        match at {
            Address::Tcp(at) => TcpListener::bind(at).await.map(Self::Tcp),
            Address::Vsock { cid, port } => VsockListener::bind(VsockAddr::new(*cid, *port)).map(Self::Vsock),
        }
    }

    pub(crate) fn local_address(&self, asked: &Address) -> Address {
        match self {
            Self::Tcp(l) => l.local_addr().map_or(*asked, Address::Tcp),
            Self::Vsock(_) => *asked,
        }
    }
}
