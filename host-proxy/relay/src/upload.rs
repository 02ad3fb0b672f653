//! The body of a request on its way to the gateway: bounded in length and in pauses, and nothing but its bytes.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::refused::Refused;

/// Why a body ended early; looked at when the exchange failed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Why(Arc<Mutex<Option<Refused>>>);

impl Why {
    fn set(&self, refused: Refused) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refused);
    }

    pub(crate) fn get(&self) -> Option<Refused> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body towards the gateway.
pub(crate) enum Upload {
    Empty,
    Message(Box<Message>),
}

pub(crate) struct Message {
    body: Incoming,
    left: u64,
    stall: Duration,
    deadline: Pin<Box<Sleep>>,
    why: Why,
    bytes: Counter,
    is_over: bool,
}

/// The body ended early.
#[derive(Debug, thiserror::Error)]
#[error("the request broke off")]
pub(crate) struct Cut;

impl Upload {
    pub(crate) fn message(body: Incoming, bytes_max: u64, stall: Duration, bytes: Counter) -> (Self, Why) {
        let why = Why::default();
        let message = Message {
            body,
            left: bytes_max,
            stall,
            deadline: Box::pin(sleep_until(Instant::now() + stall)),
            why: why.clone(),
            bytes,
            is_over: false,
        };
        (Self::Message(Box::new(message)), why)
    }
}

impl Message {
    fn cut(&mut self, why: Refused) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.why.set(why);
        self.is_over = true;
        Poll::Ready(Some(Err(Cut)))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(_))) => return self.cut(Refused::Broken),
                Poll::Ready(None) => {
                    self.is_over = true;
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    return match self.deadline.as_mut().poll(cx) {
                        Poll::Ready(()) => self.cut(Refused::Slow),
                        Poll::Pending => Poll::Pending,
                    };
                }
            };
            let stall = Instant::now() + self.stall;
            self.deadline.as_mut().reset(stall);
            // Trailers are headers: they could name the client.
            let Ok(data) = frame.into_data() else { continue };
            match self.left.checked_sub(data.len() as u64) {
                Some(left) => self.left = left,
                None => return self.cut(Refused::TooLong),
            }
            self.bytes.inc_by(data.len() as u64);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Message(message) => message.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Message(message) => message.is_over || message.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Message(message) => message.body.size_hint(),
        }
    }
}
