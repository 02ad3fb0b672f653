//! Binary HTTP (RFC 9292): messages as bytes, with lengths known beforehand or not, whole or piece by piece.
//!
//! # Layout
//! Framing indicator (0 and 1: known length, 2 and 3: indeterminate; even: request), control data, header section, content,
//! trailer section, zeros as padding. All numbers are variable-length integers. Sections that are empty may be left out
//! from the end on.
//!
//! Bounds: [`FIELDS_MAX`] fields and [`SECTION_BYTES_MAX`] bytes in a section, [`CONTROL_BYTES_MAX`] of control data. Content is
//! bounded by whoever takes it.

mod decode;
mod fields;

pub use decode::{Decoder, Event, Head};
pub use fields::Field;

use crate::error::SealedError;
use crate::varint;

/// Most fields of a section.
pub const FIELDS_MAX: usize = 64;
/// Longest section in bytes.
pub const SECTION_BYTES_MAX: usize = 32 * 1024;
/// Longest control data in bytes: method, scheme, authority and path.
pub const CONTROL_BYTES_MAX: usize = 8 * 1024;
/// What ends a message of indeterminate length: the ends of its content and of its trailers.
pub const INDETERMINATE_END: [u8; 2] = [0, 0];

/// A request but for its content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestHead {
    /// Method.
    pub method: String,
    /// `https` or `http`.
    pub scheme: String,
    /// Host and port; may be empty.
    pub authority: String,
    /// Path and query; starts with `/`.
    pub path: String,
    /// Header fields.
    pub fields: Vec<Field>,
}

/// An answer but for its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// Status, 200 to 599.
    pub status: u16,
    /// Header fields.
    pub fields: Vec<Field>,
}

fn text(value: &[u8], out: &mut Vec<u8>) {
    varint::write(value.len(), out);
    out.extend_from_slice(value);
}

fn request_control(framing: u8, head: &RequestHead) -> Vec<u8> {
    let mut out = vec![framing];
    for part in [&head.method, &head.scheme, &head.authority, &head.path] {
        text(part.as_bytes(), &mut out);
    }
    out
}

fn lines(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        text(field.name.as_bytes(), &mut out);
        text(&field.value, &mut out);
    }
    out
}

fn known(mut out: Vec<u8>, fields: &[Field], content: &[u8]) -> Vec<u8> {
    text(&lines(fields), &mut out);
    text(content, &mut out);
    out.push(0);
    out
}

fn open_ended(mut out: Vec<u8>, fields: &[Field]) -> Vec<u8> {
    out.extend_from_slice(&lines(fields));
    out.push(0);
    out
}

/// A whole request of known length.
pub fn encode_request(head: &RequestHead, content: &[u8]) -> Vec<u8> {
    known(request_control(0, head), &head.fields, content)
}

/// A whole answer of known length.
pub fn encode_response(head: &ResponseHead, content: &[u8]) -> Vec<u8> {
    let mut out = vec![1];
    varint::write(usize::from(head.status), &mut out);
    known(out, &head.fields, content)
}

/// The start of a request of indeterminate length; [`content_piece`]s and [`INDETERMINATE_END`] follow.
pub fn request_start(head: &RequestHead) -> Vec<u8> {
    open_ended(request_control(2, head), &head.fields)
}

/// The start of an answer of indeterminate length; [`content_piece`]s and [`INDETERMINATE_END`] follow.
pub fn response_start(head: &ResponseHead) -> Vec<u8> {
    let mut out = vec![3];
    varint::write(usize::from(head.status), &mut out);
    open_ended(out, &head.fields)
}

/// A piece of the content of a message of indeterminate length. Nothing for no bytes: that would be the end.
pub fn content_piece(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 4);
    if !bytes.is_empty() {
        text(bytes, &mut out);
    }
    out
}

/// A message that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole<H> {
    /// Control data and header fields.
    pub head: H,
    /// Content.
    pub content: Vec<u8>,
    /// Trailer fields.
    pub trailers: Vec<Field>,
}

/// Reads one whole message.
///
/// # Errors
/// [`SealedError::Bhttp`], [`SealedError::Truncated`], [`SealedError::TooLong`].
pub fn decode<H: Head>(bytes: &[u8]) -> Result<Whole<H>, SealedError> {
    let mut decoder = Decoder::<H>::default();
    decoder.push(bytes);
    let (mut head, mut content, mut trailers) = (None, Vec::new(), Vec::new());
    loop {
        let event = match decoder.next_event()? {
            Some(event) => event,
            None => match decoder.end()? {
                Some(event) => event,
                None => break,
            },
        };
        match event {
            Event::Head(read) => head = Some(read),
            Event::Content(bytes) => content.extend_from_slice(&bytes),
            Event::Trailers(fields) => trailers = fields,
        }
    }
    let head = head.ok_or(SealedError::Truncated { what: "binary HTTP" })?;
    Ok(Whole {
        head,
        content,
        trailers,
    })
}
