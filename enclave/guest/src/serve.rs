//! Connections: TLS under a deadline, then HTTP/1.1 with what the connection needs to prove itself.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Router;
use hanzo_channel::{Exporter, accept::accept};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::options::OperatingLimits;
use crate::stop::Stop;
use crate::transport::Listener;
use crate::well_known::Connection;

const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 64;
/// Pause after a failed accept, e.g. when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `routes` until told to stop; then lets requests in flight end until the drain deadline.
pub async fn serve<L: Listener>(
    mut listener: L,
    tls: Arc<ServerConfig>,
    routes: Router,
    limits: OperatingLimits,
    mut stop: Stop,
) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place,
            () = stop.given() => break,
        };
        let Ok(place) = place else { break };
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            () = stop.given() => break,
        };
        match stream {
            Ok(stream) => {
                let connection = one_connection(stream, tls.clone(), routes.clone(), limits, stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_millis(limits.drain_timeout_ms), drained)
        .await
        .is_err()
    {
        tracing::warn!(
            cut = connections.len(),
            "connections still open at the drain deadline are cut"
        );
    }
}

async fn one_connection<S>(stream: S, tls: Arc<ServerConfig>, routes: Router, limits: OperatingLimits, mut stop: Stop)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let handshake = accept(&tls, stream, Duration::from_millis(limits.handshake_timeout_ms));
    let accepted = tokio::select! {
        accepted = handshake => accepted,
        () = stop.given() => return,
    };
    let accepted = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            tracing::debug!(code = error.code(), "connection turned away");
            return;
        }
    };
    let service = TowerToHyperService::new(routes.layer(Extension(per_connection(accepted.exporter))));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(accepted.stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.given() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

fn per_connection(exporter: Exporter) -> Arc<Connection> {
    Arc::new(Connection::new(exporter))
}
