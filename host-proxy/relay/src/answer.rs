//! Bodies of answers: a window of a few pieces between the gateway and the client, and an end that only the gateway can give.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// Pieces that wait for the client; each is at most what is read from the gateway at a time.
const WINDOW: usize = 2;

/// What the gateway's side gives to the client's side.
#[derive(Debug)]
pub(crate) enum Piece {
    Data(Bytes),
    End,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// All of it.
    Whole(Option<Bytes>),
    /// As it comes.
    Stream(mpsc::Receiver<Piece>),
    /// Nothing follows.
    Ended,
}

/// The gateway's side ended without an end: the client must not take what it has for the whole.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(crate) struct Cut;

impl Answer {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes))
    }

    pub(crate) fn stream() -> (mpsc::Sender<Piece>, Self) {
        let (send, receive) = mpsc::channel(WINDOW);
        (send, Self::Stream(receive))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Stream(pieces) => match ready!(pieces.poll_recv(cx)) {
                Some(Piece::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Piece::End) => {
                    *self = Self::Ended;
                    Poll::Ready(None)
                }
                None => Poll::Ready(Some(Err(Cut))),
            },
            Self::Ended => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None) | Self::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(_) => SizeHint::default(),
            Self::Ended => SizeHint::with_exact(0),
        }
    }
}
