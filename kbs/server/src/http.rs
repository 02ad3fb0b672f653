//! The endpoints.

mod coco;
mod cookie;
mod documents;
mod front;
mod heads;
mod log;
mod media;
mod reply;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use hanzo_attestation::Nonce;
use hanzo_attestation::name::KeyId;
use hanzo_kbs_protocol::heads::HEADS_BYTES_MAX;
use hanzo_kbs_protocol::{
    ATTEST_BYTES_MAX, ATTEST_PATH, AUTH_BYTES_MAX, AUTH_PATH, AttestBody, SampleTee, WireError, auth_request_with,
    challenge_body, encode_nonce,
};
use kbs_types::Tee;

use crate::admin::{self, ADMIN_BYTES_MAX, ADMIN_PATH};
use crate::admission::{Admission, Connection, Gate, admit, busy, session_busy};
use crate::broker::{Broker, now};
use crate::challenge::Challenge;
use crate::desk::Desk;
use crate::health::Health;
use crate::in_flight::UnderWay;
use crate::metrics::count;
use crate::rate::Route;
use crate::sessions::{Attested, SessionRefusal, Sessions};
use crate::shared;
pub(crate) use cookie::Transport;
pub(crate) use front::Front;
use media::Media;
pub(crate) use reply::Problem;

/// Where the newest head of the audit log is.
pub(crate) const LOG_HEAD_PATH: &str = "/hanzo/v1/log/checkpoint";
/// Where its tiles are.
pub(crate) const LOG_TILES_PATH: &str = "/hanzo/v1/log/tile/";

const ROTATION_ROUTE: &str = "/hanzo/v1/admin/rotations/{id}";

/// SNP evidence up to this size and without devices is verified where it arrived, on half of the cores at most: it is one
/// signature, and handing it to another thread and back costs a good part of that. All other kinds, whose cost depends on
/// what the broker has of collateral, never hold up a thread that accepts connections.
const INLINE_BYTES_MAX: usize = 32 * 1024;

/// What every handler needs.
#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) broker: Arc<Broker>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) desk: Arc<Desk>,
}

fn router(state: AppState) -> Router {
    // One byte more than the parsers take, so that they refuse by name.
    let limit = |bytes: usize| DefaultBodyLimit::max(bytes + 1);
    let gate = Gate {
        admission: Arc::clone(&state.admission),
        metrics: Arc::clone(&state.broker.metrics),
    };
    let shown_head = Arc::new(log::ShownHead::default());
    let health = Arc::new(Health::new(Arc::clone(&state.broker)));
    Router::new()
        .route(AUTH_PATH, post(auth).layer(limit(AUTH_BYTES_MAX)))
        .route(ATTEST_PATH, post(attest).layer(limit(ATTEST_BYTES_MAX)))
        .merge(coco::routes(get(resource)))
        .route(heads::HEADS_ROUTE, post(heads::heads).layer(limit(HEADS_BYTES_MAX)))
        .route(ADMIN_PATH, post(admin_request).layer(limit(ADMIN_BYTES_MAX)))
        .route(
            LOG_HEAD_PATH,
            get(move |state: State<AppState>| async move { shown_head.reply(&state.broker).await }),
        )
        .route(log::TILE_ROUTE, get(log::tile))
        .route(ROTATION_ROUTE, get(rotation))
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/health",
            get(
                move |state: State<AppState>, connection: Extension<Connection>, headers: HeaderMap| async move {
                    let may_know = state.admission.is_admin_connection(&connection);
                    health.reply(may_know && coco::is_admin(&state, &headers)).await
                },
            ),
        )
        .route("/metrics", get(metrics))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "NotFound", "kbs.path.unknown") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "kbs.method")
        })
        .with_state(state)
        .layer(axum::middleware::from_fn_with_state(gate, admit))
}

async fn auth(
    State(state): State<AppState>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let body = match media::body(&headers, body, Media::Json) {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let samples = match state.broker.takes_samples() {
        true => SampleTee::TestOnly,
        false => SampleTee::Refused,
    };
    let tee = match auth_request_with(&body, samples) {
        Ok(tee) => tee,
        Err(e) => return Problem::wire(&e).into_response(),
    };
    match state.sessions.challenges.issue(tee, now()) {
        Ok(Some((value, challenge))) => {
            count(&state.broker.metrics.challenges);
            let cookie = cookie::set(&value, state.sessions.challenges.ttl_s(), connection.transport);
            let reply = axum::Json(challenge_body(&challenge.nonce));
            ([(header::SET_COOKIE, cookie)], reply).into_response()
        }
        Ok(None) => Problem::wire(&WireError::Tee { got: tee }).into_response(),
        Err(e) => Problem::internal(&e).into_response(),
    }
}

/// The challenge that a request's cookie carries, if this broker or a replica of it gave it out.
fn challenge_of<'a>(state: &AppState, headers: &'a HeaderMap) -> Result<(Challenge, &'a str), SessionRefusal> {
    let value = cookie::get(headers).ok_or(SessionRefusal::Unknown)?;
    let challenge = state.sessions.challenges.read(value, now());
    Ok((challenge.ok_or(SessionRefusal::Unknown)?, value))
}

async fn attest(
    State(state): State<AppState>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let body = match media::body(&headers, body, Media::Json) {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let (challenge, value) = match challenge_of(&state, &headers) {
        Ok(found) => found,
        Err(refusal) => return Problem::session(refusal).into_response(),
    };
    if let Err(refusal) = state.sessions.may_attest(&challenge, now()) {
        return Problem::session(refusal).into_response();
    }
    let Some(_place) = state.admission.place(Route::Attest).await else {
        return busy(&state.broker.metrics, Route::Attest);
    };
    let (broker, sessions) = (Arc::clone(&state.broker), Arc::clone(&state.sessions));
    let named = value.to_owned();
    let is_small = body.len() <= INLINE_BYTES_MAX
        && challenge.tee == Tee::Snp
        && state.admission.has_spare_cores
        && !state.sessions.has_replicas
        && broker.lives.is_settled();
    let read = match is_small {
        true => match read_attest(&broker, &body) {
            Ok(read) => Some(read),
            Err(problem) => {
                count(&broker.metrics.not_attested);
                return problem.into_response();
            }
        },
        false => None,
    };
    let is_quick = read.as_ref().is_some_and(|read| read.additional_evidence.is_empty());
    let verify = move || {
        let read = match read {
            Some(read) => read,
            None => read_attest(&broker, &body)?,
        };
        verify_and_admit(&broker, &sessions, (&challenge, &named), (read, &body))
    };
    let verified = match is_quick {
        true => Ok(verify()),
        false => tokio::task::spawn_blocking(verify).await,
    };
    match verified {
        Ok(Ok(token)) => {
            count(&state.broker.metrics.attested);
            connection.standing.prove();
            let left_s = challenge.ends_at.0.saturating_sub(now().0);
            let cookie = cookie::set(value, left_s, connection.transport);
            // Letters, digits, `-`, `_` and `.`: as they stand.
            let reply = format!(r#"{{"token":"{token}"}}"#);
            let kind = "application/json".to_owned();
            ([(header::SET_COOKIE, cookie), (header::CONTENT_TYPE, kind)], reply).into_response()
        }
        Ok(Err(problem)) => {
            count(&state.broker.metrics.not_attested);
            problem.into_response()
        }
        Err(e) => Problem::internal(&e).into_response(),
    }
}

fn read_attest(broker: &Broker, bytes: &[u8]) -> Result<AttestBody, Problem> {
    broker.read_attest(bytes).map_err(|e| {
        log_refused(e.code(), &e);
        Problem::wire(&e)
    })
}

/// Verifies first and uses the challenge up last: whoever spoils an attempt spoils no session, and of any number that hold at
/// the same time one is admitted.
fn verify_and_admit(
    broker: &Broker,
    sessions: &Sessions,
    (challenge, cookie): (&Challenge, &str),
    (body, bytes): (AttestBody, &[u8]),
) -> Result<String, Problem> {
    if body.evidence.tee() != challenge.tee {
        return Err(
            Problem::new(StatusCode::BAD_REQUEST, "InvalidRequest", "kbs.session.tee")
                .with_detail(format!("the session was opened for {}", challenge.tee)),
        );
    }
    if body.nonce != encode_nonce(&challenge.nonce) {
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
    let nonce = challenge.nonce;
    let attested = Attested { nonce, body };
    let proven = broker.attest(&attested).map_err(|e| Problem::not_attested(&e))?;
    let now = now();
    let token = broker
        .tokens
        .issue(&proven, &attested.body, cookie, now, challenge.ends_at);
    let token = token.map_err(|e| Problem::internal(&e))?;
    if sessions.has_replicas {
        match shared::redeem(&broker.db, challenge, bytes, now) {
            Ok(true) => {}
            Ok(false) => return Err(Problem::session(SessionRefusal::Used)),
            Err(e) => return Err(Problem::broker(&e.into())),
        }
    }
    sessions
        .admit(challenge, attested, bytes.len(), now)
        .map_err(Problem::session)?;
    // Not before: of those that answer one challenge at the same time, this one counts.
    broker.verified.keep(nonce, &proven);
    Ok(token)
}

/// A session that attested at another replica: its answer is in the store. It is taken over, and judged for each key like any.
fn take_over(broker: &Broker, sessions: &Sessions, challenge: &Challenge) -> Result<Arc<Attested>, Problem> {
    let bytes = shared::recall(&broker.db, challenge).map_err(|e| Problem::broker(&e.into()))?;
    let bytes = bytes.ok_or_else(|| Problem::session(SessionRefusal::NotAttested))?;
    let body = broker.read_attest(&bytes).map_err(|e| Problem::wire(&e))?;
    if body.nonce != encode_nonce(&challenge.nonce) {
        return Err(Problem::session(SessionRefusal::NotAttested));
    }
    let nonce = challenge.nonce;
    match sessions.admit(challenge, Attested { nonce, body }, bytes.len(), now()) {
        // Two requests took it over at the same time.
        Ok(()) | Err(SessionRefusal::Used) => sessions.ask(challenge).map_err(Problem::session),
        Err(refusal) => Err(Problem::session(refusal)),
    }
}

/// What the session of a request's cookie or token proved, here or at another replica, and its place among the session's
/// requests. Else the answer.
async fn session_of(state: &AppState, headers: &HeaderMap) -> Result<(Arc<Attested>, UnderWay), Response> {
    let refused = |refusal| Problem::session(refusal).into_response();
    let (challenge, claims) = coco::session_named(state, headers).map_err(refused)?;
    let under_way = state.admission.of_session(&challenge.nonce);
    let under_way = under_way.ok_or_else(session_busy)?;
    let asked = match state.sessions.ask(&challenge) {
        Err(SessionRefusal::NotAttested) if state.sessions.has_replicas => {
            let place = state.admission.place(Route::Attest).await;
            let _place = place.ok_or_else(|| busy(&state.broker.metrics, Route::Attest))?;
            let (broker, sessions) = (Arc::clone(&state.broker), Arc::clone(&state.sessions));
            let work = tokio::task::spawn_blocking(move || take_over(&broker, &sessions, &challenge));
            work.await
                .map_err(|e| Problem::internal(&e).into_response())?
                .map_err(IntoResponse::into_response)?
        }
        asked => asked.map_err(refused)?,
    };
    let attested = coco::of_session(asked, claims.as_ref()).map_err(refused)?;
    Ok((attested, under_way))
}

async fn resource(
    State(state): State<AppState>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
    Path((repository, kind, tag)): Path<(String, String, String)>,
) -> Response {
    // The session comes first: who has none learns nothing about names.
    let (attested, _under_way) = match session_of(&state, &headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    connection.standing.prove();
    let Ok(key_id) = KeyId::new(&format!("{repository}/{kind}/{tag}")) else {
        return Problem::new(StatusCode::NOT_FOUND, "InvalidRequestPath", "kbs.key.unknown").into_response();
    };
    let Some(_place) = state.admission.place(Route::Release).await else {
        return busy(&state.broker.metrics, Route::Release);
    };
    match state.desk.release(key_id, attested).await {
        Ok(Ok(wrapped)) => ([(header::CONTENT_TYPE, "application/json")], wrapped).into_response(),
        Ok(Err(denied)) => Problem::denied(&denied).into_response(),
        Err(e) => Problem::internal(&e).into_response(),
    }
}

async fn admin_request(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let body = match media::body(&headers, body, Media::Json) {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let Some(_place) = state.admission.place(Route::Admin).await else {
        return busy(&state.broker.metrics, Route::Admin);
    };
    let broker = Arc::clone(&state.broker);
    let work = tokio::task::spawn_blocking(move || admin::apply(&broker, &body));
    match work.await {
        Ok(Ok(done)) => {
            count(&state.broker.metrics.admin);
            let status = match done.rotation() {
                Some(_) => StatusCode::ACCEPTED,
                None => StatusCode::OK,
            };
            match hanzo_attestation::jcs::to_vec("admin reply", &done) {
                Ok(reply) => (status, [(header::CONTENT_TYPE, "application/json")], reply).into_response(),
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

/// How a rotation stands. Its id is the nonce of the request that led to it: who does not know it learns nothing.
async fn rotation(State(state): State<AppState>, Path(id): Path<String>) -> Response {
    let status = Nonce::from_hex(&id).and_then(|id| state.broker.rotations.status(&id));
    let Some(status) = status else {
        return Problem::new(StatusCode::NOT_FOUND, "AdminNotFound", "kbs.rotation.unknown")
            .with_detail("there is none of this id, or the broker was started anew: ask for it again".into())
            .into_response();
    };
    match hanzo_attestation::jcs::to_vec("rotation", &status) {
        Ok(reply) => ([(header::CONTENT_TYPE, "application/json")], reply).into_response(),
        Err(e) => Problem::internal(&e).into_response(),
    }
}

async fn metrics(State(state): State<AppState>) -> Response {
    let now = now();
    let age_s = state.broker.lives.now().oldest_collateral();
    let age_s = age_s.map(|changed_s| i64::try_from(now.0).unwrap_or(i64::MAX).saturating_sub(changed_s));
    let text = state.broker.metrics.text(state.sessions.size(now), age_s);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// Evidence that fails before a key is asked for is no decision about a key: it has a line in the log and none in the audit
/// chain, which strangers could otherwise fill.
fn log_refused(code: &str, why: &dyn std::fmt::Display) {
    tracing::warn!(target: "hanzo_kbs::attest", code, %why, "refused");
}
