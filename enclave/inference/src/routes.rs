//! The small routes: models, receipts, health, metrics, and everything that is no route.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use hanzo_receipts::{Owner, ReceiptId};
use serde_json::{Value, json};

use crate::access::Asking;
use crate::error::ApiError;
use crate::state::{Serving, ServingState};
use crate::{aci, answer};

fn model_object(state: &ServingState, serving: &Serving) -> Value {
    json!({
        "id": serving.model.name,
        "object": "model",
        "created": state.receipts.keyset().issued_at,
        "owned_by": "hanzo",
        "context_tokens": serving.context_tokens,
        "weights_root": serving.model.weights_root,
    })
}

pub(crate) async fn models(State(state): State<ServingState>, asking: Asking) -> Result<Json<Value>, ApiError> {
    let who = state.who(&asking)?;
    let seen = state.loaded().filter(|m| who.sees(m));
    let data: Vec<_> = seen.map(|m| model_object(&state, m)).collect();
    Ok(Json(json!({"object": "list", "data": data})))
}

pub(crate) async fn model(
    State(state): State<ServingState>,
    Path(name): Path<String>,
    asking: Asking,
) -> Result<Json<Value>, ApiError> {
    let who = state.who(&asking)?;
    let serving = state.serving(&name, |m| who.sees(m))?;
    Ok(Json(model_object(&state, serving)))
}

/// Least length of a padded answer, in bytes, as an extension of the answer: so that what is there and what is not have one
/// length. Without padding it changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerFloor(pub usize);

impl AnswerFloor {
    /// As a part of an answer.
    pub fn extension(bytes: usize) -> Extension<Self> {
        Extension(Self(bytes))
    }
}

/// Longer than any receipt with both signatures, its salts and the proof that it is in a log of 2^32 leaves.
const RECEIPT_FLOOR_BYTES: usize = 24 << 10;

/// The receipt, for its owner. Whatever is wrong with id or owner, the answer is the same, of the same length where answers
/// are padded, and the log is asked all the same.
pub(crate) async fn receipt(
    State(state): State<ServingState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let floor = AnswerFloor::extension(RECEIPT_FLOOR_BYTES);
    (floor, find_receipt(&state, &id, &headers).await)
}

async fn find_receipt(state: &ServingState, id: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";
    let unknown = ApiError::NotFound("there is no such receipt for this owner");
    let named = ReceiptId::from_hex(id);
    let owner = answer::owner(headers).ok().flatten();
    let is_asked = named.is_some() && owner.is_some();
    let id = named.unwrap_or(ReceiptId([0; 16]));
    let Some(owner) = owner.or_else(|| Owner::from_hex(NOBODY)) else {
        return Err(unknown);
    };
    let _turn = state.receipt_readers.acquire().await;
    let log = Arc::clone(&state.receipts);
    let fetched = tokio::task::spawn_blocking(move || log.fetch(&id, &owner)).await;
    let receipt = match fetched {
        Ok(Ok(_)) if !is_asked => return Err(unknown),
        Ok(Ok(found)) => found.ok_or(unknown)?,
        Ok(Err(e)) => return Err(ApiError::Receipt { code: e.code() }),
        Err(_) => {
            return Err(ApiError::Receipt {
                code: "receipts.interrupted",
            });
        }
    };
    let bytes = receipt.to_bytes().map_err(|_| ApiError::Receipt {
        code: "receipts.format",
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

/// Ready only if every engine is that runs from boot on.
pub(crate) async fn health(State(state): State<ServingState>) -> Result<Json<Value>, ApiError> {
    for serving in state.loaded().filter(|serving| !serving.on_demand) {
        serving.engine.ready().await?;
    }
    Ok(Json(json!({"status": "ready"})))
}

pub(crate) async fn metrics(State(state): State<ServingState>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        state.metrics_text(),
    )
}

pub(crate) async fn no_route() -> ApiError {
    ApiError::NotFound("GET /openapi.json lists what this guest serves")
}

pub(crate) async fn wrong_method() -> ApiError {
    ApiError::Method("the one that GET /openapi.json names for this path")
}

/// Names every response, so that a caller can ask about one without quoting it, and keeps all of them out of caches.
pub(crate) async fn name_response(State(state): State<ServingState>, request: Request, next: Next) -> Response {
    let mut id = [0; 12];
    let named = (state.random)(&mut id);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let (true, Ok(value)) = (named, HeaderValue::from_str(&format!("req-{}", hex::encode(id)))) {
        // What Anthropic's clients read.
        headers.insert("request-id", value.clone());
        headers.insert("x-request-id", value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    aci::name(&state, headers);
    response
}
