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

use crate::chat::{Abilities, Ask, Engine, Generation, Message, Prompt, Token};
use crate::error::GenerateError;
use crate::wire::{
    self, ChatRequest, CompletionRequest, EmbeddingsRequest, INPUTS_MAX, MESSAGES_MAX, Shape, TOOLS_MAX,
    TokenizeRequest,
};

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
        .route("/v1/completions", post(completion::<E>))
        .route("/v1/embeddings", post(embeddings::<E>))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "not_found", "no such path", None) })
        .method_not_allowed_fallback(|| async {
            refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "wrong method",
                None,
            )
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
    let has_tools = !request.tools.is_empty();
    let prompt = match (request.messages, request.text) {
        (Some(_), None) if !engine.abilities().chats => {
            return Err(failed(&GenerateError::Unsupported { what: "chats" }));
        }
        (Some(messages), None) => {
            check_chat(engine.abilities(), &messages, request.tools.len())?;
            Prompt::Chat {
                messages,
                tools: request.tools,
            }
        }
        (None, Some(text)) if request.tools.is_empty() => Prompt::Text(text),
        _ => {
            return Err(invalid(
                "expected exactly one of `messages` and `text`, and `tools` with `messages` alone",
            ));
        }
    };
    let ids = engine.tokenize(&prompt).await.map_err(|error| failed(&error))?;
    // A prompt of these ids gets the very answer that this one gets; where there are tools, the answer is also read otherwise.
    let abilities = engine.abilities();
    let reusable = (abilities.raw_prompts || abilities.embeddings) && !has_tools;
    Ok(Json(json!({"count": ids.len(), "reusable": reusable, "tokens": ids})).into_response())
}

async fn chat<E: Engine>(State(api): State<Api<E>>, request: Request) -> Result<Response, Response> {
    let engine = ready(&api)?;
    let request: ChatRequest = body(api.body_bytes_max, request).await?;
    check_stream(request.stream)?;
    let abilities = engine.abilities();
    if !abilities.chats {
        return Err(failed(&GenerateError::Unsupported { what: "chats" }));
    }
    check_chat(abilities, &request.messages, request.tools.len())?;
    let (prompt, ask) = request.split().map_err(|error| failed(&error))?;
    answer(engine, Shape::Chat, prompt, ask).await
}

async fn completion<E: Engine>(State(api): State<Api<E>>, request: Request) -> Result<Response, Response> {
    let engine = ready(&api)?;
    let request: CompletionRequest = body(api.body_bytes_max, request).await?;
    check_stream(request.stream)?;
    if !engine.abilities().raw_prompts {
        return Err(failed(&GenerateError::Unsupported { what: "raw prompts" }));
    }
    let (prompt, ask) = request.split().map_err(|error| failed(&error))?;
    answer(engine, Shape::Completion, prompt, ask).await
}

async fn embeddings<E: Engine>(State(api): State<Api<E>>, request: Request) -> Result<Response, Response> {
    let engine = ready(&api)?;
    let request: EmbeddingsRequest = body(api.body_bytes_max, request).await?;
    if !engine.abilities().embeddings {
        return Err(failed(&GenerateError::Unsupported { what: "embeddings" }));
    }
    if !(1..=INPUTS_MAX).contains(&request.input.len()) {
        let got = request.input.len();
        return Err(invalid(&format!("got {got} inputs; expected 1 to {INPUTS_MAX}")));
    }
    let inputs: Vec<Prompt> = request.input.into_iter().map(Prompt::from).collect();
    let (vectors, prompt_tokens) = engine.embed(&inputs).await.map_err(|error| failed(&error))?;
    Ok(Json(wire::vectors(&vectors, prompt_tokens)).into_response())
}

async fn answer<E: Engine>(engine: &E, shape: Shape, prompt: Prompt, ask: Ask) -> Result<Response, Response> {
    let abilities = engine.abilities();
    for (asked, able, member) in [
        (ask.schema.is_some(), abilities.schemas, "json_schema"),
        (ask.logprobs.is_some(), abilities.logprobs, "logprobs"),
    ] {
        if asked && !able {
            return Err(failed(&GenerateError::Lacks { member }));
        }
    }
    let mut generation = engine.generate(&prompt, ask).await.map_err(|error| failed(&error))?;
    drop(prompt);
    // Until the first token a failure still has a status of its own.
    let first = match generation.next().await {
        Some(Ok(token)) => token,
        Some(Err(error)) => return Err(failed(&error)),
        None => return Err(failed(&GenerateError::EndedEarly)),
    };
    let frames = Frames {
        shape,
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
    shape: Shape,
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
                let mut frame = wire::token_frame(
                    self.shape,
                    &token,
                    self.generation.prompt_tokens,
                    self.completion_tokens,
                );
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
            None,
        )
    })
}

async fn body<T: DeserializeOwned>(body_bytes_max: usize, request: Request) -> Result<T, Response> {
    let Ok(bytes) = axum::body::to_bytes(request.into_body(), body_bytes_max).await else {
        let message = format!("the request body is over {} bytes, or broke off", body_bytes_max);
        return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", &message, None));
    };
    serde_json::from_slice(&bytes).map_err(|error| invalid(&wire::describe(&error)))
}

fn check_stream(stream: bool) -> Result<(), Response> {
    if stream {
        return Ok(());
    }
    Err(refuse(
        StatusCode::BAD_REQUEST,
        "stream_required",
        "expected `\"stream\": true`; this protocol streams",
        None,
    ))
}

fn check_chat(abilities: Abilities, messages: &[Message], tools: usize) -> Result<(), Response> {
    let count = messages.len();
    if !(1..=MESSAGES_MAX).contains(&count) {
        return Err(invalid(&format!("got {count} messages; expected 1 to {MESSAGES_MAX}")));
    }
    if tools > TOOLS_MAX {
        return Err(invalid(&format!("got {tools} tools; expected at most {TOOLS_MAX}")));
    }
    if !abilities.tools && (tools > 0 || messages.iter().any(Message::uses_tools)) {
        return Err(failed(&GenerateError::Lacks { member: "tools" }));
    }
    Ok(())
}

fn failed(error: &GenerateError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    refuse(status, error.code(), &error.to_string(), error.param())
}

fn invalid(message: &str) -> Response {
    refuse(StatusCode::BAD_REQUEST, "invalid_request", message, None)
}

fn refuse(status: StatusCode, code: &str, message: &str, param: Option<&str>) -> Response {
    (status, Json(wire::error_body(code, message, param))).into_response()
}
