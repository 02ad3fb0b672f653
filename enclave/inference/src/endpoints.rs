//! The routes whose answers have receipts, and the one that counts.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use hanzo_receipts::{Endpoint, Transport};
use serde_json::json;

use crate::access::Asking;
use crate::answer::{Arrived, OWNER_HEADER, respond};
use crate::dialect::{AnthropicDialect, ChatDialect, CompletionsDialect, ResponsesDialect};
use crate::embeddings;
use crate::error::ApiError;
use crate::request::{ChatRequest, CompletionsRequest, EmbeddingsRequest, MessagesRequest, ResponsesRequest};
use crate::state::ServingState;

type Way = Option<Extension<Transport>>;
/// How errors are written.
type Shape = fn(&ApiError) -> Response;

/// Lets the caller in, reads the body, lets `answer` look into it, and adds what the caller is told of its share. Whatever is
/// refused is counted.
async fn served<F>(
    state: &ServingState,
    way: Way,
    asking: &Asking,
    body: Body,
    shape: Shape,
    answer: impl FnOnce(Arrived) -> F,
) -> Response
where
    F: Future<Output = Result<Response, ApiError>>,
{
    let refused = |e: ApiError| {
        state.metrics.refused();
        shape(&e)
    };
    let (who, promise) = match state.caller(asking) {
        Ok(known) => known,
        Err(e) => return refused(e),
    };
    let headers = &asking.headers;
    let (told, share) = state.access.enter(who, headers.get(OWNER_HEADER));
    let arrived = match share {
        Ok(share) => Arrived::read(state, way, headers, body, share).await,
        Err(e) => Err(e),
    };
    let arrived = arrived.and_then(|arrived| promise.keep(&arrived.body.bytes).map(|()| arrived));
    let mut response = match arrived {
        Ok(arrived) => answer(arrived).await.unwrap_or_else(|e| shape(&e)),
        Err(e) => refused(e),
    };
    response.headers_mut().extend(told.headers());
    response
}

/// Counts what was refused before anything ran.
fn parsed<T>(state: &ServingState, read: Result<T, ApiError>) -> Result<T, ApiError> {
    read.inspect_err(|_| state.metrics.refused())
}

/// `POST /v1/chat/completions`.
pub(crate) async fn chat(State(state): State<ServingState>, way: Way, asking: Asking, body: Body) -> Response {
    served(&state, way, &asking, body, ApiError::openai, async |arrived| {
        let ChatRequest { ask, include_usage } = parsed(&state, ChatRequest::parse(&arrived.body.bytes))?;
        respond(&state, arrived, ask, Endpoint::Chat, |identity, ask| {
            Box::new(ChatDialect::new(identity, ask, include_usage))
        })
        .await
    })
    .await
}

/// `POST /v1/completions`.
pub(crate) async fn completions(State(state): State<ServingState>, way: Way, asking: Asking, body: Body) -> Response {
    served(&state, way, &asking, body, ApiError::openai, async |arrived| {
        let CompletionsRequest { ask, include_usage } = parsed(&state, CompletionsRequest::parse(&arrived.body.bytes))?;
        respond(&state, arrived, ask, Endpoint::Completions, |identity, ask| {
            Box::new(CompletionsDialect::new(identity, ask, include_usage))
        })
        .await
    })
    .await
}

/// `POST /v1/responses`.
pub(crate) async fn responses(State(state): State<ServingState>, way: Way, asking: Asking, body: Body) -> Response {
    served(&state, way, &asking, body, ApiError::openai, async |arrived| {
        let ResponsesRequest { ask, echo } = parsed(&state, ResponsesRequest::parse(&arrived.body.bytes))?;
        respond(&state, arrived, ask, Endpoint::Responses, |identity, ask| {
            Box::new(ResponsesDialect::new(identity, ask, echo))
        })
        .await
    })
    .await
}

/// `POST /v1/messages`. Its errors are in Anthropic's shape; `anthropic-version` says nothing here.
pub(crate) async fn messages(State(state): State<ServingState>, way: Way, asking: Asking, body: Body) -> Response {
    served(&state, way, &asking, body, ApiError::anthropic, async |arrived| {
        let MessagesRequest { ask } = parsed(&state, MessagesRequest::parse(&arrived.body.bytes))?;
        respond(&state, arrived, ask, Endpoint::Messages, |identity, ask| {
            Box::new(AnthropicDialect::new(identity, ask))
        })
        .await
    })
    .await
}

/// `POST /v1/messages/count_tokens`: nothing is answered, so there is no receipt.
pub(crate) async fn count_tokens(State(state): State<ServingState>, asking: Asking, body: Body) -> Response {
    served(&state, None, &asking, body, ApiError::anthropic, async |arrived| {
        let count = async {
            let ask = MessagesRequest::parse_to_count(&arrived.body.bytes)?.ask;
            let (_turn, serving) = arrived.turn(&state, &ask.model, 1, Some(0)).await?;
            let prompt = ask.prompts.first().ok_or(ApiError::Model)?;
            let tools = ask.tools.objects();
            let count = serving.engine.count_tokens(prompt, &tools);
            let count = tokio::time::timeout(state.request_timeout, count).await;
            let count = count.map_err(|_| ApiError::Timeout)?;
            let count = count.map_err(|e| crate::answer::named(e, &ask))?;
            Ok(Json(json!({"input_tokens": count.count})).into_response())
        };
        parsed(&state, count.await)
    })
    .await
}

/// `POST /v1/embeddings`.
pub(crate) async fn embeddings(State(state): State<ServingState>, way: Way, asking: Asking, body: Body) -> Response {
    served(&state, way, &asking, body, ApiError::openai, async |arrived| {
        let request = parsed(&state, EmbeddingsRequest::parse(&arrived.body.bytes))?;
        embeddings::respond(&state, arrived, request).await
    })
    .await
}
