//! Asking an engine whether it is ready: `GET /health` on its socket.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

const BODY_BYTES_MAX: usize = 4096;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Deserialize)]
struct Health {
    status: String,
}

/// Returns once the engine says `ready`; asks for ever until then.
pub(super) async fn until_ready(socket: &Path) {
    loop {
        if let Ok(Some(true)) = tokio::time::timeout(ANSWER_TIMEOUT, is_ready(socket)).await {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// `None`: no usable answer.
async fn is_ready(socket: &Path) -> Option<bool> {
    let stream = UnixStream::connect(socket).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/health")
        .header("host", "engine")
        .body(Empty::<Bytes>::new())
        .ok()?;
    let response = sender.send_request(request).await.ok()?;
    let ok = response.status() == StatusCode::OK;
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
        .collect()
        .await
        .ok()?
        .to_bytes();
    connection.abort();
    let health: Health = serde_json::from_slice(&body).ok()?;
    Some(ok && health.status == "ready")
}
