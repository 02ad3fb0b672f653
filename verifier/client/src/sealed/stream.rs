//! A sealed answer as it comes: parts are opened, binary HTTP is read, and the end counts only if the guest wrote it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hanzo_sealed::SealedError;
use hanzo_sealed::bhttp::{Decoder, Event, ResponseHead};
use hanzo_sealed::chunked::ResponseOpener;
use hanzo_sealed::padding::FILL_HEADER;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::{Instant, Sleep, sleep};

use super::carrier::Wire;
use crate::error::ClientError;
use crate::pinned::Pinned;

/// The inside of an answer.
struct Stream {
    body: Incoming,
    opener: ResponseOpener,
    decoder: Decoder<ResponseHead>,
    is_over: bool,
    gap: Pin<Box<Sleep>>,
    answer_gap: Duration,
    _wire: Wire,
}

impl Stream {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event<ResponseHead>>, ClientError>> {
        loop {
            if let Some(event) = self.decoder.next_event()? {
                return Poll::Ready(Ok(Some(event)));
            }
            if self.is_over {
                return Poll::Ready(Ok(self.decoder.end()?));
            }
            if let Some(part) = self.opener.next_part()? {
                self.decoder.push(&part.bytes);
                continue;
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.gap.as_mut().reset(Instant::now() + self.answer_gap);
                    if let Ok(bytes) = frame.into_data() {
                        self.opener.push(&bytes)?;
                    }
                }
                // What HTTP says about the end counts for nothing; only the last part ends an answer.
                Poll::Ready(Some(Err(_))) => {
                    return Poll::Ready(Err(SealedError::Truncated { what: "sealed answer" }.into()));
                }
                Poll::Ready(None) => {
                    let last = self.opener.end()?;
                    self.is_over = true;
                    self.decoder.push(&last.bytes);
                }
                Poll::Pending => {
                    ready!(self.gap.as_mut().poll(cx));
                    return Poll::Ready(Err(ClientError::Stalled { after: self.answer_gap }));
                }
            }
        }
    }
}

/// The body of a sealed answer. It ends without an error only where the guest ended it.
pub struct SealedBody {
    stream: Option<Stream>,
    pinned: Arc<Pinned>,
}

impl SealedBody {
    /// The verdict and keyset that the request was sealed under.
    pub fn pinned(&self) -> &Arc<Pinned> {
        &self.pinned
    }
}

/// Reads the head; the rest streams.
pub(super) async fn open(
    body: Incoming,
    opener: ResponseOpener,
    wire: Wire,
    answer_gap: Duration,
    pinned: Arc<Pinned>,
) -> Result<Response<SealedBody>, ClientError> {
    let mut stream = Stream {
        body,
        opener,
        decoder: Decoder::default(),
        is_over: false,
        gap: Box::pin(sleep(answer_gap)),
        answer_gap,
        _wire: wire,
    };
    let head = match std::future::poll_fn(|cx| stream.poll_event(cx)).await? {
        Some(Event::Head(head)) => head,
        _ => return Err(SealedError::Truncated { what: "sealed answer" }.into()),
    };
    let mut answer = Response::new(SealedBody {
        stream: Some(stream),
        pinned,
    });
    let malformed = |what| SealedError::Bhttp {
        what,
        expected: "what HTTP allows",
    };
    *answer.status_mut() = StatusCode::from_u16(head.status).map_err(|_| malformed("status"))?;
    for field in head.fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| malformed("field name"))?;
        let value = HeaderValue::from_bytes(&field.value).map_err(|_| malformed("field value"))?;
        if name != FILL_HEADER {
            answer.headers_mut().append(name, value);
        }
    }
    Ok(answer)
}

impl Body for SealedBody {
    type Data = Bytes;
    type Error = ClientError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientError>>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        loop {
            match ready!(stream.poll_event(cx)) {
                Ok(Some(Event::Content(bytes))) => return Poll::Ready(Some(Ok(Frame::data(Bytes::from(bytes))))),
                // Nothing reads trailers.
                Ok(Some(_)) => {}
                Ok(None) => {
                    self.stream = None;
                    return Poll::Ready(None);
                }
                Err(error) => {
                    self.stream = None;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}
