//! HTTP/1.1 to the key broker: one connection, one cookie, bounded answers, deadlines.
//!
//! The broker is reached at an address that the host gives, in clear; or, if the measured configuration names it, by that name over
//! TLS that ends in the guest ([`crate::egress`]). Nothing that comes back is believed because of where it came from. What counts is
//! checked by `hanzo-kbs-protocol` against the signer that the configuration pins.

use std::time::Duration;

use bytes::Bytes;
use hanzo_attestation::UnixTime;
use hanzo_attestation::config::{EgressUse, HostName};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, HeaderValue, SET_COOKIE};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::egress::{Egress, EgressError, Validity};

/// Longest answer accepted, in bytes.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// The session cookie's name (CoCo KBS protocol).
pub const COOKIE_NAME: &str = "kbs-session-id";
const COOKIE_BYTES_MAX: usize = 256;
const DETAIL_CHARS_MAX: usize = 600;
const CODE_CHARS_MAX: usize = 64;

/// Why an exchange with the broker failed.
#[derive(Debug, thiserror::Error)]
pub enum KbsHttpError {
    /// Nobody answers there.
    #[error("key broker {addr}: {what}: {source}; is it running, and does the host forward to it?")]
    Unreachable {
        /// Where.
        addr: String,
        /// Doing what.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It took too long.
    #[error("key broker {addr}: {what}: no answer within {limit_ms} ms")]
    Timeout {
        /// Where.
        addr: String,
        /// Doing what.
        what: &'static str,
        /// The bound.
        limit_ms: u128,
    },
    /// It does not speak HTTP as expected.
    #[error("key broker {addr}: {what}: {detail}")]
    Malformed {
        /// Where.
        addr: String,
        /// Doing what.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// It is reached by name, and was not.
    #[error("key broker: {0}")]
    Egress(#[from] EgressError),
    /// It said no.
    #[error("key broker {addr}: {what}: refused with status {status}: {detail}")]
    Refused {
        /// Where.
        addr: String,
        /// Doing what.
        what: &'static str,
        /// HTTP status.
        status: u16,
        /// Its stable code, where it gives one: at most 64 characters of those that codes are made of.
        code: String,
        /// Its reason: printable ASCII, at most 600 characters.
        detail: String,
    },
}

impl KbsHttpError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "kbs.unreachable",
            Self::Timeout { .. } => "kbs.timeout",
            Self::Malformed { .. } => "kbs.malformed",
            Self::Egress(error) => error.code(),
            Self::Refused { .. } => "kbs.refused",
        }
    }
}

/// Where the broker is.
pub enum KbsDoor {
    /// `host:port`, wherever the host leads.
    Address(String),
    /// Under the names that the configuration lists for it.
    Named(Egress),
}

impl KbsDoor {
    /// By name if the configuration lists one, at the host's address otherwise.
    pub fn new(address: &str, egress: Egress) -> Self {
        let is_named = egress.names_for(EgressUse::Kbs).next().is_some();
        match is_named {
            true => Self::Named(egress),
            false => Self::Address(address.to_owned()),
        }
    }
}

/// A session with the broker.
pub struct KbsConnection {
    addr: String,
    /// Whose certificate was seen, and when it is valid.
    shown: Option<(HostName, Validity)>,
    limit: Duration,
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
    cookie: Option<HeaderValue>,
}

impl Drop for KbsConnection {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl KbsConnection {
    /// Connects; every step of the session gets `limit`. `now` is the guest's clock, if it has one yet.
    ///
    /// Of several names the next is tried where nobody was reached by one; somebody else in its place ends it.
    ///
    /// # Errors
    /// [`KbsHttpError`].
    pub async fn open(door: &KbsDoor, limit: Duration, now: Option<UnixTime>) -> Result<Self, KbsHttpError> {
        let egress = match door {
            KbsDoor::Address(addr) => return Self::at_address(addr, limit).await,
            KbsDoor::Named(egress) => egress,
        };
        let mut names = egress.names_for(EgressUse::Kbs).peekable();
        while let Some((host, port)) = names.next() {
            match egress.open(EgressUse::Kbs, host, port, now).await {
                Ok(stream) => {
                    let shown = Some((host.clone(), stream.validity()));
                    return Self::speak(&format!("{host}:{port}"), limit, stream, shown).await;
                }
                Err(error) if error.is_absence() && names.peek().is_some() => {
                    tracing::warn!(%error, "the next name of the key broker is tried");
                }
                Err(error) => return Err(error.into()),
            }
        }
        // `KbsDoor::new` makes no door by name without one.
        Err(malformed("-", "connect", &"no name is listed for the key broker"))
    }

    async fn at_address(addr: &str, limit: Duration) -> Result<Self, KbsHttpError> {
        let what = "connect";
        let stream = within(addr, what, limit, TcpStream::connect(addr))
            .await?
            .map_err(|source| KbsHttpError::Unreachable {
                addr: addr.into(),
                what,
                source,
            })?;
        Self::speak(addr, limit, stream, None).await
    }

    async fn speak<S>(
        addr: &str,
        limit: Duration,
        stream: S,
        shown: Option<(HostName, Validity)>,
    ) -> Result<Self, KbsHttpError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let what = "connect";
        let (sender, connection) = within(
            addr,
            what,
            limit,
            hyper::client::conn::http1::handshake(TokioIo::new(stream)),
        )
        .await?
        .map_err(|e| malformed(addr, what, &e))?;
        let connection = tokio::spawn(async move {
            // Its end shows as a failed request.
            let _ = connection.await;
        });
        Ok(Self {
            addr: addr.into(),
            shown,
            limit,
            sender,
            connection,
            cookie: None,
        })
    }

    /// Whether the certificate that this connection was made under is valid now; true for a broker without one. A connection that was
    /// made before the guest had a clock is judged by this alone.
    ///
    /// # Errors
    /// [`KbsHttpError::Egress`].
    pub fn check_certificate(&self, now: UnixTime) -> Result<(), KbsHttpError> {
        match &self.shown {
            Some((host, validity)) => Ok(validity.check(host, now)?),
            None => Ok(()),
        }
    }

    /// `POST` of a JSON body.
    ///
    /// # Errors
    /// [`KbsHttpError`].
    pub async fn post(&mut self, what: &'static str, path: &str, body: Vec<u8>) -> Result<Bytes, KbsHttpError> {
        self.exchange(what, Method::POST, path, body).await
    }

    /// `GET`.
    ///
    /// # Errors
    /// [`KbsHttpError`].
    pub async fn get(&mut self, what: &'static str, path: &str) -> Result<Bytes, KbsHttpError> {
        self.exchange(what, Method::GET, path, Vec::new()).await
    }

    async fn exchange(
        &mut self,
        what: &'static str,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Bytes, KbsHttpError> {
        let addr = self.addr.clone();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &addr)
            .header(CONTENT_TYPE, "application/json");
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| malformed(&addr, what, &e))?;
        let sender = &mut self.sender;
        let asked = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        let response = within(&addr, what, self.limit, asked)
            .await?
            .map_err(|e| malformed(&addr, what, &e))?;
        if let Some(cookie) = session_cookie(&response) {
            self.cookie = Some(cookie);
        }
        let status = response.status();
        let body = within(
            &addr,
            what,
            self.limit,
            Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect(),
        )
        .await?
        .map_err(|e| malformed(&addr, what, &e))?
        .to_bytes();
        if status == StatusCode::OK {
            return Ok(body);
        }
        let (code, detail) = refusal(&body);
        Err(KbsHttpError::Refused {
            addr,
            what,
            status: status.as_u16(),
            code,
            detail,
        })
    }
}

async fn within<F: Future>(
    addr: &str,
    what: &'static str,
    limit: Duration,
    future: F,
) -> Result<F::Output, KbsHttpError> {
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| KbsHttpError::Timeout {
            addr: addr.into(),
            what,
            limit_ms: limit.as_millis(),
        })
}

fn malformed(addr: &str, what: &'static str, error: &dyn std::fmt::Display) -> KbsHttpError {
    KbsHttpError::Malformed {
        addr: addr.into(),
        what,
        detail: error.to_string(),
    }
}

/// `kbs-session-id=...` out of `Set-Cookie`, ready to be sent back.
fn session_cookie(response: &Response<Incoming>) -> Option<HeaderValue> {
    response.headers().get_all(SET_COOKIE).iter().find_map(|value| {
        let pair = value.to_str().ok()?.split(';').next()?.trim();
        let (name, value) = pair.split_once('=')?;
        let plain = value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'='));
        (name == COOKIE_NAME && plain && pair.len() <= COOKIE_BYTES_MAX)
            .then(|| HeaderValue::from_str(pair).ok())
            .flatten()
    })
}

/// The broker's code, and its `ErrorInformation` (type and detail), made safe to print.
fn refusal(body: &[u8]) -> (String, String) {
    #[derive(Deserialize)]
    struct ErrorInformation {
        #[serde(default)]
        code: String,
        #[serde(rename = "type")]
        kind: String,
        detail: String,
    }
    let (code, text) = match serde_json::from_slice::<ErrorInformation>(body) {
        Ok(e) => (e.code, format!("{} ({})", e.detail, e.kind)),
        Err(_) => (String::new(), "no reason in the expected form".into()),
    };
    let code = code
        .chars()
        .filter(|c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_'))
        .take(CODE_CHARS_MAX)
        .collect();
    let text = text
        .chars()
        .filter(|c| matches!(c, ' '..='~'))
        .take(DETAIL_CHARS_MAX)
        .collect();
    (code, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers every request of one connection with the same bytes.
    async fn broker(answer: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                if answer.is_empty() || stream.write_all(&answer).await.is_err() {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
            }
        });
        addr
    }

    async fn open(addr: &str, limit_ms: u64) -> Result<KbsConnection, KbsHttpError> {
        let door = KbsDoor::Address(addr.to_owned());
        KbsConnection::open(&door, Duration::from_millis(limit_ms), None).await
    }

    async fn error_of(answer: &[u8]) -> KbsHttpError {
        let addr = broker(answer.to_vec()).await;
        let mut kbs = open(&addr, 300).await.unwrap();
        kbs.post("auth", "/kbs/v0/auth", b"{}".to_vec()).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_broker_that_misbehaves_is_named_and_bounded() {
        let body = br#"{"type":"https://x/Refused","detail":"snp.debug\u001b[31m"}"#;
        let answer = format!("HTTP/1.1 403 F\r\ncontent-length: {}\r\n\r\n", body.len());
        let refused = error_of(&[answer.as_bytes(), body].concat()).await;
        assert_eq!(refused.code(), "kbs.refused");
        assert!(
            refused
                .to_string()
                .contains("status 403: snp.debug[31m (https://x/Refused)"),
            "{refused}"
        );

        let long = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", ANSWER_BYTES_MAX + 1);
        let filler = vec![b'x'; ANSWER_BYTES_MAX + 1];
        assert_eq!(
            error_of(&[long.as_bytes(), &filler].concat()).await.code(),
            "kbs.malformed"
        );
        assert_eq!(error_of(b"SSH-2.0-x\r\n").await.code(), "kbs.malformed");
        assert_eq!(error_of(b"").await.code(), "kbs.timeout");
        let nobody = open("127.0.0.1:1", 1_000).await.err().unwrap();
        assert_eq!(nobody.code(), "kbs.unreachable");
    }

    #[tokio::test]
    async fn the_session_cookie_comes_back_and_nothing_else_of_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let seen = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 4096];
            assert!(stream.read(&mut buffer).await.unwrap() > 0);
            let first =
                "HTTP/1.1 200 OK\r\nset-cookie: kbs-session-id=abc-1; Path=/; HttpOnly\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(first.as_bytes()).await.unwrap();
            let n = stream.read(&mut buffer).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await
                .unwrap();
            String::from_utf8_lossy(&buffer[..n]).into_owned()
        });
        let mut kbs = open(&addr, 2_000).await.unwrap();
        kbs.post("auth", "/a", vec![]).await.unwrap();
        assert_eq!(kbs.get("resource", "/b").await.unwrap(), "ok");
        let seen = seen.await.unwrap();
        assert!(
            seen.starts_with("GET /b HTTP/1.1\r\n") && seen.contains("cookie: kbs-session-id=abc-1\r\n"),
            "{seen}"
        );
    }
}
