//! `PUT /v1/callers` and `GET /v1/usage`: the table of callers, and what they used.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use hanzo_verifier::callers::TABLE_BYTES_MAX;
use serde_json::{Value, json};

use crate::access::Asking;
use crate::body;
use crate::error::ApiError;
use crate::state::ServingState;

/// Takes a newer table. Whoever brings it proves nothing: its signatures do.
pub(crate) async fn take(
    State(state): State<ServingState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let document = body::read(&headers, body, TABLE_BYTES_MAX as u64 + 1, &state.body_room).await?;
    let (access, now) = (state.access.clone(), (state.clock)());
    let version = blocking(move || access.take(&document.bytes, now)).await?;
    Ok(Json(json!({"object": "callers", "version": version})))
}

/// What the caller used, by its receipts; of all callers, for an administrator.
pub(crate) async fn usage(State(state): State<ServingState>, asking: Asking) -> Result<Json<Value>, ApiError> {
    let who = state.who(&asking)?;
    let access = state.access.clone();
    let all = blocking(move || access.usage(&who)).await?;
    let data: Vec<Value> = all
        .into_iter()
        .map(|(name, usage)| {
            json!({
                "account": name,
                "requests": usage.requests,
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.tokens(),
            })
        })
        .collect();
    Ok(Json(json!({"object": "list", "data": data})))
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(ApiError::Receipt {
        code: "receipts.interrupted",
    }))
}
