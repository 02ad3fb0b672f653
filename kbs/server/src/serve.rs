//! The listener: bounded connections, bounded headers, an orderly end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hanzo_store::StoreMode;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::broker::Broker;
use crate::http::{AppState, router};
use crate::sessions::Sessions;
use crate::{KbsConfig, KbsError};

const CONNECTIONS_MAX: usize = 1024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the store and serves until `shutdown` is ready. `on_ready` gets the address once it listens.
///
/// # Errors
/// [`KbsError`]: the store or a file of the configuration is refused, or the address is taken.
pub async fn serve(
    config: KbsConfig,
    mode: StoreMode,
    shutdown: impl Future<Output = ()>,
    on_ready: impl FnOnce(SocketAddr),
) -> Result<(), KbsError> {
    config.check().map_err(|detail| KbsError::Config {
        path: "(given)".into(),
        detail,
    })?;
    if !config.store.exists() && !config.store.with_added_extension("lock").exists() {
        return Err(KbsError::NoStore { path: config.store });
    }
    let listen = |e: std::io::Error| KbsError::Listen {
        address: config.listen,
        detail: e.to_string(),
    };
    let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let opened = tokio::task::spawn_blocking({
        let config = config.clone();
        move || Broker::open(&config, mode)
    });
    let broker = opened.await.map_err(|e| KbsError::Audit { what: e.to_string() })??;
    let app = router(AppState {
        broker: Arc::new(broker),
        sessions: Arc::new(Sessions::new(
            Duration::from_secs(config.session_ttl_s),
            config.sessions_max,
        )),
    });
    on_ready(address);
    accept(listener, app, shutdown).await;
    Ok(())
}

async fn accept(listener: TcpListener, app: axum::Router, shutdown: impl Future<Output = ()>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stop, stopping) = watch::channel(());
    tokio::pin!(shutdown);
    loop {
        let slot = tokio::select! {
            () = &mut shutdown => break,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        let stream = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of file descriptors, or the peer is gone: wait a moment rather than spin.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let (app, mut stopping) = (app.clone(), stopping.clone());
        tokio::spawn(async move {
            let _slot = slot;
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(64 * 1024)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
            tokio::pin!(connection);
            let ended = tokio::time::timeout(CONNECTION_TIMEOUT, async {
                tokio::select! {
                    result = connection.as_mut() => result,
                    _ = stopping.changed() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                }
            });
            if let Ok(Err(e)) = ended.await {
                tracing::debug!(target: "hanzo_kbs", error = %e, "connection");
            }
        });
    }
    drop(listener);
    // Each connection ends after its current answer.
    stop.send_replace(());
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, slots.acquire_many(CONNECTIONS_MAX as u32)).await;
}
