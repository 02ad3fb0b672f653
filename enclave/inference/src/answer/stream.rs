//! The answer as server-sent events.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use hanzo_receipts::Outcome;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{timeout, timeout_at};

use super::running::{Event, Running};
use super::{Counts, Job, RECEIPT_HEADER, finish};
use crate::aci::{self, Answered};
use crate::dialect;
use crate::error::ApiError;

/// Frames between the task and the connection. Few: what waits here has not been handed over.
const FRAMES: usize = 4;

/// How long a client may take to make room for an error frame.
const ERROR_GRACE: Duration = Duration::from_secs(1);
/// How long it may take to make room for the receipt. The engine is free by then.
const LAST_GRACE: Duration = Duration::from_secs(30);

/// What the task hands to the connection.
enum Piece {
    Frame(Bytes),
    /// The end is in it: `[DONE]` or what stands for it, or a receipt after an error that was handed over.
    Last(Bytes),
}

/// Waits for the first step, so that what fails before it still gets a status of its own, then streams.
pub(super) async fn respond(job: Job) -> Result<Response, ApiError> {
    let id = job.begun.identity.id.to_string();
    let (frames, mut taken) = mpsc::channel(FRAMES);
    let (started, starts) = oneshot::channel();
    tokio::spawn(run(job, started, frames));
    starts.await.unwrap_or(Err(ApiError::Timeout))?;
    let mut ended = false;
    let body = Body::from_stream(stream::poll_fn(move |context| {
        taken.poll_recv(context).map(|piece| match piece {
            Some(Piece::Frame(frame)) => Some(Ok(frame)),
            Some(Piece::Last(frame)) => {
                ended = true;
                Some(Ok(frame))
            }
            None if ended => None,
            // A stream that simply stopped would look whole to clients that wait for no `[DONE]`.
            None => {
                ended = true;
                Some(Err(io::Error::from(io::ErrorKind::ConnectionAborted)))
            }
        })
    }));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(RECEIPT_HEADER, id);
    }
    Ok(response)
}

/// How the stream ended on our side.
enum End {
    Complete,
    Cut,
    Failed(ApiError),
}

async fn run(mut job: Job, mut started: oneshot::Sender<Result<(), ApiError>>, frames: mpsc::Sender<Piece>) {
    let begun = tokio::select! {
        biased;
        () = started.closed() => return,
        begun = job.start() => begun,
    };
    let mut running = match begun {
        Ok(running) => running,
        Err(e) => {
            job.state.metrics.refused();
            let _ = started.send(Err(e));
            return;
        }
    };
    let first = tokio::select! {
        biased;
        () = started.closed() => None,
        first = job.next(&mut running) => Some(first),
    };
    // A client that left before the first frame drops the receiver; `deliver` then finds the channel closed.
    let (tokens, end) = match first {
        None => (0, End::Cut),
        Some(first) => {
            let _ = started.send(Ok(()));
            deliver(&mut job, &mut running, first, &frames).await
        }
    };
    close(job, running, tokens, end, frames).await;
}

/// Hands over frame by frame until the answers end; returns how many tokens they had. A frame that nobody took counts for none.
async fn deliver(
    job: &mut Job,
    running: &mut Running,
    first: Result<Event, ApiError>,
    frames: &mpsc::Sender<Piece>,
) -> (u64, End) {
    let opening = job.dialect.opening(running.prompt_tokens);
    let mut given = 0;
    if let Err(end) = hand_over(job, frames, opening).await {
        return (given, end);
    }
    let mut event = first;
    loop {
        let frame = match event {
            Ok(Event::Begin(index)) => job.dialect.begin(index),
            Ok(Event::Piece(index, piece)) => job.dialect.piece(index, &piece),
            Ok(Event::Calls(index, calls)) => job.dialect.calls(index, &calls),
            Ok(Event::End(index, ended)) => job.dialect.end(index, ended),
            Ok(Event::Done(usage)) => {
                let closing = job.dialect.closing(usage);
                let end = match hand_over(job, frames, closing).await {
                    Ok(()) => drained(job, frames).await,
                    Err(end) => end,
                };
                return (usage.completion_tokens, end);
            }
            Err(e) => return (running.tokens(), End::Failed(e)),
        };
        if let Err(end) = hand_over(job, frames, frame).await {
            return (given, end);
        }
        given = running.given_tokens().unwrap_or(given);
        event = tokio::select! {
            biased;
            () = frames.closed() => return (given, End::Cut),
            event = job.next(running) => event,
        };
    }
}

/// Gives one frame to the connection and commits to it.
async fn hand_over(job: &mut Job, frames: &mpsc::Sender<Piece>, frame: String) -> Result<(), End> {
    if frame.is_empty() {
        return Ok(());
    }
    match timeout_at(job.begun.deadline, frames.reserve()).await {
        Ok(Ok(slot)) => {
            job.begun.pending.sent(frame.as_bytes());
            slot.send(Piece::Frame(Bytes::from(frame)));
            Ok(())
        }
        Ok(Err(_)) => Err(End::Cut),
        Err(_) => Err(End::Failed(ApiError::Timeout)),
    }
}

/// Complete only once the connection has taken every frame.
async fn drained(job: &Job, frames: &mpsc::Sender<Piece>) -> End {
    match timeout_at(job.begun.deadline, frames.reserve_many(FRAMES)).await {
        Ok(Ok(_)) => End::Complete,
        Ok(Err(_)) => End::Cut,
        Err(_) => End::Failed(ApiError::Timeout),
    }
}

/// The receipt, then what follows it.
async fn close(job: Job, running: Running, tokens: u64, end: End, frames: mpsc::Sender<Piece>) {
    let Job {
        state,
        begun,
        ask,
        mut dialect,
    } = job;
    let mut pending = begun.pending;
    let counts = Counts {
        sampling: running.sampling.clone(),
        prompt_tokens: running.prompt_tokens,
        completion_tokens: tokens,
        endpoint: begun.endpoint,
        answers: ask.answers().into(),
    };
    drop(running);
    begun.turn.end(counts.prompt_tokens.saturating_add(tokens));
    let (outcome, tail, told) = match end {
        End::Complete => (Outcome::Complete, dialect.tail(), true),
        End::Cut => (Outcome::Cut, "", false),
        End::Failed(e) => {
            tracing::warn!(code = e.code(), "answer stopped");
            let frame = dialect.error_frame(&e);
            // A client that does not read must not hold the receipt up for long.
            let slot = timeout(ERROR_GRACE, frames.reserve()).await;
            let told = if let Ok(Ok(slot)) = slot {
                pending.sent(frame.as_bytes());
                slot.send(Piece::Frame(Bytes::from(frame)));
                true
            } else {
                false
            };
            (Outcome::Failed, "", told)
        }
    };
    let (id, endpoint) = (pending.id(), begun.endpoint);
    let last = match finish(&state, pending, outcome, counts, begun.share).await {
        Ok((receipt, mut beside)) => dialect::receipt_frame(&receipt)
            .map(|frame| Bytes::from(frame + tail))
            .map(|frame| {
                // Before the end leaves, so that whoever has read it finds it.
                beside.sent(&frame);
                if outcome == Outcome::Complete {
                    let answered = Answered {
                        model: &ask.model,
                        endpoint,
                        id,
                    };
                    beside.issue(&state, answered);
                }
                match told {
                    true => Piece::Last(frame),
                    false => Piece::Frame(frame),
                }
            }),
        Err(e) => Some(Piece::Last(Bytes::from(dialect.error_frame(&e)))),
    };
    if let Some(last) = last
        && frames.send_timeout(last, LAST_GRACE).await.is_err()
    {
        aci::withdraw(&state, &id);
    }
}
