//! The engine protocol's answers, over any transport axum serves.
#![allow(clippy::result_large_err, reason = "axum's idiom: the error is the response")]

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::chat::{Engine, Generation, Token};
use crate::error::GenerateError;
use crate::wire::{self, ChatRequest, MESSAGES_MAX, TokenizeRequest};

/// What the handlers share. The engine arrives when it has loaded.
pub(crate) struct Api<E> {
    pub engine: Arc<OnceLock<E>>,
    pub body_bytes_max: usize,
}

impl<E> Clone for Api<E> {
    fn clone(&self) -> Self {
        Self {
            engine: Arc::clone(&self.engine),
            body_bytes_max: self.body_bytes_max,
        }
    }
}

pub(crate) fn router<E: Engine>(api: Api<E>) -> Router {
    Router::new()
        .route("/health", get(health::<E>))
        .route("/tokenize", post(tokenize::<E>))
        .route("/v1/chat/completions", post(chat::<E>))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "not_found", "no such path") })
        .method_not_allowed_fallback(|| async {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "wrong method")
        })
        // The handlers bound bodies themselves, to answer in the protocol's error shape.
        .layer(DefaultBodyLimit::disable())
        .with_state(api)
}

async fn health<E: Engine>(State(api): State<Api<E>>) -> Response {
    let status = if api.engine.get().is_some() { "ready" } else { "loading" };
    Json(json!({"status": status})).into_response()
}

async fn tokenize<E: Engine>(State(api): State<Api<E>>, request: Request) -> Result<Response, Response> {
    let engine = ready(&api)?;
    let request: TokenizeRequest = body(api.body_bytes_max, request).await?;
    let ids = match (request.messages, request.text) {
        (Some(messages), None) => {
            check_messages(messages.len())?;
            engine.tokenize_messages(&messages).await
        }
        (None, Some(text)) => engine.tokenize_text(text).await,
        _ => {
            return Err(refuse(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "expected exactly one of `messages` and `text`",
            ));
        }
    };
    let ids = ids.map_err(|error| failed(&error))?;
    Ok(Json(json!({"count": ids.len(), "tokens": ids})).into_response())
}

async fn chat<E: Engine>(State(api): State<Api<E>>, request: Request) -> Result<Response, Response> {
    let engine = ready(&api)?;
    let mut request: ChatRequest = body(api.body_bytes_max, request).await?;
    if !request.stream {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            "stream_required",
            "expected `\"stream\": true`; this protocol streams",
        ));
    }
    check_messages(request.messages.len())?;
    let sampling = request.sampling();
    let mut generation = engine
        .chat(&request.messages, sampling)
        .await
        .map_err(|error| failed(&error))?;
    drop(request);
    // Until the first token a failure still has a status of its own.
    let first = match generation.next().await {
        Some(Ok(token)) => token,
        Some(Err(error)) => return Err(failed(&error)),
        None => return Err(failed(&GenerateError::EndedEarly)),
    };
    let frames = Frames {
        generation,
        next: Some(Ok(first)),
        completion_tokens: 0,
    };
    let body = Body::from_stream(stream::unfold(Some(frames), |frames| async move {
        let (bytes, rest) = frames?.advance().await;
        Some((Ok::<_, Infallible>(bytes), rest))
    }));
    Ok((
        [
            (header::CONTENT_TYPE, "text/event-stream"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        body,
    )
        .into_response())
}

/// One frame a token. Dropped with the connection, and with it the generation: that is the cancellation.
struct Frames {
    generation: Generation,
    next: Option<Result<Token, GenerateError>>,
    completion_tokens: usize,
}

impl Frames {
    async fn advance(mut self) -> (Bytes, Option<Self>) {
        let next = match self.next.take() {
            Some(token) => Some(token),
            None => self.generation.next().await,
        };
        match next.unwrap_or(Err(GenerateError::EndedEarly)) {
            Ok(token) => {
                self.completion_tokens += 1;
                let mut frame = wire::token_frame(&token, self.generation.prompt_tokens, self.completion_tokens);
                if token.finish.is_some() {
                    frame.push_str(wire::DONE);
                    return (frame.into(), None);
                }
                (frame.into(), Some(self))
            }
            Err(error) => (wire::error_frame(&error).into(), None),
        }
    }
}

fn ready<E>(api: &Api<E>) -> Result<&E, Response> {
    api.engine.get().ok_or_else(|| {
        refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "loading",
            "the model is still loading; poll /health",
        )
    })
}

async fn body<T: DeserializeOwned>(body_bytes_max: usize, request: Request) -> Result<T, Response> {
    let Ok(bytes) = axum::body::to_bytes(request.into_body(), body_bytes_max).await else {
        let message = format!("the request body is over {} bytes, or broke off", body_bytes_max);
        return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", &message));
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| refuse(StatusCode::BAD_REQUEST, "invalid_request", &wire::describe(&error)))
}

fn check_messages(count: usize) -> Result<(), Response> {
    if (1..=MESSAGES_MAX).contains(&count) {
        return Ok(());
    }
    let message = format!("got {count} messages; expected 1 to {MESSAGES_MAX}");
    Err(refuse(StatusCode::BAD_REQUEST, "invalid_request", &message))
}

fn failed(error: &GenerateError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    refuse(status, error.code(), &error.to_string())
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(wire::error_body(code, message))).into_response()
}
