//! `POST /hanzo/v1/heads/{store}`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hanzo_attestation::name::KeyId;

use super::media::{self, Media};
use super::{AppState, Problem, session_of};
use crate::admission::busy;
use crate::heads::HeadRefusal;
use crate::rate::Route;

pub(super) const HEADS_ROUTE: &str = "/hanzo/v1/heads/{repository}/{kind}/{tag}";

pub(super) async fn heads(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path((repository, kind, tag)): Path<(String, String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match media::body(&headers, body, Media::Json) {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    let Ok(store) = KeyId::new(&format!("{repository}/{kind}/{tag}")) else {
        return Problem::new(StatusCode::NOT_FOUND, "InvalidRequestPath", "kbs.head.path").into_response();
    };
    // Without a session there is still the lease key; which of both is needed, the broker says.
    let session = match session_of(&state, &headers).await {
        Ok(session) => Some(session),
        Err(response) if response.status() == StatusCode::UNAUTHORIZED => None,
        Err(response) => return response,
    };
    let Some(_place) = state.admission.place(Route::Release).await else {
        return busy(&state.broker.metrics, Route::Release);
    };
    let broker = Arc::clone(&state.broker);
    let work = tokio::task::spawn_blocking(move || {
        let by = session.as_ref().map(|(attested, _)| attested.as_ref());
        broker.head(&store, &body, by)
    });
    match work.await {
        Ok(Ok(reply)) => ([(header::CONTENT_TYPE, "application/json")], reply).into_response(),
        Ok(Err(refusal)) => problem(&refusal).into_response(),
        Err(e) => Problem::internal(&e).into_response(),
    }
}

fn problem(refusal: &HeadRefusal) -> Problem {
    tracing::warn!(target: "hanzo_kbs::heads", code = refusal.code(), why = %refusal, "refused");
    let (status, name) = match refusal {
        HeadRefusal::Message(_) | HeadRefusal::Path => (StatusCode::BAD_REQUEST, "InvalidRequest"),
        HeadRefusal::Session => (StatusCode::UNAUTHORIZED, "Session"),
        HeadRefusal::NoGrant => (StatusCode::FORBIDDEN, "PolicyDeny"),
        HeadRefusal::Broker(e) => return Problem::broker(e),
        _ => (StatusCode::CONFLICT, "HeadConflict"),
    };
    Problem::new(status, name, refusal.code())
}
