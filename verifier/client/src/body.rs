//! An answer's body, streamed, which gives its connection back when it has ended well.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::client::Lease;
use crate::error::ClientError;
use crate::pinned::Pinned;
use crate::sealed::SealedBody;

/// The body of an answer, whichever way it came.
pub enum AnswerBody {
    /// Over a proven connection.
    Channel(ProvenBody),
    /// Sealed.
    Sealed(SealedBody),
}

impl AnswerBody {
    /// The verdict and keyset that the request was sent under.
    pub fn pinned(&self) -> &Arc<Pinned> {
        match self {
            Self::Channel(body) => body.pinned(),
            Self::Sealed(body) => body.pinned(),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = ClientError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientError>>> {
        match self.get_mut() {
            Self::Channel(body) => Pin::new(body).poll_frame(cx),
            Self::Sealed(body) => Pin::new(body).poll_frame(cx),
        }
    }
}

/// The body of an answer over a proven connection. Dropping it before its end closes the connection, which tells the
/// guest to stop.
pub struct ProvenBody {
    body: Incoming,
    pinned: Arc<Pinned>,
    lease: Option<Lease>,
    gap: Pin<Box<Sleep>>,
}

impl ProvenBody {
    pub(crate) fn new(body: Incoming, lease: Lease) -> Self {
        let gap = Box::pin(sleep(lease.answer_gap()));
        let pinned = lease.pinned().clone();
        let mut this = Self {
            body,
            pinned,
            lease: Some(lease),
            gap,
        };
        this.release_if_ended();
        this
    }

    /// The verdict and keyset of the connection that this answer comes over.
    pub fn pinned(&self) -> &Arc<Pinned> {
        &self.pinned
    }

    fn release_if_ended(&mut self) {
        if self.body.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for ProvenBody {
    type Data = Bytes;
    type Error = ClientError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(after) = self.lease.as_ref().map(Lease::answer_gap) {
                    self.gap.as_mut().reset(Instant::now() + after);
                }
                self.release_if_ended();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(e))) => {
                self.lease = None;
                Poll::Ready(Some(Err(ClientError::Exchange { detail: e.to_string() })))
            }
            Poll::Ready(None) => {
                if let Some(lease) = self.lease.take() {
                    lease.give_back();
                }
                Poll::Ready(None)
            }
            Poll::Pending => match (self.gap.as_mut().poll(cx), self.lease.take()) {
                (Poll::Ready(()), Some(lease)) => {
                    let after = lease.answer_gap();
                    Poll::Ready(Some(Err(ClientError::Stalled { after })))
                }
                (_, lease) => {
                    self.lease = lease;
                    Poll::Pending
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
