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
    let answered = |got: String| StatusError::Answer { address, got };
    let (status, body) = get(address, "/hanzo/status", token, STATUS_BYTES_MAX).await?;
    let document: Value = serde_json::from_slice(&body).map_err(|_| answered(format!("status {}", status.as_u16())))?;
    match status {
        StatusCode::OK | StatusCode::BAD_GATEWAY if document.get("version") == Some(&Value::from(1)) => Ok(document),
        _ => Err(denied(address, status, &document)),
    }
}

/// What a guest behind the endpoint at `address` serves at `path`, at most `bytes_max` bytes of it; `None` if it has no such thing.
///
/// # Errors
/// [`StatusError`].
pub async fn read_path(
    address: SocketAddr,
    path: &str,
    token: Option<&str>,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, StatusError> {
    let (status, body) = tokio::time::timeout(STATUS_TIMEOUT, get(address, path, token, bytes_max))
        .await
        .unwrap_or(Err(StatusError::Unreachable {
            address,
            detail: "no answer within 60 s".into(),
        }))?;
    match status {
        StatusCode::OK => Ok(Some(body.to_vec())),
        StatusCode::NOT_FOUND => Ok(None),
        other => Err(denied(
            address,
            other,
            &serde_json::from_slice(&body).unwrap_or(Value::Null),
        )),
    }
}

/// What an answer means that brings nothing.
fn denied(address: SocketAddr, status: StatusCode, document: &Value) -> StatusError {
    let code = document.pointer("/error/code").and_then(Value::as_str);
    match (status, code) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST, code) => {
            StatusError::Denied {
                address,
                code: code.unwrap_or("refused").chars().take(64).collect(),
            }
        }
        (status, code) => StatusError::Answer {
            address,
            got: format!(
                "status {}{}",
                status.as_u16(),
                code.map_or_else(String::new, |c| format!(", {}", c.chars().take(64).collect::<String>()))
            ),
        },
    }
}

async fn get(
    address: SocketAddr,
    path: &str,
    token: Option<&str>,
    bytes_max: usize,
) -> Result<(StatusCode, Bytes), StatusError> {
    let unreachable = |detail: String| StatusError::Unreachable { address, detail };
    let answered = |got: String| StatusError::Answer { address, got };
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|e| unreachable(e.to_string()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| unreachable(e.to_string()))?;
    let driver = tokio::spawn(connection);
    let mut request = Request::new(Full::<Bytes>::default());
    *request.uri_mut() = path.parse().map_err(|_| answered("a path that is none".into()))?;
    let host = HeaderValue::from_str(&address.to_string()).map_err(|e| answered(e.to_string()))?;
    request.headers_mut().insert(HOST, host);
    if let Some(token) = token {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|e| answered(e.to_string()))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    let done = exchange(&mut sender, request, bytes_max).await;
    driver.abort();
    let (status, body) = done.map_err(|e| answered(e.to_string()))?;
    Ok((status, body))
}
