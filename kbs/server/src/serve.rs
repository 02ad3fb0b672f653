//! The listener: bounded connections, bounded times, reload on request, an orderly end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use hanzo_store::StoreMode;
use hanzo_vault::RootPurpose;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::admission::{Admission, Connection};
use crate::broker::Broker;
use crate::challenge::ChallengeKey;
use crate::config::PeerAddress;
use crate::connections::{Connections, Place};
use crate::desk::Desk;
use crate::http::{AppState, Front, Transport};
use crate::metrics::{Metrics, count};
use crate::rate::Peer;
use crate::reload;
use crate::sessions::Sessions;
use crate::shared;
use crate::tls::{self, Tls};
use crate::{KbsConfig, KbsError, database};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// After this a connection ends with its current answer.
const CONNECTION_LIFE: Duration = Duration::from_secs(600);
/// For a current answer when a connection or the broker ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the store and serves until `shutdown` is ready, then lets every answer under way leave. `on_ready` gets the address
/// once it listens. SIGHUP loads the file again that `config` came from.
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
    if !database::may_exist(&config) {
        return Err(KbsError::NoStore { path: config.store });
    }
    let listen = |e: std::io::Error| KbsError::Listen {
        address: config.listen,
        detail: e.to_string(),
    };
    let tls = match &config.tls {
        Some(tls) => Some(Arc::new(Tls::new(tls::load(tls)?))),
        None => None,
    };
    let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let mut hangups = signal(SignalKind::hangup()).map_err(listen)?;
    let opened = tokio::task::spawn_blocking({
        let config = config.clone();
        move || Broker::open(&config, mode)
    });
    let broker = Arc::new(opened.await.map_err(|e| KbsError::Audit { what: e.to_string() })??);
    broker.sign_behind();
    let opened = tokio::task::spawn_blocking({
        let (broker, config) = (Arc::clone(&broker), config.clone());
        move || sessions(&broker, &config)
    });
    let sessions = opened.await.map_err(|e| KbsError::Audit { what: e.to_string() })??;
    let admission = Arc::new(Admission::new(&config));
    let app = Arc::new(Front::new(AppState {
        broker: Arc::clone(&broker),
        sessions: Arc::new(sessions),
        admission,
        desk: Arc::new(Desk::new(Arc::clone(&broker))),
    }));
    let reloader = tokio::spawn({
        let (broker, tls, config) = (Arc::clone(&broker), tls.clone(), config.clone());
        async move {
            while hangups.recv().await.is_some() {
                let (broker, tls, config) = (Arc::clone(&broker), tls.clone(), config.clone());
                // Reads files and checks keys: off the threads that serve.
                let _ = tokio::task::spawn_blocking(move || reload::reload(&config, &broker, tls.as_deref())).await;
            }
        }
    });
    on_ready(address);
    Listener {
        connections: Connections::new(
            config.limits.connections_max,
            match config.limits.peer_address {
                PeerAddress::Connection => config.limits.connections_per_peer,
                // All of them are the front's.
                PeerAddress::Forwarded => config.limits.connections_max,
            },
            broker.metrics.connections.clone(),
        ),
        header_timeout: Duration::from_secs(config.limits.header_timeout_s),
        metrics: Arc::clone(&broker.metrics),
        app,
        tls,
    }
    .accept(listener, shutdown)
    .await;
    reloader.abort();
    // The store is closed when this returns, and is taken up by whoever comes next.
    let _ = tokio::task::spawn_blocking(move || broker.rotations.stop()).await;
    Ok(())
}

/// One broker keeps its sessions to itself, under a key that ends with it; replicas share both.
fn sessions(broker: &Broker, config: &KbsConfig) -> Result<Sessions, KbsError> {
    let replicas = shared::has_replicas(config);
    let challenges = match replicas {
        // Each of them has the root, and whoever has the store alone does not have this.
        true => ChallengeKey::new(
            broker.vaults.derive(RootPurpose::SessionMac)?.expose(),
            config.session_ttl_s,
        ),
        false => ChallengeKey::of_this_process(config.session_ttl_s)?,
    };
    let sessions = Sessions::new(challenges, config.sessions_max, config.limits.sessions_bytes_max);
    Ok(match replicas {
        true => sessions.with_replicas(),
        false => sessions,
    })
}

#[derive(Clone)]
struct Listener {
    connections: Arc<Connections>,
    header_timeout: Duration,
    metrics: Arc<Metrics>,
    app: Arc<Front>,
    tls: Option<Arc<Tls>>,
}

impl Listener {
    async fn accept(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let (stop, stopping) = watch::channel(());
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, from)) = accepted else {
                // Out of file descriptors, or the peer is gone: wait a moment rather than spin.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Some(place) = self.connections.take(Peer::of(from.ip())) else {
                count(&self.metrics.connections_refused);
                continue;
            };
            tokio::spawn(self.clone().connection(stream, from, place, stopping.clone()));
        }
        drop(listener);
        // Each connection ends after its current answer.
        drop(stopping);
        stop.send_replace(());
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, stop.closed()).await;
    }

    async fn connection(self, stream: TcpStream, from: SocketAddr, place: Place, stopping: watch::Receiver<()>) {
        // Answers are small and whole: waiting to fill a segment only costs time.
        let _ = stream.set_nodelay(true);
        let mut connection = Connection {
            address: from.ip(),
            transport: Transport::Plain,
            admin_certificate: false,
            standing: Arc::clone(&place.standing),
        };
        match &self.tls {
            None => self.http(stream, connection, stopping).await,
            Some(tls) => {
                let handshake = TlsAcceptor::from(tls.now()).accept(stream);
                let handshake = tokio::select! {
                    handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake) => handshake,
                    () = place.standing.gives_way() => return,
                };
                match handshake {
                    Ok(Ok(stream)) => {
                        connection.transport = Transport::Tls;
                        connection.admin_certificate = stream.get_ref().1.peer_certificates().is_some();
                        self.http(stream, connection, stopping).await;
                    }
                    Ok(Err(_)) | Err(_) => count(&self.metrics.handshakes_failed),
                }
            }
        }
        drop(place);
    }

    async fn http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        connection: Connection,
        mut stopping: watch::Receiver<()>,
    ) {
        let standing = Arc::clone(&connection.standing);
        let app = Arc::clone(&self.app);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let (app, connection) = (Arc::clone(&app), connection.clone());
            async move { Ok::<_, Infallible>(app.answer(connection, request).await) }
        });
        let serving = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(serving);
        let ended = tokio::select! {
            result = serving.as_mut() => Ok(result),
            () = standing.gives_way() => return,
            () = async { tokio::select! {
                _ = stopping.changed() => {}
                () = tokio::time::sleep(CONNECTION_LIFE) => {}
            } } => {
                serving.as_mut().graceful_shutdown();
                tokio::time::timeout(DRAIN_TIMEOUT, serving).await
            }
        };
        if let Ok(Err(e)) = ended {
            tracing::debug!(target: "hanzo_kbs", error = %e, "connection");
        }
    }
}
