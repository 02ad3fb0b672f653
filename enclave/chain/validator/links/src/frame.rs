//! Frames: a length that is held against its bound before anything is allocated, then the bytes.
//!
//! # Layout
//! In the handshake: length u32, then the message. After it: length u32, channel u64, then the message. Big endian.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::LinkError;

/// Of a frame after the handshake, before its message.
pub(crate) const HEAD_BYTES: usize = 12;
/// The channel of frames that only say that the peer is there.
pub(crate) const PING: u64 = u64::MAX;

fn length(head: [u8; 4]) -> usize {
    usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX)
}

/// Reads one message of the handshake.
pub(crate) async fn read_message(
    from: &mut (impl AsyncRead + Unpin),
    what: &'static str,
    max: usize,
) -> Result<Vec<u8>, LinkError> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await?;
    let got = length(head);
    if got > max {
        return Err(LinkError::TooLong { what, max, got });
    }
    let mut message = vec![0; got];
    from.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes one message of the handshake.
pub(crate) async fn write_message(to: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> Result<(), LinkError> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    to.write_all(&length.to_be_bytes()).await?;
    to.write_all(message).await?;
    Ok(to.flush().await?)
}

/// What comes before a frame's message.
pub(crate) fn head(channel: u64, len: usize) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    let length = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    for (to, from) in head.iter_mut().zip(length.into_iter().chain(channel.to_be_bytes())) {
        *to = from;
    }
    head
}

/// Channel and length.
pub(crate) fn parse_head(head: [u8; HEAD_BYTES]) -> (u64, usize) {
    let (mut len, mut channel) = ([0; 4], [0; 8]);
    for (to, from) in len.iter_mut().chain(channel.iter_mut()).zip(head) {
        *to = from;
    }
    (u64::from_be_bytes(channel), length(len))
}
