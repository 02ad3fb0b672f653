//! Vectors of texts, with a receipt as answers have.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hanzo_receipts::{Endpoint, Outcome, Sampling};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::aci::{self, Answered};
use crate::answer::{Arrived, Begun, Counts, RECEIPT_HEADER, finish};
use crate::engine::{Counted, EngineError, Vectors};
use crate::error::ApiError;
use crate::request::{EmbeddingsRequest, Encoding};
use crate::state::ServingState;

/// Embeds in a task of its own, so that a client that leaves has its receipt.
pub(crate) async fn respond(
    state: &ServingState,
    arrived: Arrived,
    request: EmbeddingsRequest,
) -> Result<Response, ApiError> {
    let inputs = request.inputs.len() as u64;
    let begun = arrived
        .begin(state, &request.model, Endpoint::Embeddings, inputs, Some(0))
        .await?;
    let (done, result) = oneshot::channel();
    tokio::spawn(run(state.clone(), begun, request, done));
    result.await.unwrap_or(Err(ApiError::Timeout))
}

async fn run(
    state: ServingState,
    mut begun: Begun,
    mut request: EmbeddingsRequest,
    mut done: oneshot::Sender<Result<Response, ApiError>>,
) {
    let counted = tokio::select! {
        biased;
        () = done.closed() => return,
        counted = timeout_at(begun.deadline, count(&begun, &mut request)) => counted.unwrap_or(Err(ApiError::Timeout)),
    };
    let counted = counted.and_then(|tokens| begun.share.hold(tokens, 0, 0, true).map(|_| tokens));
    let prompt_tokens = match counted {
        Ok(tokens) => tokens,
        Err(e) => {
            state.metrics.refused();
            let _ = done.send(Err(e));
            return;
        }
    };
    let embed = begun.serving.engine.embed(&request.inputs, prompt_tokens);
    let embedded = tokio::select! {
        biased;
        () = done.closed() => None,
        embedded = timeout_at(begun.deadline, embed) => Some(embedded.map_or(Err(ApiError::Timeout), |e| e.map_err(ApiError::from))),
    };
    let (outcome, status, body) = match embedded {
        None => (Outcome::Cut, StatusCode::OK, Bytes::new()),
        Some(Ok(vectors)) => (
            Outcome::Complete,
            StatusCode::OK,
            encode(&request, &vectors, prompt_tokens),
        ),
        Some(Err(ApiError::Engine(e))) if refused(e) => {
            // The engine computed nothing.
            state.metrics.refused();
            let _ = done.send(Err(lacking(e, &request.model)));
            return;
        }
        Some(Err(e)) => {
            tracing::warn!(code = e.code(), "embedding stopped");
            (Outcome::Failed, e.status(), Bytes::from(e.body().to_string()))
        }
    };
    let mut pending = begun.pending;
    let id = pending.id();
    pending.sent(&body);
    let counts = Counts {
        sampling: Sampling {
            max_tokens: 0,
            seed: None,
            temperature_micros: 0,
            top_p_micros: 1_000_000,
        },
        prompt_tokens,
        completion_tokens: 0,
        endpoint: begun.endpoint,
        answers: request.inputs.len() as u64,
    };
    begun.turn.end(prompt_tokens);
    let answered = Answered {
        model: &request.model,
        endpoint: begun.endpoint,
        id,
    };
    let finished = finish(&state, pending, outcome, counts, begun.share).await;
    let response = finished.map(|(_, beside)| {
        if outcome == Outcome::Complete {
            beside.issue(&state, answered);
        }
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
            headers.insert(RECEIPT_HEADER, id);
        }
        response
    });
    if done.send(response).is_err() {
        aci::withdraw(&state, &id);
    }
}

/// Most bytes of ids in place of texts: a short token is longer as a number, and the engine bounds its bodies too.
const IDS_BYTES_MAX: u64 = 32 << 20;
/// Of one, with its comma: vocabularies have less than a million.
const ID_BYTES: u64 = 7;

/// Tokens of all inputs; each must fit by itself. Where the engine takes their ids in their place, they stand there afterwards.
async fn count(begun: &Begun, request: &mut EmbeddingsRequest) -> Result<u64, ApiError> {
    let mut all = 0_u64;
    let model = request.model.as_str();
    let mut room = IDS_BYTES_MAX;
    for input in &mut request.inputs {
        let counted = begun.serving.engine.count_tokens(input, &[]).await;
        let Counted { count, ids } = counted.map_err(|e| lacking(e, model))?;
        if count > begun.serving.context_tokens {
            return Err(ApiError::TooMany {
                param: "input".into(),
                most: begun.serving.context_tokens,
                got: count,
            });
        }
        all = all.saturating_add(count);
        let bytes = count.saturating_mul(ID_BYTES);
        if let (Some(ids), true) = (ids, bytes <= room) {
            room -= bytes;
            *input = ids;
        }
    }
    Ok(all)
}

/// True where the engine said no before it computed anything.
fn refused(e: EngineError) -> bool {
    !matches!(e, EngineError::Failed | EngineError::Protocol { .. })
}

fn lacking(e: EngineError, model: &str) -> ApiError {
    match e {
        EngineError::Absent => ApiError::ModelLacks {
            model: model.to_owned(),
            what: "embeddings",
        },
        EngineError::Context | EngineError::Template => ApiError::Prompt {
            param: "input",
            error: e,
        },
        other => ApiError::Engine(other),
    }
}

fn encode(request: &EmbeddingsRequest, vectors: &Vectors, prompt_tokens: u64) -> Bytes {
    let written = |vector: &Vec<f32>| -> Value {
        match request.encoding {
            Encoding::Float => vector.iter().map(|n| Value::from(*n)).collect(),
            Encoding::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|n| n.to_le_bytes()).collect();
                STANDARD.encode(bytes).into()
            }
        }
    };
    let data: Vec<Value> = vectors
        .0
        .iter()
        .enumerate()
        .map(|(index, vector)| json!({"object": "embedding", "index": index, "embedding": written(vector)}))
        .collect();
    let body = json!({
        "object": "list",
        "data": data,
        "model": request.model,
        "usage": {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens},
    });
    Bytes::from(body.to_string())
}
