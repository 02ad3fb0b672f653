//! Reading a message piece by piece.

use super::fields::{Field, content_length, is_token, known_section, open_section, text, wrong};
use super::{CONTROL_BYTES_MAX, RequestHead, ResponseHead};
use crate::buffer::Buffer;
use crate::error::SealedError;
use crate::varint;

mod private {
    pub trait Sealed {}
    impl Sealed for super::RequestHead {}
    impl Sealed for super::ResponseHead {}
}

/// What stands before the content: of a request or of an answer. Closed.
pub trait Head: private::Sealed + Sized {
    /// Framing indicator of known length; two more is the one of indeterminate length.
    #[doc(hidden)]
    const FRAMING: u64;

    /// Control data and how many bytes it took; `None` until more bytes come.
    #[doc(hidden)]
    fn control(bytes: &[u8]) -> Result<Option<(Self, usize)>, SealedError>;

    /// Puts the fields in place. False: the head was an informational one, another follows.
    #[doc(hidden)]
    fn complete(&mut self, fields: Vec<Field>) -> Result<bool, SealedError>;

    #[doc(hidden)]
    fn fields(&self) -> &[Field];
}

fn as_text(bytes: &[u8], good: bool, what: &'static str, expected: &'static str) -> Result<String, SealedError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if good => Ok(text.to_owned()),
        _ => Err(wrong(what, expected)),
    }
}

impl Head for RequestHead {
    const FRAMING: u64 = 0;

    fn control(bytes: &[u8]) -> Result<Option<(Self, usize)>, SealedError> {
        let mut parts: [&[u8]; 4] = [&[]; 4];
        let mut at = 0;
        for part in &mut parts {
            let rest = bytes.get(at..).unwrap_or_default();
            let room = CONTROL_BYTES_MAX.saturating_sub(at);
            let Some((value, used)) = text(rest, room, "control data")? else {
                return Ok(None);
            };
            *part = value;
            at += used;
        }
        let [method, scheme, authority, path] = parts;
        let visible = |bytes: &[u8], but: &[u8]| bytes.iter().all(|b| b.is_ascii_graphic() && !but.contains(b));
        let head = Self {
            method: as_text(
                method,
                !method.is_empty() && method.iter().all(|b| is_token(*b)),
                "method",
                "a token",
            )?,
            scheme: as_text(
                scheme,
                [b"https".as_slice(), b"http"].contains(&scheme),
                "scheme",
                "https or http",
            )?,
            authority: as_text(
                authority,
                visible(authority, b"/?#@\\"),
                "authority",
                "a host and perhaps a port",
            )?,
            path: as_text(
                path,
                path.first() == Some(&b'/') && visible(path, b"#"),
                "path",
                "a path that starts with / and has no fragment",
            )?,
            fields: Vec::new(),
        };
        Ok(Some((head, at)))
    }

    fn complete(&mut self, fields: Vec<Field>) -> Result<bool, SealedError> {
        let host = fields.iter().find(|f| f.name == "host");
        if host.is_some_and(|host| !self.authority.is_empty() && host.value != self.authority.as_bytes()) {
            return Err(wrong("host", "the authority of the control data"));
        }
        self.fields = fields;
        Ok(true)
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }
}

impl Head for ResponseHead {
    const FRAMING: u64 = 1;

    fn control(bytes: &[u8]) -> Result<Option<(Self, usize)>, SealedError> {
        let Some((status, used)) = varint::read(bytes) else {
            return Ok(None);
        };
        match u16::try_from(status) {
            // 101 switches the protocol of a connection; a message has none.
            Ok(status) if (100..=599).contains(&status) && status != 101 => Ok(Some((
                Self {
                    status,
                    fields: Vec::new(),
                },
                used,
            ))),
            _ => Err(wrong("status", "100 to 599, not 101")),
        }
    }

    fn complete(&mut self, fields: Vec<Field>) -> Result<bool, SealedError> {
        self.fields = fields;
        Ok(self.status >= 200)
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }
}

/// What a decoder gives, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<H> {
    /// Control data and header fields. Informational answers before it are passed over.
    Head(H),
    /// A piece of the content.
    Content(Vec<u8>),
    /// Trailer fields, if there are any.
    Trailers(Vec<Field>),
}

enum State<H> {
    Framing,
    Control,
    Headers(H),
    /// Known length: before it. Indeterminate: before a piece's length.
    ContentLength {
        is_first: bool,
    },
    Content {
        left: u64,
    },
    Trailers,
    Padding,
}

/// Informational answers before the final one.
const INFORMATIONAL_MAX: u32 = 8;
/// Longest piece of content that is given at once.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Reads one message as its bytes come.
pub struct Decoder<H> {
    buffer: Buffer,
    state: State<H>,
    is_known: bool,
    informational: u32,
    declared: Option<u64>,
    content: u64,
}

impl<H: Head> Default for Decoder<H> {
    fn default() -> Self {
        Self {
            buffer: Buffer::default(),
            state: State::Framing,
            is_known: false,
            informational: 0,
            declared: None,
            content: 0,
        }
    }
}

impl<H: Head> Decoder<H> {
    /// Takes bytes as they come. Take all events before the next push: that bounds what is held.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.push(bytes);
    }

    /// The next event; `None` until more bytes come.
    ///
    /// # Errors
    /// [`SealedError::Bhttp`], [`SealedError::TooLong`]. The decoder is then of no further use.
    pub fn next_event(&mut self) -> Result<Option<Event<H>>, SealedError> {
        loop {
            match std::mem::replace(&mut self.state, State::Padding) {
                State::Framing => {
                    let Some((framing, used)) = varint::read(self.buffer.rest()) else {
                        return self.wait(State::Framing);
                    };
                    if framing != H::FRAMING && framing != H::FRAMING + 2 {
                        return Err(wrong("framing indicator", "0 or 2 for a request, 1 or 3 for an answer"));
                    }
                    self.is_known = framing == H::FRAMING;
                    self.buffer.skip(used);
                    self.state = State::Control;
                }
                State::Control => match H::control(self.buffer.rest())? {
                    None => return self.wait(State::Control),
                    Some((head, used)) => {
                        self.buffer.skip(used);
                        self.state = State::Headers(head);
                    }
                },
                State::Headers(mut head) => match self.section()? {
                    None => return self.wait(State::Headers(head)),
                    Some(fields) => {
                        if head.complete(fields)? {
                            return self.begin_content(head).map(Some);
                        }
                        self.informational += 1;
                        if self.informational > INFORMATIONAL_MAX {
                            return Err(wrong("informational answers", "8 at most"));
                        }
                        self.state = State::Control;
                    }
                },
                State::ContentLength { is_first } => match varint::read(self.buffer.rest()) {
                    None => return self.wait(State::ContentLength { is_first }),
                    Some((left, used)) => {
                        self.buffer.skip(used);
                        let total = self.content.saturating_add(left);
                        if self.declared.is_some_and(|declared| total > declared) {
                            return Err(DECLARED);
                        }
                        self.state = match left {
                            0 => self.after_content()?,
                            left => State::Content { left },
                        };
                    }
                },
                State::Content { left } => {
                    let most = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES_MAX);
                    let piece = self.buffer.take_up_to(most);
                    if piece.is_empty() {
                        return self.wait(State::Content { left });
                    }
                    let left = left - piece.len() as u64;
                    self.content += piece.len() as u64;
                    self.state = match (left, self.is_known) {
                        (0, true) => self.after_content()?,
                        (0, false) => State::ContentLength { is_first: false },
                        (left, _) => State::Content { left },
                    };
                    return Ok(Some(Event::Content(piece)));
                }
                State::Trailers => match self.section()? {
                    None => return self.wait(State::Trailers),
                    Some(fields) => {
                        self.state = State::Padding;
                        if !fields.is_empty() {
                            return Ok(Some(Event::Trailers(fields)));
                        }
                    }
                },
                State::Padding => {
                    if self.buffer.rest().iter().any(|b| *b != 0) {
                        return Err(SealedError::Trailing { what: "binary HTTP" });
                    }
                    let padding = self.buffer.len();
                    self.buffer.skip(padding);
                    return self.wait(State::Padding);
                }
            }
        }
    }

    /// What is left to say once the bytes have ended; call it until it gives `None`. Empty sections may have been left out.
    ///
    /// # Errors
    /// [`SealedError::Truncated`] if the message is not whole.
    pub fn end(&mut self) -> Result<Option<Event<H>>, SealedError> {
        let cut = SealedError::Truncated { what: "binary HTTP" };
        if !self.buffer.is_empty() {
            return Err(cut);
        }
        match std::mem::replace(&mut self.state, State::Padding) {
            State::Headers(mut head) => {
                if !head.complete(Vec::new())? {
                    return Err(cut);
                }
                self.begin_content(head).map(Some)
            }
            State::ContentLength { is_first: true } => {
                self.after_content()?;
                Ok(None)
            }
            State::Trailers | State::Padding => Ok(None),
            State::Framing | State::Control | State::Content { .. } | State::ContentLength { is_first: false } => {
                Err(cut)
            }
        }
    }

    fn wait(&mut self, state: State<H>) -> Result<Option<Event<H>>, SealedError> {
        self.state = state;
        Ok(None)
    }

    fn begin_content(&mut self, head: H) -> Result<Event<H>, SealedError> {
        self.declared = content_length(head.fields())?;
        self.state = State::ContentLength { is_first: true };
        Ok(Event::Head(head))
    }

    fn after_content(&self) -> Result<State<H>, SealedError> {
        match self.declared {
            Some(declared) if declared != self.content => Err(DECLARED),
            _ => Ok(State::Trailers),
        }
    }

    fn section(&mut self) -> Result<Option<Vec<Field>>, SealedError> {
        let read = if self.is_known {
            known_section(self.buffer.rest())?
        } else {
            open_section(self.buffer.rest())?
        };
        Ok(read.map(|(fields, used)| {
            self.buffer.skip(used);
            fields
        }))
    }
}

const DECLARED: SealedError = SealedError::Bhttp {
    what: "content-length",
    expected: "the length of the content",
};
