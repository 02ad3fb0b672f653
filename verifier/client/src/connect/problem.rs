//! Errors as OpenAI clients expect them: `{"error":{"message","type","param","code"}}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hanzo_attestation::evidence::Class;
use serde_json::json;

use crate::error::ClientError;

/// An error made here. `hanzo_` in the type tells it from the guest's own.
pub(crate) fn openai(status: StatusCode, code: &str, message: &str) -> Response {
    let kind = match status {
        StatusCode::UNAUTHORIZED => "hanzo_authentication_error",
        s if s.is_client_error() => "hanzo_request_error",
        StatusCode::BAD_GATEWAY => "hanzo_attestation_error",
        _ => "hanzo_connect_error",
    };
    let body = json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
    (status, Json(body)).into_response()
}

/// Why nothing was sent, or what became of it.
pub(crate) fn of(error: &ClientError) -> Response {
    let status = match error {
        ClientError::Request { .. } => StatusCode::BAD_REQUEST,
        ClientError::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
        ClientError::Timeout { .. } | ClientError::Stalled { .. } => StatusCode::GATEWAY_TIMEOUT,
        ClientError::Random | ClientError::State(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_GATEWAY,
    };
    let class = match error.class() {
        Some(Class::Malformed) => "malformed",
        Some(Class::NotAuthentic) => "not authentic",
        Some(Class::Unbound) => "stale or unbound",
        Some(Class::Refused) => "refused by policy",
        None => "not reached",
    };
    let sent = error.may_have_left();
    let message = if sent {
        error.to_string()
    } else {
        format!("{error} [{class}; nothing was sent]")
    };
    let mut answer = openai(status, error.code(), &message);
    if status == StatusCode::BAD_GATEWAY && !sent {
        // OpenAI's clients retry 5xx; a verdict does not change by asking again.
        answer
            .headers_mut()
            .insert("x-should-retry", axum::http::HeaderValue::from_static("false"));
    }
    answer
}
