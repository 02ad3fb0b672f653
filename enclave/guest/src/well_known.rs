//! The two routes of the guest itself: its bundle, and the proof of each connection.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, RawQuery, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use hanzo_attestation::channel::{ATTESTATION_PATH, BUNDLE_MEDIA_TYPE, PROOF_PATH, ProofRequest};
use hanzo_attestation::{Digest384, Nonce, jcs};
use hanzo_channel::{ChannelError, ChannelKey, Exporter};
use hyper::body::{Frame, SizeHint};

use crate::evidence::{EvidenceDesk, EvidenceError};

/// Longest proof request, in bytes: the hex of an X-Wing encapsulation and its JSON.
const PROOF_BYTES_MAX: usize = 4096;
/// Proofs that one connection may ask for.
const PROOFS_PER_CONNECTION: u32 = 16;
/// Time for the body of a proof request: it is one packet or two.
const PROOF_BODY_TIMEOUT: Duration = Duration::from_secs(3);
const EVIDENCE_TIMEOUT: Duration = Duration::from_secs(15);

/// What belongs to one connection.
pub struct Connection {
    exporter: Exporter,
    proofs: AtomicU32,
}

impl Connection {
    /// Of a fresh connection.
    pub fn new(exporter: Exporter) -> Self {
        Self {
            exporter,
            proofs: AtomicU32::new(0),
        }
    }
}

/// Answers the proofs of one keyset's connections.
pub struct ProofDesk {
    /// The keyset's channel key.
    pub channel: ChannelKey,
    /// Which keyset it is.
    pub keyset_digest: Digest384,
}

impl ProofDesk {
    /// Answers a connection's first proof request, as it is written; `None` for what has to be refused.
    pub(crate) fn answer_document(&self, document: &[u8], connection: &Connection) -> Option<Vec<u8>> {
        let answer = self
            .channel
            .answer_document(document, &connection.exporter, &self.keyset_digest)
            .ok()?;
        connection.proofs.fetch_add(1, Ordering::Relaxed);
        Some(answer)
    }
}

/// What the routes need.
pub struct WellKnown {
    /// Makes bundles.
    pub desk: EvidenceDesk,
    /// Answers proofs.
    pub proofs: Arc<ProofDesk>,
}

/// The routes of the attested channel.
pub fn router(state: Arc<WellKnown>) -> Router {
    Router::new()
        .route(PROOF_PATH, post(proof))
        .layer(DefaultBodyLimit::max(PROOF_BYTES_MAX))
        .with_state(state.clone())
        .merge(evidence(state))
}

/// The bundle alone: it proves itself, so it may travel in clear.
pub fn evidence(state: Arc<WellKnown>) -> Router {
    Router::new()
        .route(ATTESTATION_PATH, get(attestation))
        .layer(DefaultBodyLimit::max(PROOF_BYTES_MAX))
        .with_state(state)
}

async fn attestation(State(state): State<Arc<WellKnown>>, RawQuery(query): RawQuery) -> Response {
    let challenge = match query.as_deref() {
        None | Some("") => return bundle([state.desk.standing()].into()),
        Some(query) => query.strip_prefix("challenge=").and_then(Nonce::from_hex),
    };
    let Some(challenge) = challenge else {
        return problem(
            StatusCode::BAD_REQUEST,
            "evidence.challenge",
            "query: expected nothing or challenge= and 64 lower-case hex digits",
        );
    };
    match tokio::time::timeout(EVIDENCE_TIMEOUT, state.desk.fresh(challenge)).await {
        Ok(Ok(fresh)) => bundle(fresh.into_pieces().into()),
        Ok(Err(error)) => {
            let busy = matches!(*error, EvidenceError::Busy);
            let detail = if busy {
                "too many challenges are waiting; try again"
            } else {
                "the security processor gave no evidence; the guest's log says why"
            };
            problem(StatusCode::SERVICE_UNAVAILABLE, error.code(), detail)
        }
        Err(_) => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "evidence.timeout",
            "the security processor did not answer in time",
        ),
    }
}

/// The pieces of a bundle, sent one after the other under one length: most are shared with other callers' answers.
fn bundle(pieces: VecDeque<Bytes>) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(BUNDLE_MEDIA_TYPE)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, Body::new(Pieces(pieces))).into_response()
}

struct Pieces(VecDeque<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}

async fn proof(
    State(state): State<Arc<WellKnown>>,
    Extension(connection): Extension<Arc<Connection>>,
    request: Request,
) -> Response {
    if connection.proofs.fetch_add(1, Ordering::Relaxed) >= PROOFS_PER_CONNECTION {
        return problem(
            StatusCode::TOO_MANY_REQUESTS,
            "channel.proofs",
            "at most 16 proofs per connection: open another",
        );
    }
    let body = tokio::time::timeout(PROOF_BODY_TIMEOUT, Bytes::from_request(request, &())).await;
    let body = match body {
        Ok(Ok(body)) => body,
        Ok(Err(rejection)) => {
            return problem(
                rejection.status(),
                "channel.proof_request",
                "the body is too long or broke off",
            );
        }
        Err(_) => {
            return problem(
                StatusCode::REQUEST_TIMEOUT,
                "channel.proof_request",
                "the body did not arrive within 3 s",
            );
        }
    };
    let request: ProofRequest = match jcs::from_slice("channel proof", &body, PROOF_BYTES_MAX) {
        Ok(request) => request,
        Err(error) => return problem(StatusCode::BAD_REQUEST, "channel.proof_request", &error.to_string()),
    };
    let ProofDesk { channel, keyset_digest } = &*state.proofs;
    match channel.answer(&request, &connection.exporter, keyset_digest) {
        Ok(answer) => match jcs::to_vec("channel proof", &answer) {
            Ok(bytes) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], bytes).into_response(),
            Err(_) => problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                "channel.proof",
                "no answer could be written",
            ),
        },
        Err(error @ ChannelError::ProofRequest { .. }) => {
            problem(StatusCode::BAD_REQUEST, error.code(), &error.to_string())
        }
        Err(error) => problem(StatusCode::BAD_REQUEST, error.code(), "the proof could not be answered"),
    }
}

/// A problem document (RFC 9457).
fn problem(status: StatusCode, code: &'static str, detail: &str) -> Response {
    let body = serde_json::json!({
        "code": code,
        "detail": detail,
        "status": status.as_u16(),
        "title": status.canonical_reason(),
    });
    let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
    (status, headers, body.to_string()).into_response()
}
