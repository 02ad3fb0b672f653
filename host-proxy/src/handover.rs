//! Hot restart: a new process asks the old one for its listening sockets over a Unix socket and takes them over as they are,
//! with the connections that wait in them. The old one then drains.
//!
//! Packets of a SEQPACKET socket, each at most 256 bytes: the new process sends `take 1`; the old one sends `listen ADDRESS`
//! with one descriptor for every socket, then `end`; once the new one accepts connections it sends `serving`; the old one
//! stops accepting, frees its metrics address and this socket, and sends `released`. If either goes away before `serving`, the
//! old one carries on as if nobody had asked.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use socket2::{Domain, SockAddr, Socket as Raw, Type};
use tokio::io::unix::AsyncFd;

use crate::error::ProxyError;
use crate::socket::watched;
use crate::socket_file::SocketFile;
use crate::state::State;

/// How long each side waits for the other's next packet.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often and how far apart it is looked whether a process that did not answer is going away.
const GOING_LOOKS: u32 = 3;
const GOING_PAUSE: Duration = Duration::from_millis(300);
const PACKET_BYTES_MAX: usize = 256;
const PACKETS_MAX: usize = 8192;

/// Held while a hand-over is under way: the configuration that a successor was told must not change under it.
pub(crate) type Gate = tokio::sync::Mutex<()>;

/// Where a successor asks.
pub(crate) struct Handover {
    listener: AsyncFd<Raw>,
    _file: SocketFile,
}

/// A successor that accepts connections already.
pub(crate) struct Successor(Raw);

impl Handover {
    /// Only this user may connect.
    pub(crate) fn bind(path: &Path) -> Result<Self, ProxyError> {
        let bind = || {
            let file = SocketFile::claim(path)?;
            let raw = Raw::new(Domain::UNIX, Type::SEQPACKET.nonblocking(), None)?;
            raw.bind(&SockAddr::unix(path)?)?;
            // Nobody can connect before the call of `listen`.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
            raw.listen(4)?;
            Ok(Self {
                listener: watched(raw)?,
                _file: file.bound(),
            })
        };
        bind().map_err(|e| ProxyError::listen(format!("unix:{}", path.display()), e))
    }

    /// Waits until a successor has the sockets and accepts connections. Attempts that fail are logged and forgotten.
    pub(crate) async fn successor(&self, gate: &Gate, state: impl Fn() -> std::sync::Arc<State>) -> Successor {
        loop {
            let Ok(mut guard) = self.listener.readable().await else {
                return std::future::pending().await;
            };
            let peer = match guard.get_inner().accept4(libc::SOCK_CLOEXEC) {
                Ok((peer, _)) => peer,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    guard.clear_ready();
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "hand-over socket");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            let _under_way = gate.lock().await;
            let state = state();
            match tokio::task::spawn_blocking(move || give(peer, &state)).await {
                Ok(Ok(successor)) => return successor,
                Ok(Err(error)) => tracing::warn!(%error, "hand-over failed; this process carries on"),
                Err(_) => tracing::warn!("hand-over failed; this process carries on"),
            }
        }
    }
}

impl Successor {
    /// To be called once everything that the successor needs is free.
    pub(crate) fn release(self) {
        // It goes on without this word after a while.
        let _ = self.0.send(b"released");
    }
}

fn give(peer: Raw, state: &State) -> io::Result<Successor> {
    let who = rustix::net::sockopt::socket_peercred(&peer)?;
    if who.uid != rustix::process::geteuid() && !who.uid.is_root() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    patient(&peer)?;
    expect(&peer, b"take 1")?;
    for entrance in &state.entrances {
        for socket in entrance.sockets.iter() {
            let packet = format!("listen {}", entrance.asked);
            let fds = [socket.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&fds));
            sendmsg(
                &peer,
                &[IoSlice::new(packet.as_bytes())],
                &mut control,
                SendFlags::NOSIGNAL,
            )?;
        }
    }
    peer.send(b"end")?;
    expect(&peer, b"serving")?;
    Ok(Successor(peer))
}

fn patient(socket: &Raw) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))
}

fn expect(peer: &Raw, packet: &[u8]) -> io::Result<()> {
    let (got, _) = receive(peer)?;
    match got == packet {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn receive(peer: &Raw) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(
        peer,
        &mut [IoSliceMut::new(&mut packet)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    packet.truncate(got.bytes);
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok((packet, fd))
}

/// Sockets of a predecessor that still accepts connections too.
pub(crate) struct Predecessor {
    peer: Raw,
    path: PathBuf,
    pub(crate) sockets: BTreeMap<String, Vec<Raw>>,
}

impl Predecessor {
    /// None if no process answers there: the first start, or the old process is gone.
    pub(crate) async fn ask(path: &Path) -> Result<Option<Self>, ProxyError> {
        let path = path.to_owned();
        let shown = path.display().to_string();
        match tokio::task::spawn_blocking(move || take(path)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(ProxyError::Handover {
                path: shown,
                text: error.to_string(),
            }),
            Err(_) => Ok(None),
        }
    }

    /// Tells it that connections are accepted here; back when its addresses are free.
    ///
    /// # Errors
    /// It carries on: then this process must not.
    pub(crate) async fn replace(self) -> Result<(), ProxyError> {
        let shown = self.path.display().to_string();
        let replaced = tokio::task::spawn_blocking(move || {
            let released = self.peer.send(b"serving").and_then(|_| expect(&self.peer, b"released"));
            match released {
                Ok(()) => true,
                // A process that is gone serves nobody; one that is about to drain closes this address a moment later.
                Err(_) => (0..GOING_LOOKS).any(|look| {
                    if look > 0 {
                        std::thread::sleep(GOING_PAUSE);
                    }
                    connect(&self.path).is_ok_and(|answer| answer.is_none())
                }),
            }
        });
        match replaced.await {
            Ok(true) => Ok(()),
            _ => Err(ProxyError::Handover {
                path: shown,
                text: "the old process gave its sockets and carries on all the same".to_owned(),
            }),
        }
    }
}

/// None if nobody answers.
fn connect(path: &Path) -> io::Result<Option<Raw>> {
    let peer = Raw::new(Domain::UNIX, Type::SEQPACKET, None)?;
    match peer.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(Some(peer)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(e) => Err(e),
    }
}

fn take(path: PathBuf) -> io::Result<Option<Predecessor>> {
    let Some(peer) = connect(&path)? else {
        return Ok(None);
    };
    patient(&peer)?;
    peer.send(b"take 1")?;
    let mut sockets: BTreeMap<String, Vec<Raw>> = BTreeMap::new();
    for _ in 0..PACKETS_MAX {
        let (packet, fd) = receive(&peer)?;
        if packet == b"end" {
            return Ok(Some(Predecessor { peer, path, sockets }));
        }
        let address = packet
            .strip_prefix(b"listen ")
            .and_then(|a| std::str::from_utf8(a).ok());
        let (Some(address), Some(fd)) = (address, fd) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        sockets.entry(address.to_owned()).or_default().push(Raw::from(fd));
    }
    Err(io::ErrorKind::InvalidData.into())
}
