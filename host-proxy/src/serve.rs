//! Accepts, limits, forwards, drains.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_vsock::VsockAddr;
use tracing::{info, warn};

use crate::address::Address;
use crate::error::ProxyError;
use crate::forward::{Ended, forward};
use crate::metrics::{Metrics, MetricsAddress, MetricsListener};
use crate::transport::{Accept, Dial, Listener, TcpDialer, VsockDialer};

/// What to carry and within which bounds.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// Where clients come in.
    pub listen: Address,
    /// Where the guest is.
    pub guest: Address,
    /// Connections open at a time; one more is closed at once.
    pub connections_max: usize,
    /// A connection on which nothing moves for this long is closed. A guest may work on an answer for an hour before its
    /// first byte, and closes idle connections itself.
    pub idle: Duration,
    /// How long the guest may take to accept.
    pub connect: Duration,
    /// How long open connections may go on after the stop signal.
    pub drain: Duration,
    /// Where to serve metrics, if anywhere.
    pub metrics: Option<MetricsAddress>,
}

impl Default for ProxyOptions {
    fn default() -> Self {
        Self {
            listen: Address::Tcp(([127, 0, 0, 1], 8443).into()),
            guest: Address::Tcp(([127, 0, 0, 1], 9443).into()),
            connections_max: 4096,
            idle: Duration::from_secs(3660),
            connect: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            metrics: None,
        }
    }
}

/// Serves until `stop` resolves, then drains: no new connections, open ones go on for at most `drain`.
///
/// `ready` is told the address actually bound (port 0 asks for a free one).
///
/// # Errors
/// [`ProxyError`] if an address cannot be used or a bound makes no sense. Trouble on one connection ends that one.
pub async fn serve(
    options: ProxyOptions,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(Address),
) -> Result<(), ProxyError> {
    if !(1..=Semaphore::MAX_PERMITS).contains(&options.connections_max) {
        return Err(ProxyError::Option {
            field: "connections-max",
            expected: "at least 1",
            got: options.connections_max.to_string(),
        });
    }
    let metrics = Metrics::new();
    let metrics_listener = match &options.metrics {
        Some(at) => Some(MetricsListener::bind(at).await?),
        None => None,
    };
    let listener = Listener::bind(&options.listen)
        .await
        .map_err(|e| ProxyError::listen(options.listen, e))?;
    ready(listener.local_address(&options.listen));
    let serve_metrics = async {
        match metrics_listener {
            Some(listener) => listener.serve(metrics.clone()).await,
            None => std::future::pending().await,
        }
    };
    let carry = async {
        match (listener, options.guest) {
            (Listener::Tcp(l), Address::Tcp(to)) => run(l, TcpDialer(to), &options, &metrics, stop).await,
            (Listener::Tcp(l), Address::Vsock { cid, port }) => {
                run(l, VsockDialer(VsockAddr::new(cid, port)), &options, &metrics, stop).await;
            }
            (Listener::Vsock(l), Address::Tcp(to)) => run(l, TcpDialer(to), &options, &metrics, stop).await,
            (Listener::Vsock(l), Address::Vsock { cid, port }) => {
                run(l, VsockDialer(VsockAddr::new(cid, port)), &options, &metrics, stop).await;
            }
        }
    };
    tokio::select! {
        () = carry => Ok(()),
        () = serve_metrics => Ok(()),
    }
}

async fn run<A: Accept, D: Dial>(
    listener: A,
    dialer: D,
    options: &ProxyOptions,
    metrics: &Arc<Metrics>,
    stop: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(options.connections_max));
    let (close_all, closing) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok(client) => {
                    metrics.connections.inc();
                    let Ok(slot) = slots.clone().try_acquire_owned() else {
                        metrics.refused_at_limit.inc();
                        continue;
                    };
                    let (dialer, metrics, mut closing) = (dialer.clone(), metrics.clone(), closing.clone());
                    let (idle, connect) = (options.idle, options.connect);
                    connections.spawn(async move {
                        metrics.open.inc();
                        tokio::select! {
                            () = carry_one(client, dialer, idle, connect, &metrics) => {}
                            _ = closing.wait_for(|now| *now) => {}
                        }
                        metrics.open.dec();
                        drop(slot);
                    });
                }
                Err(error) => {
                    // Out of descriptors or a connection that died in the queue: wait, do not spin.
                    warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    info!(open = connections.len(), "draining");
    let drained = tokio::time::timeout(options.drain, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
    if drained.is_err() {
        warn!(open = connections.len(), "drain time is over, closing the rest");
        // Nobody left to tell if all receivers are gone.
        let _ = close_all.send(true);
        while connections.join_next().await.is_some() {}
    }
}

async fn carry_one<D: Dial>(
    client: impl crate::transport::Stream,
    dialer: D,
    idle: Duration,
    connect: Duration,
    metrics: &Metrics,
) {
    let guest = match tokio::time::timeout(connect, dialer.dial()).await {
        Ok(Ok(guest)) => guest,
        Ok(Err(error)) => {
            metrics.guest_unreachable.inc();
            warn!(%error, "guest refused the connection");
            return;
        }
        Err(_) => {
            metrics.guest_unreachable.inc();
            warn!("guest did not accept in time");
            return;
        }
    };
    match forward(client, guest, idle, metrics).await {
        Ended::Closed => {}
        Ended::Idle => {
            metrics.ended_idle.inc();
        }
        Ended::Broken => {
            metrics.ended_broken.inc();
        }
    }
}
