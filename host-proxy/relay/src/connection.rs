//! One client's connection: HTTP/1.1 or HTTP/2, for a bounded time.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::paced::Paced;
use crate::request::Relay;

const HEADERS_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Requests of one HTTP/2 connection at a time.
const STREAMS_MAX: u32 = 32;
/// What one HTTP/2 stream may send ahead.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
const PING: Duration = Duration::from_secs(20);
/// The first bytes of HTTP/2 where no TLS says which version follows (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Serves a connection to its end.
pub(crate) async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, relay: Arc<Relay>, stop: watch::Receiver<bool>) {
    let head = relay.limits.head;
    let stall = relay.limits.stall;
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match tls {
        None => {
            let Ok(Some(is_two)) = timeout(head, is_http2(&stream)).await else {
                return;
            };
            speak(Paced::new(stream, stall), is_two, relay, stop).await;
        }
        Some(tls) => {
            let Ok(Ok(stream)) = timeout(head, tls.accept(stream)).await else {
                return;
            };
            let is_two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            speak(Paced::new(stream, stall), is_two, relay, stop).await;
        }
    }
}

/// Looks at the first bytes and leaves them where they are. None: there are none.
async fn is_http2(stream: &TcpStream) -> Option<bool> {
    let mut first = [0; PREFACE.len()];
    loop {
        let n = stream.peek(&mut first).await.ok().filter(|n| *n > 0)?;
        let got = first.get(..n)?;
        if !PREFACE.starts_with(got) {
            return Some(false);
        }
        if n == PREFACE.len() {
            return Some(true);
        }
        // A peek returns at once as long as something is there.
        sleep(Duration::from_millis(10)).await;
    }
}

async fn speak<S>(stream: S, is_two: bool, relay: Arc<Relay>, stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = relay.limits;
    let service = service_fn(move |request: Request<Incoming>| {
        let relay = relay.clone();
        async move { Ok::<_, Infallible>(relay.answer(request).await) }
    });
    let stream = TokioIo::new(stream);
    match is_two {
        false => {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(limits.head)
                .max_headers(HEADERS_MAX)
                .max_buf_size(HEAD_BYTES_MAX);
            let connection = pin!(http.serve_connection(stream, service));
            drive(
                connection,
                http1::Connection::graceful_shutdown,
                limits.connection,
                stop,
            )
            .await;
        }
        true => {
            let mut http = http2::Builder::new(TokioExecutor::new());
            http.timer(TokioTimer::new())
                .max_concurrent_streams(STREAMS_MAX)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_send_buf_size(STREAM_WINDOW as usize)
                .max_header_list_size(HEAD_BYTES_MAX as u32)
                .keep_alive_interval(PING)
                .keep_alive_timeout(PING);
            let connection = pin!(http.serve_connection(stream, service));
            drive(
                connection,
                http2::Connection::graceful_shutdown,
                limits.connection,
                stop,
            )
            .await;
        }
    }
}

/// Until it ends. Told to stop, or after `life`, it takes no new requests; what is in flight goes on, for as long again at most.
async fn drive<C: Future>(
    mut connection: Pin<&mut C>,
    end: impl Fn(Pin<&mut C>),
    life: Duration,
    mut stop: watch::Receiver<bool>,
) {
    tokio::select! {
        _ = connection.as_mut() => return,
        () = given(&mut stop) => {}
        () = sleep(life) => {}
    }
    end(connection.as_mut());
    let _ = timeout(life, connection).await;
}

/// Resolves when the relay is told to stop.
pub(crate) async fn given(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left to tell: it is over as well.
    drop(stop.wait_for(|s| *s).await);
}
