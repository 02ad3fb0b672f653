//! Takes guests until told to stop, then drains.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hanzo_proxy::{Address, MetricsListener};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_vsock::{VsockAddr, VsockListener};
use tracing::{info, warn};

use crate::config::Config;
use crate::connection::Broker;
use crate::error::{EgressError, Refusal};
use crate::metrics::Metrics;
use crate::peers::{Peer, Peers};

/// Pause after a failed accept, e.g. when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` resolves, then lets open connections end for at most the configured time. `ready` is told the addresses bound.
///
/// # Errors
/// [`EgressError`] if an address cannot be used. Trouble on one connection ends that one.
pub async fn serve(
    config: Config,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(&[Address]),
) -> Result<(), EgressError> {
    let metrics = Metrics::new();
    let broker = Arc::new(Broker {
        allowed: config.allowed,
        limits: config.limits,
        metrics: metrics.clone(),
    });
    let mut tasks = JoinSet::new();
    if let Some(at) = &config.metrics {
        let listener = MetricsListener::bind(at).await?;
        tasks.spawn(async move { listener.serve(move || metrics.text()).await });
    }
    let door = Door {
        broker,
        places: Arc::new(Semaphore::new(config.limits.connections_max)),
        peers: Peers::default(),
    };
    let (stopping, stopped) = watch::channel(false);
    let mut bound = Vec::new();
    for at in config.listeners {
        let listener = Listener::bind(at).await?;
        bound.push(listener.address(at));
        tasks.spawn(door.clone().accept(listener, stopped.clone()));
    }
    ready(&bound);
    stop.await;
    info!("draining");
    stopping.send_replace(true);
    let all = u32::try_from(config.limits.connections_max).unwrap_or(u32::MAX);
    if tokio::time::timeout(config.drain, door.places.acquire_many(all))
        .await
        .is_err()
    {
        warn!("drain time is over, closing the rest");
    }
    Ok(())
}

/// What every listener needs.
#[derive(Clone)]
struct Door {
    broker: Arc<Broker>,
    places: Arc<Semaphore>,
    peers: Peers,
}

enum Listener {
    Tcp(TcpListener),
    Vsock(VsockListener),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Listener {
    async fn bind(at: Address) -> Result<Self, EgressError> {
        let bound = match at {
            Address::Tcp(ip) => TcpListener::bind(ip).await.map(Self::Tcp),
            Address::Vsock { cid, port } => VsockListener::bind(VsockAddr::new(cid, port)).map(Self::Vsock),
        };
        bound.map_err(|source| EgressError::Listen {
            at: at.to_string(),
            source,
        })
    }

    fn address(&self, asked: Address) -> Address {
        let local = match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Vsock(_) => None,
        };
        local.map_or(asked, Address::Tcp)
    }

    async fn accept(&mut self) -> io::Result<(Box<dyn Stream>, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from): (_, SocketAddr) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Peer::Ip(from.ip().to_canonical())))
            }
            Self::Vsock(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok((Box::new(stream), Peer::Cid(from.cid())))
            }
        }
    }
}

impl Door {
    async fn accept(self, mut listener: Listener, mut stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            self.broker.metrics.connections.inc();
            let broker = self.broker.clone();
            let guests_max = broker.limits.guest_connections_max;
            let place = self.places.clone().try_acquire_owned().ok();
            match place.zip(self.peers.take(peer, guests_max)) {
                Some(places) => {
                    connections.spawn(async move {
                        broker.serve(stream).await;
                        drop(places);
                    });
                }
                // Told at once and in this loop's task set, so that refusals are bounded by what the kernel queues for one write.
                None => {
                    connections.spawn(async move { broker.refuse(stream, Refusal::Busy).await });
                }
            }
            while connections.try_join_next().is_some() {}
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }
}
