//! Where connections come from: one trait over TCP and AF_VSOCK. Neither says who connects; the channel does.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio_vsock::{VMADDR_CID_ANY, VsockAddr, VsockListener, VsockStream};

/// An address to serve on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenAddress {
    /// `127.0.0.1:8443`; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// `vsock:PORT`, reachable from the host alone.
    Vsock {
        /// The port.
        port: u32,
    },
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Vsock { port } => write!(f, "vsock:{port}"),
        }
    }
}

/// The text is no [`ListenAddress`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected an IP address and port such as 127.0.0.1:8443 or [::1]:8443, or vsock:PORT")]
pub struct ListenAddressError;

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("vsock:") {
            Some(port) => port
                .parse()
                .map(|port| Self::Vsock { port })
                .map_err(|_| ListenAddressError),
            None => text.parse().map(Self::Tcp).map_err(|_| ListenAddressError),
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// Why nothing can be served there.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The kernel refused; usually the port is in use.
    #[error("listen on {address}: {source}; choose another address or stop what uses it")]
    Bind {
        /// Where.
        address: ListenAddress,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel has no AF_VSOCK, or the machine no such device.
    #[error(
        "listen on {address}: {source}; AF_VSOCK needs CONFIG_VIRTIO_VSOCKETS in the guest and a vhost-vsock-pci device from the host; use a TCP address behind the host proxy otherwise"
    )]
    Vsock {
        /// Where.
        address: ListenAddress,
        /// What the kernel said.
        source: io::Error,
    },
    /// An address of the other kind was meant for this listener.
    #[error("listen on {address}: expected {expected}")]
    Kind {
        /// Where.
        address: ListenAddress,
        /// What is accepted.
        expected: &'static str,
    },
}

impl TransportError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bind { .. } => "listen.bind",
            Self::Vsock { .. } => "listen.vsock",
            Self::Kind { .. } => "listen.kind",
        }
    }
}

/// One connection's bytes.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Writes as much as can be written at once of what is the last, right before the connection is closed. The end of the
    /// stream may then travel with it.
    ///
    /// # Errors
    /// As a socket's; `WouldBlock` if nothing can be written at once.
    fn try_write_last(&self, bytes: &[u8]) -> io::Result<usize>;
}

impl Wire for TcpStream {
    fn try_write_last(&self, bytes: &[u8]) -> io::Result<usize> {
        // The kernel holds back what is marked so until more comes, and here the end comes: one segment instead of two.
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        self.try_io(Interest::WRITABLE, || Ok(rustix::net::send(self, bytes, flags)?))
    }
}

impl Wire for VsockStream {
    fn try_write_last(&self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// A source of connections.
pub trait Listener: Send + 'static {
    /// One connection.
    type Stream: Wire;

    /// The next connection. An error concerns that connection alone.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Where it listens, with the port that the kernel chose.
    fn address(&self) -> ListenAddress;
}

/// TCP without delay.
pub struct Tcp {
    listener: TcpListener,
    address: SocketAddr,
}

impl Tcp {
    /// Binds.
    ///
    /// # Errors
    /// [`TransportError`].
    pub async fn bind(address: ListenAddress) -> Result<Self, TransportError> {
        let wanted = match address {
            ListenAddress::Tcp(wanted) => wanted,
            ListenAddress::Vsock { .. } => {
                let expected = "IP:PORT";
                return Err(TransportError::Kind { address, expected });
            }
        };
        let failed = |source| TransportError::Bind { address, source };
        let listener = TcpListener::bind(wanted).await.map_err(failed)?;
        // Its connections inherit it (tcp(7)).
        rustix::net::sockopt::set_tcp_nodelay(&listener, true).map_err(|error| failed(error.into()))?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }
}

impl Listener for Tcp {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = self.listener.accept().await?;
        Ok(stream)
    }

    fn address(&self) -> ListenAddress {
        ListenAddress::Tcp(self.address)
    }
}

/// AF_VSOCK: streams from the host, without a network.
pub struct Vsock {
    listener: VsockListener,
    port: u32,
}

impl Vsock {
    /// Binds for every context identifier: a guest has one, which the host chose.
    ///
    /// # Errors
    /// [`TransportError`].
    pub fn bind(address: ListenAddress) -> Result<Self, TransportError> {
        let ListenAddress::Vsock { port } = address else {
            let expected = "vsock:PORT";
            return Err(TransportError::Kind { address, expected });
        };
        match VsockListener::bind(VsockAddr::new(VMADDR_CID_ANY, port)) {
            Ok(listener) => Ok(Self { listener, port }),
            Err(source) => Err(TransportError::Vsock { address, source }),
        }
    }
}

impl Listener for Vsock {
    type Stream = VsockStream;

    async fn accept(&mut self) -> io::Result<VsockStream> {
        let (stream, _) = self.listener.accept().await?;
        Ok(stream)
    }

    fn address(&self) -> ListenAddress {
        ListenAddress::Vsock { port: self.port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_read_and_unusable_ones_named() {
        assert_eq!("vsock:5000".parse(), Ok(ListenAddress::Vsock { port: 5000 }));
        for bad in ["localhost:80", "vsock:", "vsock:-1", "1.2.3.4", ""] {
            assert_eq!(bad.parse::<ListenAddress>(), Err(ListenAddressError), "{bad}");
        }
        let vsock = Tcp::bind(ListenAddress::Vsock { port: 1 }).await.err().unwrap();
        assert_eq!(vsock.code(), "listen.kind");
        let tcp = Vsock::bind("127.0.0.1:0".parse().unwrap()).err().unwrap();
        assert_eq!(tcp.code(), "listen.kind");
        let mut first = Tcp::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let connecting = TcpStream::connect(first.address);
        let (accepted, connected) = tokio::join!(first.accept(), connecting);
        assert!(accepted.unwrap().nodelay().unwrap() && connected.is_ok());
        let second = Tcp::bind(first.address()).await.err().unwrap();
        assert_eq!(second.code(), "listen.bind");
        assert!(second.to_string().contains("stop what uses it"), "{second}");
    }
}
