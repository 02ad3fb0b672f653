//! The end of the handshake and the first request in one piece.
//!
//! A client's part of TLS 1.3 ends with its Finished, and whoever connects to a guest asks something right after it. Sent one
//! after the other they wake the guest twice. So what the handshake writes last is kept back until there is more to write:
//! nobody waits for it alone.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Types of the TLS records that a handshake ends with (RFC 8446 section 5.1): they wait for no answer.
const CHANGE_CIPHER_SPEC: u8 = 20;
const APPLICATION_DATA: u8 = 23;

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    ShakingHands,
    /// Nothing was written since.
    Shaken,
    /// What was kept back is on its way, with what came after it.
    Leaving,
    Left,
}

/// A stream under a TLS client that writes as soon as it has shaken hands.
pub struct FirstFlight<S> {
    io: S,
    stage: Stage,
    kept: Vec<u8>,
    /// How much of it is written.
    written: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> FirstFlight<S> {
    /// Before the handshake.
    pub fn new(io: S) -> Self {
        Self {
            io,
            stage: Stage::ShakingHands,
            kept: Vec::new(),
            written: 0,
        }
    }

    /// After the handshake: what is written next takes along what was kept back.
    pub fn shaken(&mut self) {
        self.stage = Stage::Shaken;
    }

    /// What is under it.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    fn keep(&mut self, bufs: &[IoSlice<'_>]) -> usize {
        for buf in bufs {
            self.kept.extend_from_slice(buf);
        }
        bufs.iter().map(|buf| buf.len()).sum()
    }

    /// Writes what is kept.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.kept.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.io).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.written += n,
            }
        }
        self.kept = Vec::new();
        self.written = 0;
        if self.stage == Stage::Leaving {
            self.stage = Stage::Left;
        }
        Poll::Ready(Ok(()))
    }
}

/// True if every record is one that a handshake ends with.
fn ends_handshake(records: &[IoSlice<'_>]) -> bool {
    let ends = |record: &IoSlice<'_>| matches!(record.first(), None | Some(&(CHANGE_CIPHER_SPEC | APPLICATION_DATA)));
    records.iter().all(ends)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for FirstFlight<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for FirstFlight<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.stage {
            Stage::ShakingHands if ends_handshake(bufs) => return Poll::Ready(Ok(self.keep(bufs))),
            Stage::Shaken => {
                let taken = self.keep(bufs);
                self.stage = Stage::Leaving;
                // What the other side does not take yet is written by the next write or flush.
                return match self.poll_drain(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(taken)),
                };
            }
            // A ClientHello that was asked for again, after a change_cipher_spec, or more of the first request.
            Stage::ShakingHands | Stage::Leaving => ready!(self.poll_drain(cx))?,
            Stage::Left => {}
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stage == Stage::Leaving {
            ready!(self.poll_drain(cx))?;
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn the_end_of_a_handshake_leaves_with_the_first_request_and_nothing_else_waits() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut near = FirstFlight::new(near);
        let mut seen = [0; 64];
        near.write_all(&[22, 1]).await.unwrap();
        near.flush().await.unwrap();
        assert_eq!(far.read(&mut seen).await.unwrap(), 2, "a ClientHello goes at once");
        // Asked for again, with the record before it that some middle boxes want.
        near.write_all(&[20, 0]).await.unwrap();
        near.write_all(&[22, 2]).await.unwrap();
        assert_eq!(far.read(&mut seen).await.unwrap(), 4);
        assert_eq!(seen[..4], [20, 0, 22, 2]);
        near.write_all(&[21, 9]).await.unwrap();
        assert_eq!(far.read(&mut seen).await.unwrap(), 2, "an alert goes at once");

        near.write_all(&[23, 3]).await.unwrap();
        near.flush().await.unwrap();
        let early = tokio::time::timeout(std::time::Duration::from_millis(20), far.read(&mut seen)).await;
        assert!(early.is_err(), "kept back");
        near.shaken();
        near.flush().await.unwrap();
        near.write_all(&[23, 4, 5]).await.unwrap();
        near.flush().await.unwrap();
        assert_eq!(far.read(&mut seen).await.unwrap(), 5, "one piece");
        assert_eq!(seen[..5], [23, 3, 23, 4, 5]);
        near.write_all(&[23, 6]).await.unwrap();
        assert_eq!(far.read(&mut seen).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_peer_that_takes_little_at_a_time_gets_everything_in_order() {
        let (near, mut far) = tokio::io::duplex(3);
        let mut near = FirstFlight::new(near);
        near.write_all(&[23, 1, 2, 3, 4]).await.unwrap();
        near.shaken();
        let writing = async {
            near.write_all(&[23, 5, 6, 7, 8]).await.unwrap();
            near.write_all(&[23, 9]).await.unwrap();
            near.shutdown().await.unwrap();
        };
        let mut all = Vec::new();
        let (read, ()) = tokio::join!(far.read_to_end(&mut all), writing);
        read.unwrap();
        assert_eq!(all, [23, 1, 2, 3, 4, 23, 5, 6, 7, 8, 23, 9]);
    }
}
