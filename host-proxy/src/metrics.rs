//! Prometheus metrics for the host's operator: a Unix socket or a loopback port, never the network.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, UnixListener};

use crate::error::ProxyError;
use crate::transport::Stream;

/// What the proxy counts.
pub(crate) struct Metrics {
    pub(crate) connections: Counter,
    pub(crate) refused_at_limit: Counter,
    pub(crate) guest_unreachable: Counter,
    pub(crate) ended_idle: Counter,
    pub(crate) ended_broken: Counter,
    pub(crate) bytes_to_guest: Counter,
    pub(crate) bytes_to_client: Counter,
    pub(crate) open: Gauge,
    registry: Registry,
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("hanzo_proxy");
        let mut counter = |name: &str, help: &str| {
            let c = Counter::default();
            registry.register(name, help, c.clone());
            c
        };
        let connections = counter("connections", "Connections accepted");
        let refused_at_limit = counter(
            "connections_refused_at_limit",
            "Connections closed at once: too many open",
        );
        let guest_unreachable = counter(
            "guest_unreachable",
            "Connections closed because the guest did not answer",
        );
        let ended_idle = counter("connections_ended_idle", "Connections closed for idling");
        let ended_broken = counter("connections_ended_broken", "Connections that ended in an I/O error");
        let bytes_to_guest = counter("bytes_to_guest", "Opaque bytes carried to the guest");
        let bytes_to_client = counter("bytes_to_client", "Opaque bytes carried to clients");
        let open = Gauge::default();
        registry.register("connections_open", "Connections open now", open.clone());
        Arc::new(Self {
            connections,
            refused_at_limit,
            guest_unreachable,
            ended_idle,
            ended_broken,
            bytes_to_guest,
            bytes_to_client,
            open,
            registry,
        })
    }

    fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// Where metrics are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAddress {
    /// A loopback port.
    Loopback(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl FromStr for MetricsAddress {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        if let Some(path) = text.strip_prefix("unix:").filter(|p| !p.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        match text.parse::<SocketAddr>() {
            Ok(at) if at.ip().is_loopback() => Ok(Self::Loopback(at)),
            _ => Err(ProxyError::MetricsNotLoopback {
                at: text.chars().take(80).collect(),
            }),
        }
    }
}

pub(crate) enum MetricsListener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Drop for MetricsListener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // Best effort: a socket left behind is replaced at the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl MetricsListener {
    pub(crate) async fn bind(at: &MetricsAddress) -> Result<Self, ProxyError> {
        match at {
            MetricsAddress::Loopback(at) => TcpListener::bind(at)
                .await
                .map(Self::Tcp)
                .map_err(|e| ProxyError::listen(at, e)),
            MetricsAddress::Unix(path) => {
                let name = || format!("unix:{}", path.display());
                // A socket that nobody answers is a leftover of an earlier run.
                if std::os::unix::net::UnixStream::connect(path).is_err() && is_socket(path) {
                    std::fs::remove_file(path).map_err(|e| ProxyError::listen(name(), e))?;
                }
                UnixListener::bind(path)
                    .map(|l| Self::Unix(l, path.clone()))
                    .map_err(|e| ProxyError::listen(name(), e))
            }
        }
    }

    /// Serves until cancelled.
    pub(crate) async fn serve(self, metrics: Arc<Metrics>) {
        loop {
            let metrics = metrics.clone();
            match &self {
                Self::Tcp(l) => match l.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(answer(stream, metrics))),
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
                Self::Unix(l, _) => match l.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(answer(stream, metrics))),
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
            }
        }
    }
}

fn is_socket(path: &std::path::Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket())
}

async fn answer(stream: impl Stream, metrics: Arc<Metrics>) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let metrics = metrics.clone();
        async move {
            let known = request.uri().path() == "/metrics";
            let (status, body) = match (known, request.method() == Method::GET, metrics.text()) {
                (true, true, Ok(text)) => (StatusCode::OK, text),
                (true, true, Err(_)) => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
                (true, false, _) => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
                (false, _, _) => (StatusCode::NOT_FOUND, String::new()),
            };
            let mut response = Response::new(Full::new(Bytes::from(body)));
            *response.status_mut() = status;
            response.headers_mut().insert(
                hyper::header::CONTENT_TYPE,
                hyper::header::HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
            );
            Ok::<_, Infallible>(response)
        }
    });
    // A scraper that breaks off is no event for the proxy.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(5))
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
