//! Request bodies that nobody read. A server that answers early and closes makes the client's system drop the answer
//! while the client still writes, so the rest is read and thrown away first, within bounds.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};

/// Most bytes that are read for nothing.
const DISCARDED_BYTES_MAX: u64 = 64 << 20;
/// Longest wait for them.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(30);

/// Hands the request on, and holds its answer back until the request's body is over.
pub(crate) async fn discard(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = Shared(Arc::new(Mutex::new(body)));
    let rest = body.clone();
    let answer = next.run(Request::from_parts(parts, Body::new(body))).await;
    if !rest.is_end_stream() {
        // Whoever sends more, or sends slowly, loses the answer; nothing else.
        let _ = tokio::time::timeout(DISCARD_TIMEOUT, rest.read_away()).await;
    }
    answer
}

/// One body in two hands: the handler's, and afterwards ours.
#[derive(Clone)]
struct Shared(Arc<Mutex<Body>>);

impl Shared {
    fn body(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_away(mut self) {
        let mut seen = 0_u64;
        while let Some(Ok(frame)) = self.frame().await {
            seen = seen.saturating_add(frame.data_ref().map_or(0, |d| d.len() as u64));
            if seen > DISCARDED_BYTES_MAX {
                return;
            }
        }
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.body()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body().size_hint()
    }
}
