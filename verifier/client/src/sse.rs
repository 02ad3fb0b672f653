//! Server-sent events, as far as a receipt needs them: whole frames, byte for byte (WHATWG HTML, section 9.2).
//!
//! A frame is everything up to and including a blank line (`\n\n`), which is how our guest ends each. Nothing is parsed
//! or changed: what goes in comes out, cut at frame ends.

use bytes::{Bytes, BytesMut};

/// Start of the comment frame that carries the signed receipt and its salts.
pub const RECEIPT_FRAME_PREFIX: &[u8] = b": hanzo-receipt ";

/// The frames that may follow it: the ends of a stream, in OpenAI's shapes and in Anthropic's. Neither says anything.
const END_FRAMES: [&[u8]; 2] = [
    b"data: [DONE]\n\n",
    b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
];

/// True for a frame that ends a stream and says nothing else.
pub(crate) fn is_end(frame: &[u8]) -> bool {
    END_FRAMES.contains(&frame)
}

/// Longest frame in bytes: one may hold a whole answer with what was asked (`response.completed`), or a long call.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// A frame grew past [`FRAME_BYTES_MAX`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FrameTooLong;

/// Cuts a byte stream into frames.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: BytesMut,
    /// No blank line starts before this offset.
    scanned: usize,
}

impl Frames {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, FrameTooLong> {
        let unseen = self.buffer.get(self.scanned..).unwrap_or_default();
        match unseen.windows(2).position(|w| w == b"\n\n") {
            Some(at) => {
                let frame = self.buffer.split_to(self.scanned + at + 2).freeze();
                self.scanned = 0;
                Ok(Some(frame))
            }
            None if self.buffer.len() > FRAME_BYTES_MAX => Err(FrameTooLong),
            None => {
                self.scanned = self.buffer.len().saturating_sub(1);
                Ok(None)
            }
        }
    }

    /// What no blank line has ended yet.
    #[cfg(test)]
    pub(crate) fn rest(&self) -> &[u8] {
        &self.buffer
    }
}

/// The JSON of a receipt frame; `None` for every other frame.
pub(crate) fn receipt_json(frame: &[u8]) -> Option<&[u8]> {
    frame.strip_prefix(RECEIPT_FRAME_PREFIX)?.strip_suffix(b"\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_bytes_arrive() {
        let text = b"data: {\"a\":1}\n\n: hanzo-receipt {}\n\ndata: [DONE]\n\ntail";
        for step in 1..=text.len() {
            let mut frames = Frames::default();
            let mut out: Vec<Bytes> = Vec::new();
            for chunk in text.chunks(step) {
                frames.push(chunk);
                while let Some(frame) = frames.next().unwrap() {
                    out.push(frame);
                }
            }
            assert_eq!(out.len(), 3, "step {step}");
            assert_eq!(receipt_json(&out[1]), Some(&b"{}"[..]));
            assert_eq!(receipt_json(&out[0]), None);
            assert_eq!(frames.rest(), b"tail");
            assert_eq!([out.concat().as_slice(), b"tail"].concat(), text);
        }
    }

    #[test]
    fn only_an_end_that_says_nothing_is_one() {
        assert!(is_end(b"data: [DONE]\n\n"));
        assert!(is_end(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
        for other in [
            &b"data: [DONE] \n\n"[..],
            b"event: message_stop\ndata: {\"type\":\"message_stop\",\"text\":\"more\"}\n\n",
            b": more\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            b"data: {}\n\n",
        ] {
            assert!(!is_end(other));
        }
    }

    #[test]
    fn an_endless_frame_is_refused_and_a_long_one_is_not() {
        let mut frames = Frames::default();
        frames.push(&vec![b'x'; FRAME_BYTES_MAX]);
        assert_eq!(frames.next(), Ok(None));
        frames.push(b"x");
        assert_eq!(frames.next(), Err(FrameTooLong));
    }
}
