//! Where metrics are served: a Unix socket or a loopback port, never the network.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::error::ProxyError;
use crate::socket_file::SocketFile;

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

/// Listens where metrics are served.
#[derive(Debug)]
pub struct MetricsListener(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
}

impl MetricsListener {
    /// Binds.
    ///
    /// # Errors
    /// [`ProxyError::Listen`].
    pub async fn bind(at: &MetricsAddress) -> Result<Self, ProxyError> {
        match at {
            MetricsAddress::Loopback(at) => TcpListener::bind(at)
                .await
                .map(|l| Self(Kind::Tcp(l)))
                .map_err(|e| ProxyError::listen(at, e)),
            MetricsAddress::Unix(path) => {
                let failed = |e| ProxyError::listen(format!("unix:{}", path.display()), e);
                let file = SocketFile::claim(path).map_err(failed)?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                Ok(Self(Kind::Unix {
                    listener,
                    _file: file.bound(),
                }))
            }
        }
    }

    /// Serves what `metrics` gives, in the text format of OpenMetrics, until cancelled.
    pub async fn serve(&self, metrics: impl Fn() -> Result<String, fmt::Error> + Clone + Send + 'static) {
        loop {
            let metrics = metrics.clone();
            match &self.0 {
                Kind::Tcp(l) => match l.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(answer(stream, metrics))),
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
                Kind::Unix { listener, .. } => match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(answer(stream, metrics))),
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
            }
        }
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    metrics: impl Fn() -> Result<String, fmt::Error> + Clone + Send + 'static,
) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let metrics = metrics.clone();
        async move {
            let known = request.uri().path() == "/metrics";
            let (status, body) = match (known, request.method() == Method::GET, metrics()) {
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
