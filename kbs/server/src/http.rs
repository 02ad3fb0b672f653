//! The endpoints.

mod cookie;
mod reply;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hanzo_attestation::name::KeyId;
use hanzo_kbs_protocol::{
    ATTEST_BYTES_MAX, ATTEST_PATH, AUTH_BYTES_MAX, AUTH_PATH, AttestBody, WireError, auth_request, challenge_body,
    encode_nonce,
};

use crate::admin::{self, ADMIN_BYTES_MAX, ADMIN_PATH};
use crate::broker::{Broker, now};
use crate::metrics::count;
use crate::sessions::{Attested, SessionRefusal, Sessions};
use crate::token::token;
use reply::Problem;

/// What every handler needs.
#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) broker: Arc<Broker>,
    pub(crate) sessions: Arc<Sessions>,
}

pub(crate) fn router(state: AppState) -> Router {
    // One byte more than the parsers take, so that they refuse by name.
    let limit = |bytes: usize| DefaultBodyLimit::max(bytes + 1);
    Router::new()
        .route(AUTH_PATH, post(auth).layer(limit(AUTH_BYTES_MAX)))
        .route(ATTEST_PATH, post(attest).layer(limit(ATTEST_BYTES_MAX)))
        .route("/kbs/v0/resource/{repository}/{kind}/{tag}", get(resource))
        .route(ADMIN_PATH, post(admin_request).layer(limit(ADMIN_BYTES_MAX)))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "NotFound", "kbs.path.unknown") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "kbs.method")
        })
        .with_state(state)
}

async fn auth(
    State(state): State<AppState>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(e) => return Problem::body(&e).into_response(),
    };
    if let Err(e) = auth_request(&body) {
        return Problem::wire(&e).into_response();
    }
    match state.sessions.open(Instant::now()) {
        Ok(Ok((id, nonce))) => {
            count(&state.broker.metrics.challenges);
            let cookie = cookie::set(&id, state.sessions.ttl().as_secs());
            ([(header::SET_COOKIE, cookie)], axum::Json(challenge_body(&nonce))).into_response()
        }
        Ok(Err(refusal)) => Problem::session(refusal).into_response(),
        Err(e) => Problem::internal(&e).into_response(),
    }
}

async fn attest(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(e) => return Problem::body(&e).into_response(),
    };
    let Some(id) = cookie::get(&headers) else {
        return Problem::session(SessionRefusal::Unknown).into_response();
    };
    let nonce = match state.sessions.begin(&id, Instant::now()) {
        Ok(nonce) => nonce,
        Err(refusal) => return Problem::session(refusal).into_response(),
    };
    let broker = Arc::clone(&state.broker);
    let ttl_s = state.sessions.ttl().as_secs();
    let work = tokio::task::spawn_blocking(move || -> Result<(Attested, String), Problem> {
        let body = AttestBody::parse(&body).map_err(|e| {
            log_refused(e.code(), &e);
            Problem::wire(&e)
        })?;
        check_kind(&body).map_err(|e| Problem::wire(&e))?;
        if body.nonce != encode_nonce(&nonce) {
            log_refused(
                "kbs.session.nonce",
                &"nonce: the body names another challenge than its session's",
            );
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "NonceMismatch",
                "kbs.session.nonce",
            ));
        }
        let attested = Attested { nonce, body };
        let result = broker.attest(&attested).map_err(|e| match e {
            Ok(e) => {
                log_refused(e.code(), &e);
                Problem::verify(&e)
            }
            Err(e) => Problem::internal(&e),
        })?;
        let token = token(&broker.identity, &result, now(), ttl_s).map_err(|e| Problem::internal(&e))?;
        Ok((attested, token))
    });
    match work.await {
        Ok(Ok((attested, token))) => {
            count(&state.broker.metrics.attested);
            state.sessions.finish(&id, Some(attested));
            let cookie = cookie::set(&id, ttl_s);
            let reply = axum::Json(serde_json::json!({ "token": token }));
            ([(header::SET_COOKIE, cookie)], reply).into_response()
        }
        Ok(Err(problem)) => {
            count(&state.broker.metrics.not_attested);
            state.sessions.finish(&id, None);
            problem.into_response()
        }
        Err(e) => {
            state.sessions.finish(&id, None);
            Problem::internal(&e).into_response()
        }
    }
}

async fn resource(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path((repository, kind, tag)): Path<(String, String, String)>,
) -> Response {
    // The session comes first: who has none learns nothing about names.
    let session = cookie::get(&headers).ok_or(SessionRefusal::Unknown);
    let attested = match session.and_then(|id| state.sessions.ask(&id, Instant::now())) {
        Ok(attested) => attested,
        Err(refusal) => return Problem::session(refusal).into_response(),
    };
    let Ok(key_id) = KeyId::new(&format!("{repository}/{kind}/{tag}")) else {
        return Problem::new(StatusCode::NOT_FOUND, "InvalidRequestPath", "kbs.key.unknown").into_response();
    };
    let broker = Arc::clone(&state.broker);
    let work = tokio::task::spawn_blocking(move || broker.release(&key_id, &attested));
    match work.await {
        Ok(Ok(wrapped)) => ([(header::CONTENT_TYPE, "application/json")], wrapped).into_response(),
        Ok(Err(denied)) => Problem::denied(&denied).into_response(),
        Err(e) => Problem::internal(&e).into_response(),
    }
}

async fn admin_request(
    State(state): State<AppState>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(e) => return Problem::body(&e).into_response(),
    };
    let broker = Arc::clone(&state.broker);
    let work = tokio::task::spawn_blocking(move || admin::apply(&broker, &body));
    match work.await {
        Ok(Ok(done)) => {
            count(&state.broker.metrics.admin);
            match hanzo_attestation::jcs::to_vec("admin reply", &done) {
                Ok(reply) => ([(header::CONTENT_TYPE, "application/json")], reply).into_response(),
                Err(e) => Problem::internal(&e).into_response(),
            }
        }
        Ok(Err(refusal)) => {
            count(&state.broker.metrics.admin_refused);
            tracing::warn!(target: "hanzo_kbs::admin", code = refusal.code(), %refusal);
            Problem::admin(&refusal).into_response()
        }
        Err(e) => Problem::internal(&e).into_response(),
    }
}

async fn metrics(State(state): State<AppState>) -> Response {
    let text = state.broker.metrics.text(state.sessions.count());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// What no key is released for yet.
fn check_kind(body: &AttestBody) -> Result<(), WireError> {
    if body.evidence.signed().is_none() {
        return Err(WireError::Sample);
    }
    if body.wrap_key.hpke().is_none() || body.init_data.is_some() {
        return Err(WireError::Unsupported {
            member: "tee-pubkey or init-data",
            expected: "a key with alg hanzo-hpke-x-wing or hanzo-hpke-mlkem1024-p384, and null",
        });
    }
    Ok(())
}

/// Evidence that fails before a key is asked for is no decision about a key: it has a line in the log and none in the audit
/// chain, which strangers could otherwise fill.
fn log_refused(code: &str, why: &dyn std::fmt::Display) {
    tracing::warn!(target: "hanzo_kbs::attest", code, %why, "refused");
}

/// The wire's own texts name no secret and quote no input.
impl Problem {
    fn wire(e: &WireError) -> Self {
        let (status, name) = match e {
            WireError::Version => (StatusCode::UNAUTHORIZED, "ProtocolVersion"),
            WireError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge"),
            _ => (StatusCode::BAD_REQUEST, "InvalidRequest"),
        };
        Self::new(status, name, e.code()).with_detail(e.to_string())
    }
}
