//! One connection, in two types. An [`Unproven`] one can ask for evidence and prove itself; only a [`Proven`] one can
//! carry a request:
//! ```compile_fail
//! use hanzo_client::{ChannelRequest, Unproven};
//! async fn leak(unproven: Unproven, request: ChannelRequest) {
//!     unproven.send(request).await;
//! }
//! ```
//! and nothing but [`Unproven::prove`] makes one:
//! ```compile_fail
//! use hanzo_client::{Proven, Unproven};
//! fn skip_the_proof(unproven: Unproven) -> Proven {
//!     Proven { wire: unproven.wire, pinned: unproven.pinned }
//! }
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hanzo_attestation::channel::{
    ATTESTATION_PATH, PROOF_EXPORTER_CONTEXT, PROOF_PATH, ProofRequest, ProofResponse, proof_info,
};
use hanzo_attestation::jcs::{self, JcsError};
use hanzo_attestation::{Digest256, Nonce, bundle};
use hanzo_verifier::VerifyError;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use subtle::ConstantTimeEq as _;
use tokio::task::AbortHandle;
use zeroize::Zeroizing;

use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::limits::Limits;
use crate::pinned::Pinned;
use crate::request::ChannelRequest;
use crate::route;
use crate::tls;

/// Longest answer to a channel proof in bytes.
const PROOF_ANSWER_BYTES_MAX: usize = 1024;
/// Length of HPKE.Export("proof", 32) in bytes.
const PROOF_BYTES: usize = 32;

/// HTTP/1.1 over one TLS session, with the task that drives it.
struct Wire {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A TLS session with a peer that holds the key of its certificate, and of whom nothing else is known.
pub struct Unproven {
    wire: Wire,
    endpoint: Endpoint,
    limits: Limits,
    spki_sha256: Digest256,
    ekm: Zeroizing<[u8; 32]>,
}

/// A connection that ends in the guest whose keyset was attested.
pub struct Proven {
    wire: Wire,
    pinned: Arc<Pinned>,
    idle_since: Instant,
}

impl Unproven {
    /// Connects and shakes hands. No application byte is sent.
    pub(crate) async fn open(
        endpoint: &Endpoint,
        proxy: Option<&Endpoint>,
        config: Arc<ClientConfig>,
        limits: &Limits,
    ) -> Result<Self, ClientError> {
        let tcp = within(endpoint, "connect", limits.connect, route::connect(endpoint, proxy)).await??;
        let done = within(endpoint, "TLS handshake", limits.handshake, tls::handshake(config, tcp)).await??;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(128 * 1024)
            .max_headers(64)
            .handshake(TokioIo::new(done.stream))
            .await
            .map_err(|e| ClientError::Exchange { detail: e.to_string() })?;
        let driver = tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "connection ended");
            }
        })
        .abort_handle();
        Ok(Self {
            wire: Wire { sender, driver },
            endpoint: endpoint.clone(),
            limits: *limits,
            spki_sha256: done.spki_sha256,
            ekm: done.ekm,
        })
    }

    /// SHA-256 of the SubjectPublicKeyInfo (DER) that this connection's handshake was signed with.
    pub fn spki_sha256(&self) -> Digest256 {
        self.spki_sha256
    }

    /// Asks for a bundle that answers `challenge`.
    pub(crate) async fn fetch_bundle(&mut self, challenge: &Nonce) -> Result<Vec<u8>, ClientError> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(format!("{ATTESTATION_PATH}?challenge={challenge}"))
            .header(header::HOST, "guest")
            .body(Full::default())
            .map_err(|_| ClientError::Request { detail: "attestation" })?;
        let exchange = exchange(&mut self.wire.sender, request, bundle::BUNDLE_BYTES_MAX);
        let (status, body) = within(&self.endpoint, "attestation", self.limits.attestation, exchange)
            .await?
            .map_err(|e| match e {
                ExchangeError::TooLong => ClientError::Attestation(VerifyError::Bundle(JcsError::TooLarge {
                    what: "bundle",
                    limit: bundle::BUNDLE_BYTES_MAX,
                    got: bundle::BUNDLE_BYTES_MAX + 1,
                })),
                ExchangeError::Http(got) => ClientError::AttestationAnswer { got },
            })?;
        if status != StatusCode::OK {
            return Err(ClientError::AttestationAnswer {
                got: describe(status, &body),
            });
        }
        Ok(body.to_vec())
    }

    /// Compares the connection's TLS key with the keyset's.
    ///
    /// # Errors
    /// [`ClientError::SpkiMismatch`].
    pub(crate) fn check_spki(&self, expected: &Digest256) -> Result<(), ClientError> {
        if self.spki_sha256 == *expected {
            return Ok(());
        }
        Err(ClientError::SpkiMismatch {
            expected: *expected,
            got: self.spki_sha256,
        })
    }

    /// Runs the channel proof of DESIGN section 4.
    ///
    /// # Establishes
    /// The peer of this very TLS session holds the keyset's channel key, so nobody relays it.
    ///
    /// # Errors
    /// [`ClientError::SpkiMismatch`], [`ClientError::ProofMismatch`]. The connection is handed back, so that a guest
    /// that changed its keyset can be attested again on it.
    pub(crate) async fn prove(mut self, pinned: &Arc<Pinned>) -> Result<Proven, (Self, ClientError)> {
        match self.try_prove(pinned).await {
            Ok(()) => Ok(Proven {
                wire: self.wire,
                pinned: pinned.clone(),
                idle_since: Instant::now(),
            }),
            Err(e) => Err((self, e)),
        }
    }

    async fn try_prove(&mut self, pinned: &Pinned) -> Result<(), ClientError> {
        self.check_spki(pinned.spki_sha256())?;
        let info = Zeroizing::new(proof_info(&self.ekm, pinned.keyset_digest()));
        let (enc, expected) =
            hanzo_pqc::hpke::export_sender(pinned.channel_key(), &info, PROOF_EXPORTER_CONTEXT, PROOF_BYTES)
                .map_err(|_| ClientError::ChannelKey)?;
        let body = jcs::to_vec("channel proof", &ProofRequest { enc: hex::encode(enc) }).map_err(|_| {
            ClientError::Request {
                detail: "channel proof",
            }
        })?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(PROOF_PATH)
            .header(header::HOST, "guest")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .map_err(|_| ClientError::Request {
                detail: "channel proof",
            })?;
        let exchange = exchange(&mut self.wire.sender, request, PROOF_ANSWER_BYTES_MAX);
        let (status, body) = within(&self.endpoint, "channel proof", self.limits.proof, exchange)
            .await?
            .map_err(|e| ClientError::ProofAnswer { got: e.to_string() })?;
        if status != StatusCode::OK {
            return Err(ClientError::ProofAnswer {
                got: describe(status, &body),
            });
        }
        let answer: ProofResponse =
            jcs::from_slice("channel proof", &body, PROOF_ANSWER_BYTES_MAX).map_err(|_| ClientError::ProofAnswer {
                got: "another document".into(),
            })?;
        let mut given = [0_u8; PROOF_BYTES];
        hex::decode_to_slice(&answer.proof, &mut given).map_err(|_| ClientError::ProofAnswer {
            got: "no 32-byte hex text".into(),
        })?;
        if bool::from(given.as_slice().ct_eq(expected.as_slice())) {
            Ok(())
        } else {
            Err(ClientError::ProofMismatch {
                keyset_digest: *pinned.keyset_digest(),
            })
        }
    }
}

/// Why a small request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("a longer answer")]
    TooLong,
    #[error("{0}")]
    Http(String),
}

/// One small request and its whole answer, of at most `limit` bytes.
pub(crate) async fn exchange(
    sender: &mut http1::SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    limit: usize,
) -> Result<(StatusCode, Bytes), ExchangeError> {
    let http = |e: hyper::Error| ExchangeError::Http(e.to_string());
    sender.ready().await.map_err(http)?;
    let answer = sender.send_request(request).await.map_err(http)?;
    let status = answer.status();
    match Limited::new(answer.into_body(), limit).collect().await {
        Ok(body) => Ok((status, body.to_bytes())),
        Err(e) if e.is::<LengthLimitError>() => Err(ExchangeError::TooLong),
        Err(e) => Err(ExchangeError::Http(e.to_string())),
    }
}

/// The status, with the code of the problem document (RFC 9457) if the body is one.
pub(crate) fn describe(status: StatusCode, body: &[u8]) -> String {
    let code = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|v| v.get("code").and_then(|c| c.as_str()).map(str::to_owned))
        .filter(|c| c.len() <= 64 && c.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_')));
    match code {
        Some(code) => format!("status {} ({code})", status.as_u16()),
        None => format!("status {}", status.as_u16()),
    }
}

/// Why [`Proven::send`] has no answer.
pub(crate) enum SendError {
    /// The connection was closed before a byte of the request was written.
    NotSent,
    /// It may have been written.
    Broken(ClientError),
}

impl Proven {
    /// The verdict and keyset it was proven against.
    pub fn pinned(&self) -> &Arc<Pinned> {
        &self.pinned
    }

    /// True if it can take another request now.
    pub(crate) async fn is_usable(&mut self, idle_max: Duration) -> bool {
        self.idle_since.elapsed() < idle_max
            && matches!(
                tokio::time::timeout(Duration::from_millis(100), self.wire.sender.ready()).await,
                Ok(Ok(()))
            )
    }

    /// Puts a later verdict on the same keyset in place of the one that the connection was proven under.
    pub(crate) fn renew(&mut self, pinned: Arc<Pinned>) {
        if pinned.keyset_digest() == self.pinned.keyset_digest() {
            self.pinned = pinned;
        }
    }

    pub(crate) fn rest(&mut self) {
        self.idle_since = Instant::now();
    }

    /// Sends one request and waits for the head of its answer.
    ///
    /// # Errors
    /// As [`ClientError::Exchange`]; a closed connection counts as an error here, since one connection cannot be
    /// replaced from within. [`crate::AttestedClient::send`] does that.
    pub async fn send(&mut self, request: ChannelRequest) -> Result<Response<Incoming>, ClientError> {
        let http = request.into_http(self.pinned.keyset_digest())?;
        match self.try_send(http).await {
            Ok(answer) => Ok(answer),
            Err(SendError::Broken(e)) => Err(e),
            Err(SendError::NotSent) => Err(ClientError::Exchange {
                detail: "the connection was closed before the request was sent".into(),
            }),
        }
    }

    pub(crate) async fn try_send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, SendError> {
        self.wire
            .sender
            .try_send_request(request)
            .await
            .map_err(|mut e| match e.take_message() {
                Some(_) => SendError::NotSent,
                None => SendError::Broken(ClientError::Exchange {
                    detail: e.into_error().to_string(),
                }),
            })
    }
}

pub(crate) async fn within<T>(
    endpoint: &Endpoint,
    step: &'static str,
    after: Duration,
    work: impl Future<Output = T>,
) -> Result<T, ClientError> {
    tokio::time::timeout(after, work)
        .await
        .map_err(|_| ClientError::Timeout {
            endpoint: endpoint.to_string(),
            step,
            after,
        })
}
