//! The answers as one JSON body.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hanzo_receipts::Outcome;
use tokio::sync::oneshot;

use super::running::{Event, Running};
use super::{Counts, Job, RECEIPT_HEADER, finish};
use crate::aci::{self, Answered};
use crate::dialect::Told;
use crate::engine::Usage;
use crate::error::ApiError;

pub(super) async fn respond(job: Job) -> Result<Response, ApiError> {
    let (done, result) = oneshot::channel();
    tokio::spawn(run(job, done));
    result.await.unwrap_or(Err(ApiError::Timeout))
}

async fn run(mut job: Job, mut done: oneshot::Sender<Result<Response, ApiError>>) {
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
        None => (Outcome::Cut, StatusCode::OK, Bytes::new(), running.tokens()),
        Some(Ok((answers, usage))) => {
            let body = job.dialect.whole(&answers, usage);
            (Outcome::Complete, StatusCode::OK, body, usage.completion_tokens)
        }
        Some(Err(e)) => {
            tracing::warn!(code = e.code(), "answer stopped");
            let body = job.dialect.error_body(&e);
            (Outcome::Failed, e.status(), body, running.tokens())
        }
    };
    let Job { state, begun, ask, .. } = job;
    let mut pending = begun.pending;
    let id = pending.id();
    pending.sent(&body);
    let counts = Counts {
        sampling: running.sampling.clone(),
        prompt_tokens: running.prompt_tokens,
        completion_tokens: tokens,
        endpoint: begun.endpoint,
        answers: ask.answers().into(),
    };
    drop(running);
    begun.turn.end(counts.prompt_tokens.saturating_add(tokens));
    let answered = Answered {
        model: &ask.model,
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

async fn collect(job: &Job, running: &mut Running) -> Result<(Vec<Told>, Usage), ApiError> {
    let mut answers: Vec<Told> = Vec::new();
    loop {
        let event = job.next(running).await?;
        match (event, answers.last_mut()) {
            (Event::Begin(_), _) => answers.push(Told::default()),
            (Event::Piece(_, piece), Some(told)) => told.piece.append(piece),
            (Event::Calls(_, calls), Some(told)) => told.calls = calls,
            (Event::End(_, ended), Some(told)) => told.ended = Some(ended),
            (Event::Done(usage), _) => return Ok((answers, usage)),
            (_, None) => {}
        }
    }
}
