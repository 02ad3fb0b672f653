//! Padding: whoever carries a message sees its length, so there are few lengths ([`Padding`] says which).
//!
//! # Layout
//! | what | padded by |
//! |---|---|
//! | a binary HTTP message that is written to its end | zeros after it (RFC 9292 section 3.8): [`fill`] |
//! | the start of a binary HTTP message whose content streams | a field [`FILL_HEADER`] of zeros: [`fill_start`] |
//! | a piece of a stream of events | a comment (WHATWG HTML section 9.2.5) after its frames: [`fill_events`] |
//! | a message of HTTP/1.1 that has content | spaces after the content, whose length [`LENGTH_HEADER`] states: [`content_len`], [`cut`] |
//!
//! A request states its mode in [`PADDING_HEADER`]; the answer states the one it has.
//!
//! # Does not establish
//! That nobody learns anything: how many pieces a stream has and when they come is seen all the same.

pub use hanzo_attestation::padding::{BLOCK_BYTES, Padding, PaddingError};

use crate::bhttp::{Field, ResponseHead, response_start};
use crate::error::SealedError;

/// Names the mode: in a request the one that is asked for, in an answer the one it has.
pub const PADDING_HEADER: &str = "hanzo-padding";
/// States how long the content is without the spaces after it: [`LENGTH_DIGITS`] decimal digits.
pub const LENGTH_HEADER: &str = "hanzo-length";
/// Zeros that make a head longer; means nothing.
pub const FILL_HEADER: &str = "hanzo-fill";
/// Digits of [`LENGTH_HEADER`]'s value: its own length must not tell.
pub const LENGTH_DIGITS: usize = 10;

const COMMENT_START: &[u8] = b": hanzo-padding ";
const COMMENT_END: &[u8] = b"\n\n";
const COMMENT_BYTES_MIN: usize = COMMENT_START.len() + COMMENT_END.len();
/// Lengths that are tried. A length that cannot be written is followed by one that can.
const TRIES_MAX: usize = 4;

/// Pads a binary HTTP message that was written to its end; it gets `floor` bytes at least, unless `mode` is off.
pub fn fill(mode: Padding, floor: usize, message: &mut Vec<u8>) {
    if mode > Padding::Off {
        message.resize(mode.padded(message.len().max(floor)), 0);
    }
}

/// The start of an answer of indeterminate length, with a field that pads it.
pub fn fill_start(mode: Padding, mut head: ResponseHead) -> Vec<u8> {
    if mode == Padding::Off {
        return response_start(&head);
    }
    head.fields.push(Field::new(FILL_HEADER, ""));
    let bare = response_start(&head).len();
    let mut target = mode.padded(bare);
    for _ in 0..TRIES_MAX {
        // The value's own length takes one byte or two.
        for len in [target - bare, (target - bare).saturating_sub(1)] {
            if let Some(fill) = head.fields.last_mut() {
                fill.value = vec![b'0'; len];
            }
            let start = response_start(&head);
            if start.len() == target {
                return start;
            }
        }
        target = mode.padded(target + 1);
    }
    response_start(&head)
}

/// Pads a piece of a stream of events, which ends with a whole frame, by a comment.
pub fn fill_events(mode: Padding, piece: &mut Vec<u8>) {
    if mode == Padding::Off {
        return;
    }
    let fill = mode.padded(piece.len() + COMMENT_BYTES_MIN) - piece.len();
    piece.extend_from_slice(COMMENT_START);
    piece.resize(piece.len() + fill.saturating_sub(COMMENT_BYTES_MIN), b'0');
    piece.extend_from_slice(COMMENT_END);
}

/// True for a frame that [`fill_events`] wrote: it belongs to no answer, and no receipt covers it.
pub fn is_fill(frame: &[u8]) -> bool {
    frame
        .strip_prefix(COMMENT_START)
        .and_then(|rest| rest.strip_suffix(COMMENT_END))
        .is_some_and(|zeros| zeros.iter().all(|b| *b == b'0'))
}

/// How long the content of a message of HTTP/1.1 must be for the whole message to have a length of `mode`, and `floor` bytes
/// at least. `head_bytes` is the length of the head without its `content-length`.
pub fn content_len(mode: Padding, floor: usize, head_bytes: usize, content_bytes: usize) -> usize {
    const FIELD: usize = "content-length: \r\n".len();
    let around = |content: usize| head_bytes + FIELD + digits(content);
    if mode == Padding::Off {
        return content_bytes;
    }
    let mut target = mode.padded((around(content_bytes) + content_bytes).max(floor));
    for _ in 0..TRIES_MAX {
        // A longer content may take a digit more.
        for width in 1..=LENGTH_DIGITS {
            let content = target.saturating_sub(head_bytes + FIELD + width);
            if content >= content_bytes && digits(content) == width {
                return content;
            }
        }
        target = mode.padded(target + 1);
    }
    content_bytes
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// The value of [`LENGTH_HEADER`].
pub fn length_value(content_bytes: usize) -> String {
    format!("{content_bytes:0LENGTH_DIGITS$}")
}

/// Reads a value of [`LENGTH_HEADER`].
///
/// # Errors
/// [`SealedError::Header`].
pub fn parse_length(value: &[u8]) -> Result<usize, SealedError> {
    let is_number = value.len() == LENGTH_DIGITS && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_number);
    text.and_then(|t| t.parse().ok()).ok_or(WRONG_LENGTH)
}

const WRONG_LENGTH: SealedError = SealedError::Header {
    header: LENGTH_HEADER,
    expected: "ten digits: the content's length, with spaces alone after it",
};

/// How long the content is of which `value` states the length.
///
/// # Errors
/// [`SealedError::Header`] if the value is none, is more than there is, or something else than spaces follows.
pub fn cut(content: &[u8], value: &[u8]) -> Result<usize, SealedError> {
    let len = parse_length(value)?;
    match content.get(len..) {
        Some(fill) if fill.iter().all(|b| *b == b' ') => Ok(len),
        _ => Err(WRONG_LENGTH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bhttp::{INDETERMINATE_END, Whole, content_piece, decode};

    const MODES: [Padding; 2] = [Padding::Blocks, Padding::PowerOfTwo];

    fn head(value: usize) -> ResponseHead {
        ResponseHead {
            status: 200,
            fields: vec![Field::new("x", "y".repeat(value))],
        }
    }

    #[test]
    fn whole_messages_have_few_lengths_and_read_as_before() {
        for mode in MODES {
            for content in [0, 1, 100, 470, 500, 511, 512, 5_000] {
                let mut message = response_start(&head(3));
                message.extend(content_piece(&vec![b'c'; content]));
                message.extend(INDETERMINATE_END);
                let bare = message.len();
                fill(mode, 0, &mut message);
                assert_eq!(message.len(), mode.padded(bare));
                let read: Whole<ResponseHead> = decode(&message).unwrap();
                assert_eq!((read.head, read.content.len()), (head(3), content));
            }
        }
        let mut message = vec![1];
        fill(Padding::Blocks, 16_000, &mut message);
        assert_eq!(message.len(), 16_384, "no shorter than its floor");
        let mut off = vec![1; 7];
        fill(Padding::Off, 16_000, &mut off);
        assert_eq!(off.len(), 7);
    }

    #[test]
    fn starts_have_few_lengths_whatever_their_fields() {
        for mode in MODES {
            for value in 0..1_200 {
                let start = fill_start(mode, head(value));
                assert_eq!(mode.padded(start.len()), start.len(), "{mode} {value}");
            }
        }
        assert_eq!(fill_start(Padding::Off, head(9)), response_start(&head(9)));
    }

    #[test]
    fn pieces_of_a_stream_have_few_lengths_and_their_comments_are_told_from_all_others() {
        for mode in MODES {
            for len in 0..1_200 {
                let mut piece = vec![b'x'; len];
                fill_events(mode, &mut piece);
                assert_eq!(mode.padded(piece.len()), piece.len(), "{mode} {len}");
                assert!(is_fill(&piece[len..]) && !is_fill(&piece[len..piece.len() - 1]));
            }
        }
        for other in [
            b": hanzo-padding 00x\n\n".as_slice(),
            b": hanzo-padding 0\ndata: 0\n\n",
            b": hanzo-receipt {}\n\n",
            b"data: 0\n\n",
        ] {
            assert!(!is_fill(other));
        }
    }

    #[test]
    fn content_is_as_long_as_the_message_needs_and_is_cut_where_it_ends() {
        for mode in MODES {
            for head_bytes in [100, 383, 384, 385, 900] {
                for content in (0..1_200).chain([9_980, 9_999, 10_000, 16_380]) {
                    let len = content_len(mode, 0, head_bytes, content);
                    let message = head_bytes + format!("content-length: {len}\r\n").len() + len;
                    assert!(
                        len >= content && mode.padded(message) == message,
                        "{mode} {head_bytes} {content}"
                    );
                }
            }
        }
        assert_eq!(content_len(Padding::Off, 9_000, 100, 5), 5);
        assert_eq!(cut(b"{}   ", b"0000000002").unwrap(), 2);
        for (content, value) in [
            (b"{} x ".as_slice(), b"0000000002".as_slice()),
            (b"{}", b"0000000003"),
            (b"{}", b"2"),
            (b"{}", b"+000000002"),
        ] {
            assert_eq!(cut(content, value).unwrap_err().code(), "sealed.header");
        }
    }
}
