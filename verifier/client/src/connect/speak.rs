//! Local connections: HTTP/1.1, or HTTP/2 for programs that begin with its preface (RFC 9113 section 3.3, prior knowledge).
//!
//! Nothing here is encrypted: it is this machine's loopback. What either protocol carries goes on over proven connections
//! alone, one request each at a time, however many streams share a local connection.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What no request of HTTP/1.1 begins with: no method is named so.
const PREFACE_START: &[u8; 4] = b"PRI ";
/// Time for the first bytes of a connection, and how often a few of them are looked at again.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Streams of one HTTP/2 connection at a time; more wait in the program.
const STREAMS_MAX: u32 = 128;
/// Longest list of header fields in bytes, as they are counted in RFC 9113 section 6.5.2.
const FIELDS_BYTES_MAX: u32 = 64 * 1024;
/// Pause after a failed accept, e.g. when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `app` until `shutdown` resolves; answers under way may finish.
pub(super) async fn serve(listener: TcpListener, app: Router, shutdown: impl Future<Output = ()>) {
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((tcp, _)) => {
                connections.spawn(one_connection(tcp, app.clone(), stopped.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a local connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    stop.send_replace(true);
    while connections.join_next().await.is_some() {}
}

async fn one_connection(tcp: TcpStream, app: Router, mut stopped: watch::Receiver<bool>) {
    // Frames are small and each is one token: Nagle's algorithm would hold them back.
    let _ = tcp.set_nodelay(true);
    let begun = tokio::select! {
        begun = tokio::time::timeout(START_TIMEOUT, begins_http2(&tcp)) => begun,
        _ = stopped.wait_for(|stop| *stop) => return,
    };
    let app = TowerToHyperService::new(app);
    let ended = match begun {
        Ok(Ok(true)) => over_http2(tcp, app, stopped).await,
        Ok(Ok(false)) => over_http1(tcp, app, stopped).await,
        Ok(Err(_)) | Err(_) => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "local connection ended early");
    }
}

/// Looks at the first bytes of a connection without taking them.
async fn begins_http2(tcp: &TcpStream) -> io::Result<bool> {
    let mut seen = [0; PREFACE_START.len()];
    loop {
        let n = tcp.peek(&mut seen).await?;
        let begun = seen.get(..n).unwrap_or_default();
        if n == 0 || !PREFACE_START.starts_with(begun) {
            return Ok(false);
        }
        if n == PREFACE_START.len() {
            return Ok(true);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn over_http1<R>(tcp: TcpStream, app: R, mut stopped: watch::Receiver<bool>) -> hyper::Result<()>
where
    R: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
{
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(tcp), app));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

async fn over_http2<R>(tcp: TcpStream, app: R, mut stopped: watch::Receiver<bool>) -> hyper::Result<()>
where
    R: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    R::Future: Send + 'static,
{
    let mut connection = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(FIELDS_BYTES_MAX)
            .serve_connection(TokioIo::new(tcp), app)
    );
    tokio::select! {
        ended = connection.as_mut() => return ended,
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}
