//! The answer as one JSON body.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hanzo_receipts::Outcome;
use tokio::sync::oneshot;

use super::ending::{Counts, finish};
use super::{Job, RECEIPT_HEADER, Running};
use crate::engine::{Finish, Step, Usage};
use crate::error::ApiError;

pub(super) async fn respond(job: Job) -> Result<Response, ApiError> {
    let (done, result) = oneshot::channel();
    tokio::spawn(run(job, done));
    result.await.unwrap_or(Err(ApiError::Timeout))
}

async fn run(job: Job, mut done: oneshot::Sender<Result<Response, ApiError>>) {
    let begun = tokio::select! {
        biased;
        () = done.closed() => return,
        begun = job.start() => begun,
    };
    let mut running = match begun {
        Ok(running) => running,
        Err(e) => {
            job.state.metrics.refused();
            let _ = done.send(Err(e));
            return;
        }
    };
    let collected = tokio::select! {
        biased;
        () = done.closed() => None,
        collected = collect(&job, &mut running) => Some(collected),
    };
    let (outcome, status, body, tokens) = match collected {
        None => (Outcome::Cut, StatusCode::OK, Bytes::new(), running.answer.tokens()),
        Some(Ok((text, end, usage))) => {
            let body = job.identity.whole(&text, end, usage);
            (Outcome::Complete, StatusCode::OK, body, usage.completion_tokens)
        }
        Some(Err(e)) => {
            tracing::warn!(code = e.code(), "answer stopped");
            let body = Bytes::from(e.body().to_string());
            (Outcome::Failed, e.status(), body, running.answer.tokens())
        }
    };
    let Job { state, mut pending, .. } = job;
    let id = pending.id();
    pending.sent(&body);
    let counts = Counts {
        sampling: running.sampling,
        prompt_tokens: running.prompt_tokens,
        completion_tokens: tokens,
    };
    drop(running.answer);
    let response = finish(&state, pending, outcome, counts).await.map(|_| {
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
            headers.insert(RECEIPT_HEADER, id);
        }
        response
    });
    let _ = done.send(response);
}

async fn collect(job: &Job, running: &mut Running) -> Result<(String, Finish, Usage), ApiError> {
    let mut whole = String::new();
    loop {
        match job.next(running).await? {
            Step::Text(text) => whole.push_str(&text),
            Step::End(finish, usage) => return Ok((whole, finish, usage)),
        }
    }
}
