//! CoCo's routes besides `auth`, `attest` and a resource's `GET`: key sets, admin calls, and plugins that there are none of.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use hanzo_attestation::name::KeyId;
use hanzo_kbs_protocol::jwe::SECRET_BYTES_MAX;

use super::documents;
use super::media::{self, Media};
use super::reply::Problem;
use super::{AppState, challenge_of, cookie};
use crate::broker::now;
use crate::challenge::Challenge;
use crate::coco::bearer::{self, BearerRefusal};
use crate::coco::resources::{self, ResourceRefusal};
use crate::metrics::count;
use crate::sessions::{Attested, SessionRefusal};
use crate::token::Claims;

/// The routes; a resource's `GET` is the caller's.
pub(super) fn routes(resource: axum::routing::MethodRouter<AppState>) -> Router<AppState> {
    Router::new()
        .route(
            "/kbs/v0/resource/{repository}/{kind}/{tag}",
            resource
                .post(put)
                .delete(delete)
                .layer(DefaultBodyLimit::max(SECRET_BYTES_MAX + 1)),
        )
        .merge(documents::routes())
        .route("/kbs/v0/jwks", get(jwks))
        .route("/.well-known/jwks.json", get(jwks))
        .route("/kbs/v0/{plugin}", any(plugin))
        .route("/kbs/v0/{plugin}/{*path}", any(plugin))
}

async fn jwks(State(state): State<AppState>) -> Response {
    axum::Json(state.broker.tokens.jwks()).into_response()
}

/// `kbs+<plugin>:///path` of a client; or a resource whose path has not three parts.
async fn plugin(uri: Uri) -> Problem {
    let plugin = uri.path().split('/').nth(3).unwrap_or_default();
    if matches!(plugin, "resource" | "auth" | "attest") {
        return path().await;
    }
    Problem::new(StatusCode::NOT_FOUND, "PluginNotFound", "kbs.plugin.unknown")
        .with_detail("there is no such plugin: this broker has the plugin `resource` alone".into())
}

async fn path() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "InvalidRequestPath", "kbs.path.unknown")
        .with_detail("expected /kbs/v0/resource/<repository>/<type>/<tag>, each [a-z0-9._-]{1,64}".into())
}

async fn put(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(parts): Path<(String, String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match media::body(&headers, body, Media::Bytes) {
        Ok(body) => body,
        Err(problem) => return problem.into_response(),
    };
    change(state, headers, parts, move |broker, admin, key_id| {
        resources::put(broker, admin, key_id, &body).map(drop)
    })
    .await
}

async fn delete(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(parts): Path<(String, String, String)>,
) -> Response {
    change(state, headers, parts, resources::delete).await
}

async fn change(
    state: AppState,
    headers: HeaderMap,
    (repository, kind, tag): (String, String, String),
    change: impl FnOnce(&crate::broker::Broker, &bearer::Admin<'_>, &KeyId) -> Result<(), ResourceRefusal> + Send + 'static,
) -> Response {
    let metrics = Arc::clone(&state.broker);
    let work = tokio::task::spawn_blocking(move || {
        let broker = &state.broker;
        let token = bearer_token(&headers).ok_or(BearerRefusal::Missing)?;
        let admin = bearer::authenticate(token, &broker.coco.admins, now())?;
        let key_id = KeyId::new(&format!("{repository}/{kind}/{tag}"));
        let Ok(key_id) = key_id else { return Ok(None) };
        change(broker, &admin, &key_id).map(Some)
    });
    match work.await {
        Ok(Ok(Some(()))) => {
            count(&metrics.metrics.admin);
            StatusCode::OK.into_response()
        }
        Ok(Ok(None)) => path().await.into_response(),
        Ok(Err(refusal)) => {
            count(&metrics.metrics.admin_refused);
            tracing::warn!(target: "hanzo_kbs::admin", code = refusal.code(), %refusal);
            Problem::resource(&refusal).into_response()
        }
        Err(e) => Problem::internal(&e).into_response(),
    }
}

/// The session that a request names by its cookie, by a token of this broker's own, or by both alike; with what the token says.
pub(super) fn session_named(
    state: &AppState,
    headers: &HeaderMap,
) -> Result<(Challenge, Option<Claims>), SessionRefusal> {
    if !headers.contains_key(header::AUTHORIZATION) {
        let (challenge, _) = challenge_of(state, headers)?;
        return Ok((challenge, None));
    }
    let claims = bearer_token(headers).and_then(|token| state.broker.tokens.read(token));
    let claims = claims.ok_or(SessionRefusal::Unknown)?;
    if headers.contains_key(header::COOKIE) && cookie::get(headers) != Some(&claims.jti) {
        return Err(SessionRefusal::Unknown);
    }
    let challenge = state.sessions.challenges.read(&claims.jti, now());
    Ok((challenge.ok_or(SessionRefusal::Unknown)?, Some(claims)))
}

/// Checks that a token was made for the key of the session that it names.
pub(super) fn of_session(attested: Arc<Attested>, claims: Option<&Claims>) -> Result<Arc<Attested>, SessionRefusal> {
    match claims {
        Some(claims) if claims.cnf.jwk != attested.body.tee_pubkey => Err(SessionRefusal::Unknown),
        _ => Ok(attested),
    }
}

/// Whether a request carries an admin's token, of whatever role.
pub(super) fn is_admin(state: &AppState, headers: &HeaderMap) -> bool {
    let admins = &state.broker.coco.admins;
    bearer_token(headers).is_some_and(|token| bearer::authenticate(token, admins, now()).is_ok())
}

/// The one bearer token of a request.
pub(super) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

impl Problem {
    /// A token that is nobody's, or somebody's who may not.
    pub(super) fn bearer(refusal: BearerRefusal) -> Self {
        let (status, name) = match refusal {
            BearerRefusal::Tenant | BearerRefusal::Denied => (StatusCode::FORBIDDEN, "AdminRefused"),
            _ => (StatusCode::UNAUTHORIZED, "AdminAuth"),
        };
        Self::new(status, name, refusal.code()).with_detail(refusal.to_string())
    }

    /// Who did not prove to be an admin is told no more than what is wrong with the token.
    fn resource(refusal: &ResourceRefusal) -> Self {
        let (status, name) = match refusal {
            ResourceRefusal::Bearer(refusal) => return Self::bearer(*refusal),
            ResourceRefusal::Length { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge"),
            ResourceRefusal::Unknown { .. } => (StatusCode::NOT_FOUND, "ResourceNotFound"),
            ResourceRefusal::Broker(e) => return Self::broker(e),
            _ => (StatusCode::FORBIDDEN, "AdminRefused"),
        };
        Self::new(status, name, refusal.code()).with_detail(refusal.to_string())
    }
}
