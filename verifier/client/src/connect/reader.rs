//! Reads the status of an endpoint that runs on this machine.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::connection::exchange;

/// Longest status in bytes.
const STATUS_BYTES_MAX: usize = 1 << 20;
/// An endpoint without a fresh verdict attests first.
const STATUS_TIMEOUT: Duration = Duration::from_secs(60);

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Nothing answers there.
    #[error("status: {address}: {detail}: is `hanzo-verify connect` running there?")]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// The system's words.
        detail: String,
    },
    /// It answers somebody else.
    #[error("status: {address}: {code}: it answers to other names, or wants a token (--token-file)")]
    Denied {
        /// Where.
        address: SocketAddr,
        /// What it said.
        code: String,
    },
    /// What answers there is no endpoint of ours.
    #[error("status: {address}: expected the status of `hanzo-verify connect`, got {got}")]
    Answer {
        /// Where.
        address: SocketAddr,
        /// What came.
        got: String,
    },
}

impl StatusError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "status.unreachable",
            Self::Denied { .. } => "status.denied",
            Self::Answer { .. } => "status.answer",
        }
    }
}

/// The document of `GET /hanzo/status` at `address`.
///
/// # Errors
/// [`StatusError`]. A guest that was refused is no error: the document says so.
pub async fn read_status(address: SocketAddr, token: Option<&str>) -> Result<Value, StatusError> {
    tokio::time::timeout(STATUS_TIMEOUT, read(address, token))
        .await
        .unwrap_or(Err(StatusError::Unreachable {
            address,
            detail: "no answer within 60 s".into(),
        }))
}

async fn read(address: SocketAddr, token: Option<&str>) -> Result<Value, StatusError> {
    let unreachable = |detail: String| StatusError::Unreachable { address, detail };
    let answered = |got: String| StatusError::Answer { address, got };
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|e| unreachable(e.to_string()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| unreachable(e.to_string()))?;
    let driver = tokio::spawn(connection);
    let mut request = Request::new(Full::<Bytes>::default());
    *request.uri_mut() = hyper::Uri::from_static("/hanzo/status");
    let host = HeaderValue::from_str(&address.to_string()).map_err(|e| answered(e.to_string()))?;
    request.headers_mut().insert(HOST, host);
    if let Some(token) = token {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|e| answered(e.to_string()))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    let done = exchange(&mut sender, request, STATUS_BYTES_MAX).await;
    driver.abort();
    let (status, body) = done.map_err(|e| answered(e.to_string()))?;
    let document: Value = serde_json::from_slice(&body).map_err(|_| answered(format!("status {}", status.as_u16())))?;
    match status {
        StatusCode::OK | StatusCode::BAD_GATEWAY if document.get("version") == Some(&Value::from(1)) => Ok(document),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => {
            let code = document.pointer("/error/code").and_then(Value::as_str);
            Err(StatusError::Denied {
                address,
                code: code.unwrap_or("refused").chars().take(64).collect(),
            })
        }
        _ => Err(answered(format!("status {}", status.as_u16()))),
    }
}
