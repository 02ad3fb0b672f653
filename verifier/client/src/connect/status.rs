//! `GET /hanzo/status`: the verdict in force, connections and receipts, for people and monitors.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::Endpoint;

/// Attests if there is no fresh verdict; 200 with it, or 502 with the code of what failed.
pub(crate) async fn status(State(endpoint): State<Arc<Endpoint>>) -> Response {
    let client = &endpoint.client;
    let verdict = client.verdict().await;
    let (status, verdict, error) = match &verdict {
        Ok(pinned) => (StatusCode::OK, Some(pinned.result().view()), None),
        Err(e) => (
            StatusCode::BAD_GATEWAY,
            None,
            Some(json!({"code": e.code(), "message": e.to_string(), "exit_code": e.exit_code()})),
        ),
    };
    let body = json!({
        "endpoint": client.endpoint().to_string(),
        "channel": if verdict.is_some() { "proven" } else { "none" },
        "idle_connections": client.idle_connections(),
        "receipts": client.tally(),
        "error": error,
        "verdict": verdict,
    });
    (status, Json(body)).into_response()
}
