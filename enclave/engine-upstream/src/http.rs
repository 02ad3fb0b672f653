//! HTTP/1.1 to the server, one connection a request: closing it cancels.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::breach::Breach;

/// Head of a response, in bytes; also what is read ahead of a body.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 32;

/// How much of the server's words is read, and how long for.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Until the head of a response, and until the first event of an answer: it waits for its turn and reads the prompt.
    pub first: Duration,
    /// Between two events of an answer, comments not counted.
    pub event: Duration,
    /// A whole answer.
    pub total: Duration,
    /// One event, in bytes.
    pub event_bytes_max: usize,
    /// An answer for each token asked for, in bytes, and once more `event_bytes_max`.
    pub token_bytes_max: usize,
    /// A document (ids of a prompt, a rendered template), in bytes.
    pub document_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(900),
            event: Duration::from_secs(120),
            total: Duration::from_secs(3600),
            event_bytes_max: 64 << 10,
            token_bytes_max: 2 << 10,
            document_bytes_max: 16 << 20,
        }
    }
}

/// Where the server listens.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) socket: PathBuf,
    pub(crate) bounds: Bounds,
}

/// An open response; dropping it closes the connection.
pub(crate) struct Open {
    pub(crate) body: Incoming,
    _connection: Connection,
}

struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// Whether `GET /health` says 200.
    pub(crate) async fn is_ready(&self) -> bool {
        let by = Instant::now() + Duration::from_secs(5).min(self.bounds.first);
        matches!(
            timeout_at(by, send(&self.socket, Method::GET, "/health", Bytes::new())).await,
            Ok(Ok((response, _))) if response.status() == StatusCode::OK
        )
    }

    /// The document that `path` answers `body` with.
    pub(crate) async fn document(&self, path: &'static str, body: Vec<u8>) -> Result<Bytes, Breach> {
        let by = Instant::now() + self.bounds.first;
        let open = self.open(path, body, "application/json", by).await?;
        let limited = Limited::new(open.body, self.bounds.document_bytes_max);
        match timeout_at(by, limited.collect()).await {
            Err(_) => Err(Breach::Slow("finish a document")),
            Ok(Ok(whole)) => Ok(whole.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Breach::TooLong("a document")),
            Ok(Err(_)) => Err(Breach::EndedEarly),
        }
    }

    /// `POST`s `body` and takes the head of an answer of `kind`.
    pub(crate) async fn open(
        &self,
        path: &'static str,
        body: Vec<u8>,
        kind: &'static str,
        by: Instant,
    ) -> Result<Open, Breach> {
        let sent = timeout_at(by, send(&self.socket, Method::POST, path, body.into()));
        let (response, connection) = sent.await.map_err(|_| Breach::Slow("begin an answer"))??;
        if response.version() != Version::HTTP_11 {
            return Err(Breach::Head("expected HTTP/1.1"));
        }
        if response.status() != StatusCode::OK {
            return Err(Breach::Status);
        }
        let headers = response.headers();
        if headers.contains_key(CONTENT_ENCODING) {
            return Err(Breach::Head("expected no content-encoding"));
        }
        let mut kinds = headers.get_all(CONTENT_TYPE).iter();
        let (Some(said), None) = (kinds.next().and_then(|said| said.to_str().ok()), kinds.next()) else {
            return Err(Breach::Head("expected one content-type"));
        };
        if said.split(';').next().map(str::trim) != Some(kind) {
            return Err(Breach::Head("expected another content-type"));
        }
        Ok(Open {
            body: response.into_body(),
            _connection: connection,
        })
    }
}

async fn send(
    socket: &Path,
    method: Method,
    path: &'static str,
    body: Bytes,
) -> Result<(Response<Incoming>, Connection), Breach> {
    let stream = UnixStream::connect(socket).await.map_err(|_| Breach::Gone)?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Breach::Gone)?;
    let connection = Connection(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "upstream")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|_| Breach::Gone)?;
    let response = sender.send_request(request).await.map_err(|error| {
        if error.is_parse() {
            Breach::Head("expected a head in HTTP/1.1, of at most 16384 bytes and 32 headers")
        } else {
            Breach::Gone
        }
    })?;
    Ok((response, connection))
}
