//! `POST /v1/chat/completions`.
//!
//! Each request runs in a task of its own, so that a client that goes away ends in a receipt that says `cut` rather than in a
//! dropped future. The task hands frames over one at a time; when its other end is gone it drops the engine's answer, which
//! cancels the engine's work.

mod encode;
mod ending;
mod stream;
mod whole;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use hanzo_receipts::{Owner, Pending, RequestStart, Sampling, Transport};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::body;
use crate::engine::{Answer, EngineChat, Step};
use crate::error::ApiError;
use crate::request::ChatRequest;
use crate::state::ServingState;
use encode::Identity;

/// Header by which a client says who may fetch the receipt.
pub(crate) const OWNER_HEADER: &str = "hanzo-owner";
/// Header that names the receipt.
pub(crate) const RECEIPT_HEADER: &str = "hanzo-receipt-id";

pub(crate) async fn completions(
    State(state): State<ServingState>,
    way: Option<Extension<Transport>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    // Whoever hands a sealed message on says so; what comes over the attested channel itself needs no mark.
    let way = way.map_or(Transport::Tls, |Extension(way)| way);
    let started = begin(&state, &headers, body, way).await;
    let (job, is_stream) = started.inspect_err(|_| state.metrics.refused())?;
    if is_stream {
        stream::respond(job).await
    } else {
        whole::respond(job).await
    }
}

/// The value of `hanzo-owner`, if it came.
pub(crate) fn owner(headers: &HeaderMap) -> Result<Option<Owner>, ApiError> {
    let mut values = headers.get_all(OWNER_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let owner = value.to_str().ok().and_then(Owner::from_hex);
    match (owner, values.next()) {
        (Some(owner), None) => Ok(Some(owner)),
        _ => Err(ApiError::Invalid {
            param: OWNER_HEADER.into(),
            expected: "one header of 64 lower-case hex digits",
            got: "another value".into(),
        }),
    }
}

async fn begin(
    state: &ServingState,
    headers: &HeaderMap,
    body: Body,
    transport: Transport,
) -> Result<(Job, bool), ApiError> {
    let owner = owner(headers)?;
    let body = body::read(headers, body, state.body_bytes_max, &state.body_room).await?;
    let mut request = ChatRequest::parse(&body.bytes)?;
    if state.serving(&request.model).is_none() {
        return Err(ApiError::Model);
    }
    let slot = state.slots.clone().try_acquire_owned().map_err(|_| ApiError::Busy)?;
    if request.seed.is_none() && request.temperature_micros > 0 {
        request.seed = Some(state.fresh_seed()?);
    }
    let start = RequestStart {
        model: &request.model,
        request: &body.bytes,
        owner,
        transport,
    };
    let pending = state
        .receipts
        .begin(start, state.fresh()?)
        .map_err(|e| ApiError::Receipt { code: e.code() })?;
    let identity = Identity {
        id: pending.id(),
        created: (state.clock)().0,
        model: request.model.clone(),
        fingerprint: state.fingerprint.clone(),
    };
    let is_stream = request.stream;
    let job = Job {
        deadline: Instant::now() + state.request_timeout,
        state: state.clone(),
        request,
        pending,
        identity,
        _slot: slot,
    };
    Ok((job, is_stream))
}

/// One request in work.
struct Job {
    state: ServingState,
    request: ChatRequest,
    pending: Pending,
    identity: Identity,
    deadline: Instant,
    _slot: OwnedSemaphorePermit,
}

/// The engine's answer to a job, with what the receipt will say of it.
struct Running {
    answer: Answer,
    sampling: Sampling,
    prompt_tokens: u64,
}

impl Job {
    /// Counts the prompt, checks that the answer fits, starts the engine. Failing here leaves no receipt: nothing was answered.
    async fn start(&self) -> Result<Running, ApiError> {
        let Some(serving) = self.state.serving(&self.request.model) else {
            return Err(ApiError::Model);
        };
        let begin = async {
            let prompt = serving.engine.count_tokens(&self.request.messages).await?;
            let context = serving.context_tokens;
            let room = context.saturating_sub(prompt);
            let max_tokens = self.request.max_tokens.unwrap_or(room);
            if max_tokens == 0 || max_tokens > room {
                return Err(ApiError::Context {
                    prompt,
                    max_tokens: max_tokens.max(1),
                    context,
                });
            }
            let sampling = self.request.sampling(max_tokens);
            let chat = EngineChat {
                messages: &self.request.messages,
                max_tokens,
                temperature: sampling.temperature_micros as f64 / 1e6,
                top_p: sampling.top_p_micros as f64 / 1e6,
                seed: sampling.seed,
                stop: &self.request.stop,
                stream: true,
            };
            let answer = serving.engine.chat(&chat, prompt).await?;
            Ok(Running {
                answer,
                sampling,
                prompt_tokens: prompt,
            })
        };
        timeout_at(self.deadline, begin).await.unwrap_or(Err(ApiError::Timeout))
    }

    async fn next(&self, running: &mut Running) -> Result<Step, ApiError> {
        match timeout_at(self.deadline, running.answer.next()).await {
            Ok(step) => Ok(step?),
            Err(_) => Err(ApiError::Timeout),
        }
    }
}
