//! `GET /hanzo/status` and `GET /`: the verdict in force, connections and receipts, for monitors and for people.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hanzo_attestation::UnixTime;
use serde_json::{Value, json};

use super::{Endpoint, page};
use crate::error::ClientError;
use crate::pinned::Pinned;
use crate::receipts::Tally;

/// What there is to tell at one moment.
pub(crate) struct Snapshot {
    pub(crate) destination: String,
    pub(crate) way: &'static str,
    pub(crate) padding: &'static str,
    pub(crate) idle_connections: usize,
    pub(crate) now: UnixTime,
    pub(crate) receipts: Tally,
    pub(crate) verdict: Result<Arc<Pinned>, ClientError>,
}

impl Snapshot {
    /// Attests if there is no fresh verdict.
    async fn take(endpoint: &Endpoint) -> Self {
        let client = &endpoint.client;
        let verdict = client.verdict().await;
        Self {
            destination: client.destination(),
            way: client.way(),
            padding: client.padding().name(),
            idle_connections: client.idle_connections(),
            now: client.records().now(),
            receipts: client.tally(),
            verdict,
        }
    }

    /// Seconds since the evidence was verified.
    pub(crate) fn age_s(&self) -> Option<u64> {
        let verdict = self.verdict.as_ref().ok()?;
        Some(self.now.0.saturating_sub(verdict.result().verified_at().0))
    }

    fn status(&self) -> StatusCode {
        match &self.verdict {
            Ok(_) => StatusCode::OK,
            Err(_) => StatusCode::BAD_GATEWAY,
        }
    }

    fn json(&self) -> Value {
        let error = self.verdict.as_ref().err();
        let error = error.map(|e| json!({"code": e.code(), "message": e.to_string(), "exit_code": e.exit_code()}));
        let channel = match (&self.verdict, self.way) {
            (Err(_), _) => "none",
            (Ok(_), "sealed") => "sealed",
            (Ok(_), _) => "proven",
        };
        json!({
            "version": 1,
            "endpoint": self.destination,
            "channel": channel,
            "padding": self.padding,
            "idle_connections": self.idle_connections,
            "evidence_age_s": self.age_s(),
            "receipts": self.receipts,
            "error": error,
            "verdict": self.verdict.as_ref().ok().map(|pinned| pinned.result().view()),
        })
    }
}

/// 200 with the verdict, or 502 with the code of what failed.
pub(crate) async fn status(State(endpoint): State<Arc<Endpoint>>) -> Response {
    let snapshot = Snapshot::take(&endpoint).await;
    (snapshot.status(), fixed(), Json(snapshot.json())).into_response()
}

/// The same as a page.
pub(crate) async fn people(State(endpoint): State<Arc<Endpoint>>) -> Response {
    let snapshot = Snapshot::take(&endpoint).await;
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (snapshot.status(), fixed(), kind, page::page(&snapshot)).into_response()
}

/// What the page looks like.
pub(crate) async fn style() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    (fixed(), kind, page::STYLE).into_response()
}

/// Nothing but our own style is loaded, nothing is framed, sent, kept or told to others.
fn fixed() -> [(HeaderName, HeaderValue); 6] {
    const POLICY: &str =
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
}
