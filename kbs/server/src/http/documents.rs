//! CoCo's `resource-policy` and `reference-value`, each about one tenant.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanzo_attestation::name::Name;
use serde_json::{Value, json};

use super::coco::bearer_token;
use super::media::{self, Media};
use super::reply::Problem;
use super::{AppState, busy};
use crate::broker::{Broker, now};
use crate::coco::bearer::{self, Admin, BearerRefusal};
use crate::coco::documents::{self, DocumentRefusal};
use crate::metrics::count;
use crate::rate::Route;
use crate::tenant::Document;

/// Longest body that is read.
const BODY_BYTES_MAX: usize = 1 << 20;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/kbs/v0/resource-policy", get(get_policy).post(put_policy))
        .route("/kbs/v0/reference-value", get(get_values).post(put_values))
        .route("/kbs/v0/reference-value/{name}", get(get_value))
        .route("/kbs/v0/attestation-policy", any(appraisal))
        .route("/kbs/v0/attestation-policy/{id}", any(appraisal))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn put_policy(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match media::body(&headers, body, Media::Json) {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    ask(state, headers, uri, move |broker, admin, tenant| {
        let text = documents::read_policy(&body)?;
        documents::put_policy(broker, admin, tenant, &text).map(|()| None)
    })
    .await
}

async fn put_values(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match media::body(&headers, body, Media::Json) {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    ask(state, headers, uri, move |broker, admin, tenant| {
        let values = documents::read_values(&body)?;
        documents::put_values(broker, admin, tenant, values).map(|()| None)
    })
    .await
}

async fn get_policy(State(state): State<AppState>, uri: Uri, headers: HeaderMap) -> Response {
    ask(state, headers, uri, |broker, _, tenant| {
        let stored = documents::get(broker, tenant, &Document::ResourcePolicy)?;
        let stored = stored.ok_or_else(|| none("a resource policy"))?;
        let policy = URL_SAFE_NO_PAD.encode(&stored.text);
        Ok(Some(
            json!({"policy": policy, "tenant": tenant.as_str(), "version": stored.version}),
        ))
    })
    .await
}

async fn get_values(State(state): State<AppState>, uri: Uri, headers: HeaderMap) -> Response {
    ask(state, headers, uri, |broker, _, tenant| {
        values(broker, tenant).map(Some)
    })
    .await
}

async fn get_value(State(state): State<AppState>, uri: Uri, headers: HeaderMap, Path(name): Path<String>) -> Response {
    ask(state, headers, uri, move |broker, _, tenant| {
        let all = values(broker, tenant)?;
        let value = all
            .get(&name)
            .cloned()
            .ok_or_else(|| none("a reference value of this name"))?;
        Ok(Some(value))
    })
    .await
}

fn none(what: &str) -> DocumentRefusal {
    DocumentRefusal::None { what: what.to_owned() }
}

fn values(broker: &Broker, tenant: &Name) -> Result<Value, DocumentRefusal> {
    let Some(stored) = documents::get(broker, tenant, &Document::ReferenceValues)? else {
        return Ok(json!({}));
    };
    let broken = |_| crate::KbsError::Stored {
        what: "reference values",
    };
    Ok(serde_json::from_str(&stored.text).map_err(broken)?)
}

type Answered = Result<Option<Value>, DocumentRefusal>;

/// Who asks comes first, then for which tenant.
async fn ask(
    state: AppState,
    headers: HeaderMap,
    uri: Uri,
    act: impl FnOnce(&Broker, &Admin<'_>, &Name) -> Answered + Send + 'static,
) -> Response {
    let Some(_place) = state.admission.place(Route::Admin).await else {
        return busy(&state.broker.metrics, Route::Admin);
    };
    let broker = Arc::clone(&state.broker);
    let work = tokio::task::spawn_blocking(move || -> Answered {
        let token = bearer_token(&headers).ok_or(BearerRefusal::Missing)?;
        let admin = bearer::authenticate(token, &broker.coco.admins, now())?;
        let tenant = documents::tenant_of(&admin, uri.query())?;
        act(&broker, &admin, &tenant)
    });
    let metrics = &state.broker.metrics;
    match work.await {
        Ok(Ok(answer)) => {
            count(&metrics.admin);
            match answer {
                Some(answer) => Json(answer).into_response(),
                None => (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")]).into_response(),
            }
        }
        Ok(Err(refusal)) => {
            count(&metrics.admin_refused);
            tracing::warn!(target: "hanzo_kbs::admin", code = refusal.code(), %refusal);
            Problem::document(&refusal).into_response()
        }
        Err(e) => Problem::internal(&e).into_response(),
    }
}

/// Trustee's attestation policies say by Rego which claims of the evidence are trustworthy. Here that is the appraisal's part,
/// key by key; a module that could affirm claims would widen what the appraisal refuses.
async fn appraisal(State(state): State<AppState>, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Response {
    if let Err(e) = body {
        return Problem::body(&e).into_response();
    }
    let admin = bearer_token(&headers)
        .ok_or(BearerRefusal::Missing)
        .and_then(|token| bearer::authenticate(token, &state.broker.coco.admins, now()));
    match admin {
        Err(refusal) => Problem::document(&refusal.into()).into_response(),
        Ok(_) => Problem::new(StatusCode::NOT_IMPLEMENTED, "GlobalPolicy", "kbs.policy.global")
            .with_detail(
                "attestation policies affirm claims, and nothing here affirms what the appraisal does not: member `appraisal` of each key's own policy says what evidence must reach (`hanzo-kbs policy set`), and what only narrows it can stand in the tenant's resource policy (POST /kbs/v0/resource-policy)"
                    .into(),
            )
            .into_response(),
    }
}

impl Problem {
    fn document(refusal: &DocumentRefusal) -> Self {
        let (status, name) = match refusal {
            DocumentRefusal::Bearer(refusal) => return Self::bearer(*refusal),
            DocumentRefusal::Waits { .. } => (StatusCode::ACCEPTED, "Proposed"),
            DocumentRefusal::None { .. } => (StatusCode::NOT_FOUND, "AdminNotFound"),
            DocumentRefusal::Admin(crate::admin::AdminRefusal::Document(_)) => {
                (StatusCode::BAD_REQUEST, "InvalidRequest")
            }
            DocumentRefusal::Admin(e) => return Self::admin(e),
            DocumentRefusal::Broker(e) => return Self::broker(e),
            _ => (StatusCode::BAD_REQUEST, "InvalidRequest"),
        };
        Self::new(status, name, refusal.code()).with_detail(refusal.to_string())
    }
}
