//! Accepts clients until told to stop, then drains.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hanzo_proxy::MetricsListener;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::config::Config;
use crate::connection::{self, given};
use crate::error::RelayError;
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use crate::request::Relay;
use crate::tls;

/// Pause after a failed accept, e.g. when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Relays until `stop` resolves, then lets open requests end for at most the configured time. `ready` is told the addresses bound.
///
/// # Errors
/// [`RelayError`] if an address, certificate or root cannot be used. Trouble on one connection ends that one.
pub async fn serve(
    config: Config,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(&[SocketAddr]),
) -> Result<(), RelayError> {
    let metrics = Metrics::new();
    let relay = Arc::new(Relay {
        path: config.path.clone(),
        limits: config.limits,
        gateway: Gateway::new(&config.gateway, metrics.clone())?,
        metrics: metrics.clone(),
        places: Arc::new(Semaphore::new(config.limits.requests_max)),
    });
    let mut tasks = JoinSet::new();
    if let Some(at) = &config.metrics {
        let listener = MetricsListener::bind(at).await?;
        tasks.spawn(async move { listener.serve(move || metrics.text()).await });
    }
    let places = Arc::new(Semaphore::new(config.limits.connections_max));
    let (stopping, stopped) = watch::channel(false);
    let mut bound = Vec::new();
    for listen in &config.listeners {
        let failed = |source| RelayError::Listen {
            at: listen.address.to_string(),
            source,
        };
        let tls = listen.tls.as_ref().map(tls::server).transpose()?.map(TlsAcceptor::from);
        let listener = TcpListener::bind(listen.address).await.map_err(failed)?;
        bound.push(listener.local_addr().map_err(failed)?);
        tasks.spawn(accept(listener, tls, relay.clone(), places.clone(), stopped.clone()));
    }
    ready(&bound);
    stop.await;
    info!("draining");
    stopping.send_replace(true);
    let all = u32::try_from(config.limits.connections_max).unwrap_or(u32::MAX);
    if tokio::time::timeout(config.drain, places.acquire_many(all))
        .await
        .is_err()
    {
        let open = config.limits.connections_max - places.available_permits();
        warn!(open, "drain time is over, closing the rest");
    }
    Ok(())
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    relay: Arc<Relay>,
    places: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = given(&mut stop) => break,
        };
        relay.metrics.connections.inc();
        match places.clone().try_acquire_owned() {
            Ok(place) => {
                let (tls, relay, stop) = (tls.clone(), relay.clone(), stop.clone());
                connections.spawn(async move {
                    let open = relay.metrics.open.clone();
                    open.inc();
                    connection::serve(stream, tls, relay, stop).await;
                    open.dec();
                    drop(place);
                });
            }
            Err(_) => drop(relay.metrics.connections_refused.inc()),
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}
