//! Chunked Oblivious HTTP (draft-ietf-ohai-chunked-ohttp-08): parts that can be opened as they come, and an end that only
//! the sender can write.
//!
//! # Layout
//! Request: the header and `enc` of RFC 9458, then parts. Answer: response nonce (max(Nn, Nk)), then parts. A part is its
//! sealed length (variable-length integer, at least 1) and its ciphertext under an empty `aad`; the last part has length 0,
//! reaches to the end of the stream and is sealed under the `aad` "final". Labels are "message/bhttp chunked request" and
//! "message/bhttp chunked response".

use hanzo_pqc::aead::TAG_LEN;
use hanzo_pqc::gcm::Gcm;
use hanzo_pqc::hpke::message::{MessageContext, MessageKey, setup_recipient, setup_sender};
use zeroize::Zeroizing;

use crate::buffer::Buffer;
use crate::config::KeyConfig;
use crate::error::SealedError;
use crate::ohttp::{Header, export};
use crate::response::{Exported, ResponseKeys, entropy_len};
use crate::varint;

/// Media type of a request in parts.
pub const REQUEST_MEDIA_TYPE: &str = "message/ohttp-chunked-req";
/// Media type of an answer in parts.
pub const RESPONSE_MEDIA_TYPE: &str = "message/ohttp-chunked-res";
/// Longest part in bytes, opened.
pub const PART_BYTES_MAX: usize = 16 * 1024;

const REQUEST_LABEL: &[u8] = b"message/bhttp chunked request";
const RESPONSE_LABEL: &[u8] = b"message/bhttp chunked response";
const FINAL: &[u8] = b"final";
const SEALED_MAX: usize = PART_BYTES_MAX + TAG_LEN;

/// One opened part.
pub struct Part {
    /// Its bytes.
    pub bytes: Zeroizing<Vec<u8>>,
    /// True for the last one: the message is whole.
    pub is_last: bool,
}

/// Cuts a stream into sealed parts. It knows no key, so that it can be tried alone.
#[derive(Default)]
pub struct PartReader {
    buffer: Buffer,
    in_last: bool,
}

impl PartReader {
    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.push(bytes);
    }

    /// The next sealed part that is not the last; `None` until more bytes come.
    ///
    /// # Errors
    /// [`SealedError::TooLong`], before a part is waited for; [`SealedError::Truncated`] for one too short to be sealed.
    pub fn next_sealed(&mut self) -> Result<Option<Vec<u8>>, SealedError> {
        let too_long = SealedError::TooLong {
            what: "part",
            limit: PART_BYTES_MAX,
        };
        if !self.in_last {
            let Some((len, used)) = varint::read(self.buffer.rest()) else {
                return Ok(None);
            };
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            if len > SEALED_MAX {
                return Err(too_long);
            }
            if len > 0 {
                if len < TAG_LEN {
                    return Err(SealedError::Truncated { what: "part" });
                }
                if self.buffer.len() < used + len {
                    return Ok(None);
                }
                self.buffer.skip(used);
                return Ok(self.buffer.take(len));
            }
            self.buffer.skip(used);
            self.in_last = true;
        }
        if self.buffer.len() > SEALED_MAX {
            return Err(too_long);
        }
        Ok(None)
    }

    /// The last sealed part, once the stream has ended.
    ///
    /// # Errors
    /// [`SealedError::Truncated`] if the stream ended before it.
    pub fn last_sealed(&mut self) -> Result<Vec<u8>, SealedError> {
        match self.next_sealed()? {
            None if self.in_last && self.buffer.len() >= TAG_LEN => Ok(self.buffer.take_up_to(SEALED_MAX)),
            _ => Err(SealedError::Truncated { what: "sealed stream" }),
        }
    }

    /// True while nothing waits to be opened.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && !self.in_last
    }
}

fn framed(sealed: &[u8], is_last: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(sealed.len() + 4);
    varint::write(if is_last { 0 } else { sealed.len() }, &mut out);
    out.extend_from_slice(sealed);
    out
}

fn aad(is_last: bool) -> &'static [u8] {
    if is_last { FINAL } else { b"" }
}

fn check_part(part: &[u8]) -> Result<(), SealedError> {
    if part.len() > PART_BYTES_MAX {
        return Err(SealedError::TooLong {
            what: "part",
            limit: PART_BYTES_MAX,
        });
    }
    Ok(())
}

/// Seals a request part by part.
pub struct RequestSealer {
    context: MessageContext,
}

impl RequestSealer {
    /// Begins: returns what the stream starts with, and what the answer will be opened with.
    ///
    /// # Errors
    /// [`SealedError::Suite`] if the key does not offer `aead`; [`SealedError::Backend`].
    pub fn begin(config: &KeyConfig, aead: Gcm) -> Result<(Vec<u8>, Self, ResponseOpener), SealedError> {
        let header = Header::of(config, aead)?;
        let (enc, context) =
            setup_sender(config.public_key(), aead, &header.info(REQUEST_LABEL)).map_err(SealedError::Backend)?;
        let start = [header.encode().as_slice(), &enc].concat();
        let exported = export(&context, RESPONSE_LABEL, aead, enc)?;
        Ok((start, Self { context }, ResponseOpener::new(exported)))
    }

    /// Seals the next part.
    ///
    /// # Errors
    /// [`SealedError::TooLong`], [`SealedError::Backend`].
    pub fn part(&mut self, part: &[u8]) -> Result<Vec<u8>, SealedError> {
        self.seal(part, false)
    }

    /// Seals the last part, which may be empty.
    ///
    /// # Errors
    /// As [`Self::part`].
    pub fn last(mut self, part: &[u8]) -> Result<Vec<u8>, SealedError> {
        self.seal(part, true)
    }

    fn seal(&mut self, part: &[u8], is_last: bool) -> Result<Vec<u8>, SealedError> {
        check_part(part)?;
        let mut data = Vec::with_capacity(part.len() + TAG_LEN);
        data.extend_from_slice(part);
        self.context
            .seal_in_place(aad(is_last), &mut data)
            .map_err(SealedError::Backend)?;
        Ok(framed(&data, is_last))
    }
}

/// Opens a request part by part.
pub struct RequestOpener {
    reader: PartReader,
    context: MessageContext,
    is_over: bool,
}

impl RequestOpener {
    /// Begins with the `header` and `enc` that the stream started with.
    ///
    /// # Errors
    /// [`SealedError::KeyId`], [`SealedError::Suite`], [`SealedError::Open`].
    pub fn begin(
        config: &KeyConfig,
        key: &MessageKey,
        header: Header,
        enc: &[u8],
    ) -> Result<(Self, ResponseSealer), SealedError> {
        header.check(config)?;
        let context = setup_recipient(key, header.aead, enc, &header.info(REQUEST_LABEL))
            .map_err(SealedError::opening("sealed request"))?;
        let exported = export(&context, RESPONSE_LABEL, header.aead, enc.to_vec())?;
        let opener = Self {
            reader: PartReader::default(),
            context,
            is_over: false,
        };
        Ok((opener, ResponseSealer { exported }))
    }

    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
    }

    /// The next part; `None` until more bytes come.
    ///
    /// # Errors
    /// [`SealedError::Open`], [`SealedError::TooLong`], [`SealedError::Truncated`].
    pub fn next_part(&mut self) -> Result<Option<Part>, SealedError> {
        match self.reader.next_sealed()? {
            Some(sealed) => self.open(sealed, false).map(Some),
            None => Ok(None),
        }
    }

    /// The last part, once the stream has ended.
    ///
    /// # Errors
    /// As [`Self::next_part`]; [`SealedError::Truncated`] if the stream was cut.
    pub fn end(&mut self) -> Result<Part, SealedError> {
        if self.is_over {
            return Err(SealedError::Truncated { what: "sealed stream" });
        }
        let sealed = self.reader.last_sealed()?;
        self.is_over = true;
        self.open(sealed, true)
    }

    fn open(&mut self, sealed: Vec<u8>, is_last: bool) -> Result<Part, SealedError> {
        let mut bytes = Zeroizing::new(sealed);
        self.context
            .open_in_place(aad(is_last), &mut bytes)
            .map_err(SealedError::opening("part of a request"))?;
        Ok(Part { bytes, is_last })
    }
}

/// What a gateway keeps until its answer begins.
pub struct ResponseSealer {
    exported: Exported,
}

impl ResponseSealer {
    /// Begins the answer: returns what the stream starts with.
    ///
    /// # Errors
    /// [`SealedError::Backend`].
    pub fn begin(self) -> Result<(Vec<u8>, PartSealer), SealedError> {
        let nonce = self.exported.fresh_nonce()?;
        let keys = self.exported.keys(&nonce)?;
        Ok((nonce, PartSealer { keys }))
    }
}

/// Seals an answer part by part.
pub struct PartSealer {
    keys: ResponseKeys,
}

impl PartSealer {
    /// Seals the next part.
    ///
    /// # Errors
    /// [`SealedError::TooLong`], [`SealedError::Backend`].
    pub fn part(&mut self, part: &[u8]) -> Result<Vec<u8>, SealedError> {
        check_part(part)?;
        Ok(framed(&self.keys.seal(aad(false), part)?, false))
    }

    /// Seals the last part, which may be empty.
    ///
    /// # Errors
    /// As [`Self::part`].
    pub fn last(mut self, part: &[u8]) -> Result<Vec<u8>, SealedError> {
        check_part(part)?;
        Ok(framed(&self.keys.seal(aad(true), part)?, true))
    }
}

/// Opens an answer part by part.
pub struct ResponseOpener {
    exported: Exported,
    keys: Option<ResponseKeys>,
    start: Buffer,
    reader: PartReader,
    is_over: bool,
}

impl ResponseOpener {
    fn new(exported: Exported) -> Self {
        Self {
            exported,
            keys: None,
            start: Buffer::default(),
            reader: PartReader::default(),
            is_over: false,
        }
    }

    /// Takes bytes as they come.
    ///
    /// # Errors
    /// [`SealedError::Backend`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SealedError> {
        if self.keys.is_some() {
            self.reader.push(bytes);
            return Ok(());
        }
        self.start.push(bytes);
        if let Some(nonce) = self.start.take(entropy_len(self.exported.gcm)) {
            self.keys = Some(self.exported.keys(&nonce)?);
            self.reader.push(self.start.rest());
            self.start = Buffer::default();
        }
        Ok(())
    }

    /// The next part; `None` until more bytes come.
    ///
    /// # Errors
    /// [`SealedError::Open`], [`SealedError::TooLong`], [`SealedError::Truncated`].
    pub fn next_part(&mut self) -> Result<Option<Part>, SealedError> {
        match self.reader.next_sealed()? {
            Some(sealed) => self.open(sealed, false).map(Some),
            None => Ok(None),
        }
    }

    /// The last part, once the stream has ended.
    ///
    /// # Errors
    /// As [`Self::next_part`]; [`SealedError::Truncated`] if the stream was cut.
    pub fn end(&mut self) -> Result<Part, SealedError> {
        if self.is_over || self.keys.is_none() {
            return Err(SealedError::Truncated { what: "sealed stream" });
        }
        let sealed = self.reader.last_sealed()?;
        self.is_over = true;
        self.open(sealed, true)
    }

    fn open(&mut self, sealed: Vec<u8>, is_last: bool) -> Result<Part, SealedError> {
        let Some(keys) = &mut self.keys else {
            return Err(SealedError::Truncated { what: "sealed stream" });
        };
        let bytes = keys.open(aad(is_last), sealed)?;
        Ok(Part { bytes, is_last })
    }
}
