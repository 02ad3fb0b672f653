//! One kind of socket for both transports, and what the kernel is asked to do with it.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

use rustix::pipe::{SpliceFlags, splice};
use socket2::{Domain, Protocol, SockAddr, Socket as Raw, TcpKeepalive, Type};
use tokio::io::unix::AsyncFd;

use crate::address::Address;

/// Connections that wait in the kernel to be accepted; it cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// A peer that answers no probe for this long in all is gone.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// Who is at the other end of an accepted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A context identifier of AF_VSOCK.
    Vsock(u32),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(at) => at.fmt(f),
            Self::Vsock(cid) => write!(f, "vsock:{cid}"),
        }
    }
}

impl Peer {
    fn of(address: &SockAddr) -> Option<Self> {
        if let Some(at) = address.as_socket() {
            return Some(Self::Ip(SocketAddr::new(at.ip().to_canonical(), at.port())));
        }
        address.as_vsock_address().map(|(cid, _)| Self::Vsock(cid))
    }

    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(at) => Some(at.ip()),
            Self::Vsock(_) => None,
        }
    }
}

/// A connected, non-blocking stream. Dropping it without [`Stream::part`] resets the connection, so that what was cut
/// never looks like what was finished.
#[derive(Debug)]
pub(crate) struct Stream {
    raw: Raw,
    parted: bool,
}

impl Stream {
    fn new(raw: Raw) -> Self {
        Self { raw, parted: false }
    }

    /// Begins a connection. It is made when the stream becomes writable and [`Stream::outcome`] says so.
    pub(crate) fn call(to: &Address) -> io::Result<Self> {
        let (domain, address) = socket_address(to);
        let raw = Raw::new(domain, Type::STREAM.nonblocking(), protocol(to))?;
        if matches!(to, Address::Tcp(_)) {
            raw.set_tcp_nodelay(true)?;
            raw.set_linger(CUT)?;
        }
        match raw.connect(&address) {
            Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
            _ => Ok(Self::new(raw)),
        }
    }

    /// Whether the connection could be made. To be asked once the stream is writable.
    pub(crate) fn outcome(&self) -> io::Result<()> {
        match self.raw.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// 0 is the end of the stream.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| (&self.raw).read(buffer))
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| (&self.raw).write(bytes))
    }

    /// Moves at most `len` bytes from the socket into an empty pipe. 0 is the end of the stream.
    pub(crate) fn splice_in(&self, pipe: &OwnedFd, len: usize) -> io::Result<usize> {
        uninterrupted(|| Ok(splice(&self.raw, None, pipe, None, len, FLAGS)?))
    }

    /// Moves at most `len` bytes from a pipe that holds as many into the socket.
    pub(crate) fn splice_out(&self, pipe: &OwnedFd, len: usize) -> io::Result<usize> {
        uninterrupted(|| Ok(splice(pipe, None, &self.raw, None, len, FLAGS)?))
    }

    /// Tells the peer that nothing more comes. A peer that is gone already needs no telling.
    pub(crate) fn end(&self) -> io::Result<()> {
        match self.raw.shutdown(Shutdown::Write) {
            Err(e) if e.kind() != io::ErrorKind::NotConnected => Err(e),
            _ => Ok(()),
        }
    }

    /// Both ends said all they had to: dropping closes without a reset.
    pub(crate) fn part(&mut self) {
        self.parted = true;
    }

    pub(crate) fn local_ip(&self) -> Option<SocketAddr> {
        self.raw.local_addr().ok()?.as_socket()
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.raw.as_raw_fd()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // AF_VSOCK refuses both and resets by itself where data is lost. A listening socket of an older process may not have handed
        // the option on.
        let _ = self.raw.set_linger(if self.parted { None } else { CUT });
    }
}

/// Linger zero turns a close into a reset. Sockets have it from the start, so that a process that is killed cuts its connections
/// and does not end them.
const CUT: Option<Duration> = Some(Duration::ZERO);

const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Whether a guest takes connections: makes one and closes it in order, since a reset would look like an attack in the guest's
/// counters. The caller bounds the time.
pub(crate) async fn knock(at: &Address) -> io::Result<()> {
    let mut stream = Stream::call(at)?;
    stream.part();
    let fd = watched(stream.raw.try_clone()?)?;
    fd.writable().await?.retain_ready();
    match fd.get_ref().take_error()? {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Registers a socket with this thread's event loop.
#[allow(
    deprecated,
    reason = "its successor is unsafe for types whose descriptor may change; socket2 keeps one until it is dropped"
)]
pub(crate) fn watched(raw: Raw) -> io::Result<AsyncFd<Raw>> {
    AsyncFd::new(raw)
}

/// A connection that waits already, or `WouldBlock`.
pub(crate) fn accept(listener: &Raw) -> io::Result<(Stream, Peer)> {
    let (raw, address) = listener.accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)?;
    let peer = Peer::of(&address).ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
    Ok((Stream::new(raw), peer))
}

/// Binds one listening socket per worker (TCP: SO_REUSEPORT, the kernel spreads the connections) or one for all (AF_VSOCK).
/// The first entry's port replaces port 0 in the others.
pub(crate) fn bind(at: &Address, workers: usize) -> io::Result<Vec<Raw>> {
    let Address::Tcp(asked) = at else {
        return Ok(vec![bind_one(at)?]);
    };
    // SO_REUSEPORT would share the port with another proxy of the same user without a word.
    let probe = Raw::new(Domain::for_address(*asked), Type::STREAM, Some(Protocol::TCP))?;
    probe.set_reuse_address(true)?;
    probe.bind(&SockAddr::from(*asked))?;
    drop(probe);
    let first = bind_one(at)?;
    let port = first.local_addr()?.as_socket().map_or(asked.port(), |a| a.port());
    let same = Address::Tcp(SocketAddr::new(asked.ip(), port));
    let mut all = vec![first];
    for _ in 1..workers {
        all.push(bind_one(&same)?);
    }
    Ok(all)
}

fn bind_one(at: &Address) -> io::Result<Raw> {
    let (domain, address) = socket_address(at);
    let raw = Raw::new(domain, Type::STREAM.nonblocking(), protocol(at))?;
    if let Address::Tcp(ip) = at {
        raw.set_reuse_address(true)?;
        raw.set_reuse_port(true)?;
        if ip.is_ipv6() {
            raw.set_only_v6(!ip.ip().is_unspecified())?;
        }
        // Linux hands these on to every accepted socket, which saves system calls per connection.
        raw.set_tcp_nodelay(true)?;
        raw.set_linger(CUT)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES);
        raw.set_tcp_keepalive(&keepalive)?;
    }
    raw.bind(&address)?;
    raw.listen(BACKLOG)?;
    Ok(raw)
}

/// Where a listening socket really is.
pub(crate) fn bound_address(raw: &Raw, asked: &Address) -> Address {
    let local = raw.local_addr().ok().and_then(|a| a.as_socket());
    local.map_or(*asked, Address::Tcp)
}

fn protocol(at: &Address) -> Option<Protocol> {
    matches!(at, Address::Tcp(_)).then_some(Protocol::TCP)
}

fn socket_address(at: &Address) -> (Domain, SockAddr) {
    match at {
        Address::Tcp(at) => (Domain::for_address(*at), SockAddr::from(*at)),
        Address::Vsock { cid, port } => (Domain::VSOCK, SockAddr::vsock(*cid, *port)),
    }
}
