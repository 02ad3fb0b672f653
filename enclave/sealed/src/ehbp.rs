//! EHBP v0.3.1, server and client: bodies alone are sealed, headers travel in clear.
//!
//! # Layout
//! Header `Ehbp-Encapsulated-Key`: `enc` of HPKE base mode (X25519, HKDF-SHA256, AES-256-GCM; info "ehbp request"), 64
//! lower-case hex digits. Header `Ehbp-Response-Nonce`: 32 random bytes likewise. Bodies: chunks of a big-endian u32 length
//! and that many bytes of ciphertext under an empty `aad`; length 0 is ignored. The answer's key comes of
//! Export("ehbp response", 32) as in RFC 9458 section 4.4.
//!
//! # Does not establish
//! That a body is whole: it ends where HTTP says that it ends, so whoever carries it can cut it between two chunks. What is
//! inside must tell (JSON that closes, `data: [DONE]`, a receipt).

use hanzo_pqc::aead::TAG_LEN;
use hanzo_pqc::gcm::Gcm;
use hanzo_pqc::hpke::message::{
    MessageContext, MessageKem, MessageKey, MessagePublicKey, setup_recipient, setup_sender,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::buffer::Buffer;
use crate::error::SealedError;
use crate::ohttp::export;
use crate::response::{Exported, ResponseKeys};

/// Header of a sealed request.
pub const ENCAPSULATED_KEY_HEADER: &str = "ehbp-encapsulated-key";
/// Header of a sealed answer.
pub const RESPONSE_NONCE_HEADER: &str = "ehbp-response-nonce";
/// Where the key configuration is served.
pub const KEYS_PATH: &str = "/.well-known/hpke-keys";
/// Problem type of a request that the key does not open (422).
pub const KEY_PROBLEM: &str = "urn:ietf:params:ehbp:error:key-config";
/// Key identifier in the key configuration.
pub const KEY_ID: u8 = 0;
/// The one AEAD.
pub const AEAD: Gcm = Gcm::Aes256;
/// The one KEM.
pub const KEM: MessageKem = MessageKem::X25519;

const INFO: &[u8] = b"ehbp request";
const RESPONSE_LABEL: &[u8] = b"ehbp response";
const NONCE_LEN: usize = 32;

/// Reads 32 bytes in lower-case hex, the form of both headers.
fn hex32(header: &'static str, text: &str) -> Result<[u8; NONCE_LEN], SealedError> {
    let wrong = || SealedError::Header {
        header,
        expected: "64 lower-case hex digits",
    };
    if text.len() != 2 * NONCE_LEN || text.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(wrong());
    }
    let mut bytes = [0; NONCE_LEN];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| wrong())?;
    Ok(bytes)
}

/// `enc` out of its header.
///
/// # Errors
/// [`SealedError::Header`].
pub fn parse_enc(text: &str) -> Result<[u8; 32], SealedError> {
    hex32(ENCAPSULATED_KEY_HEADER, text)
}

/// Cuts a body into sealed chunks of at most `limit` bytes each.
pub struct ChunkReader {
    buffer: Buffer,
    limit: usize,
}

impl ChunkReader {
    /// Chunks of more than `limit` opened bytes are refused before they are waited for.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: Buffer::default(),
            limit,
        }
    }

    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.push(bytes);
    }

    /// The next sealed chunk; `None` until more bytes come. Empty chunks are passed over.
    ///
    /// # Errors
    /// [`SealedError::TooLong`]; [`SealedError::Truncated`] for a chunk too short to be sealed.
    pub fn next_sealed(&mut self) -> Result<Option<Vec<u8>>, SealedError> {
        while let Some(head) = self.buffer.rest().first_chunk::<4>() {
            let len = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
            if len == 0 {
                self.buffer.skip(4);
                continue;
            }
            if len > self.limit.saturating_add(TAG_LEN) {
                return Err(SealedError::TooLong {
                    what: "chunk",
                    limit: self.limit,
                });
            }
            if len < TAG_LEN {
                return Err(SealedError::Truncated { what: "chunk" });
            }
            if self.buffer.len() < 4 + len {
                return Ok(None);
            }
            self.buffer.skip(4);
            return Ok(self.buffer.take(len));
        }
        Ok(None)
    }

    /// Checks that the body did not end within a chunk.
    ///
    /// # Errors
    /// [`SealedError::Truncated`].
    pub fn end(&self) -> Result<(), SealedError> {
        if self.buffer.is_empty() {
            Ok(())
        } else {
            Err(SealedError::Truncated { what: "chunk" })
        }
    }
}

fn framed(sealed: &[u8]) -> Result<Vec<u8>, SealedError> {
    let len = u32::try_from(sealed.len()).map_err(|_| SealedError::TooLong {
        what: "chunk",
        limit: u32::MAX as usize,
    })?;
    Ok([len.to_be_bytes().as_slice(), sealed].concat())
}

/// Seals a request's body.
pub struct RequestSealer {
    context: MessageContext,
}

impl RequestSealer {
    /// Begins: returns the header's value, and what the answer will be opened with.
    ///
    /// # Errors
    /// [`SealedError::Suite`] for a key of another KEM; [`SealedError::Backend`].
    pub fn begin(key: &MessagePublicKey) -> Result<(String, Self, PendingAnswer), SealedError> {
        if key.kem() != KEM {
            return Err(SealedError::Suite {
                what: "KEM",
                got: key.kem().id(),
            });
        }
        let (enc, context) = setup_sender(key, AEAD, INFO).map_err(SealedError::Backend)?;
        let header = hex::encode(&enc);
        let exported = export(&context, RESPONSE_LABEL, AEAD, enc)?;
        Ok((header, Self { context }, PendingAnswer { exported }))
    }

    /// Seals one chunk.
    ///
    /// # Errors
    /// [`SealedError::Backend`].
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<Vec<u8>, SealedError> {
        let mut data = Vec::with_capacity(bytes.len() + TAG_LEN);
        data.extend_from_slice(bytes);
        self.context
            .seal_in_place(b"", &mut data)
            .map_err(SealedError::Backend)?;
        framed(&data)
    }
}

/// Opens a request's body.
pub struct RequestOpener {
    reader: ChunkReader,
    context: MessageContext,
}

impl RequestOpener {
    /// Begins with the `enc` of the header.
    ///
    /// # Errors
    /// [`SealedError::Open`] for a point of small order.
    pub fn begin(key: &MessageKey, enc: &[u8; 32], limit: usize) -> Result<(Self, AnswerSealer), SealedError> {
        let context = setup_recipient(key, AEAD, enc, INFO).map_err(SealedError::opening("sealed body"))?;
        let exported = export(&context, RESPONSE_LABEL, AEAD, enc.to_vec())?;
        let reader = ChunkReader::new(limit);
        Ok((Self { reader, context }, AnswerSealer { exported }))
    }

    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
    }

    /// The next chunk; `None` until more bytes come.
    ///
    /// # Errors
    /// [`SealedError::Open`], [`SealedError::TooLong`], [`SealedError::Truncated`].
    pub fn next_chunk(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, SealedError> {
        let Some(sealed) = self.reader.next_sealed()? else {
            return Ok(None);
        };
        let mut bytes = Zeroizing::new(sealed);
        self.context
            .open_in_place(b"", &mut bytes)
            .map_err(SealedError::opening("chunk of a request"))?;
        Ok(Some(bytes))
    }

    /// Checks that the body did not end within a chunk.
    ///
    /// # Errors
    /// [`SealedError::Truncated`].
    pub fn end(&self) -> Result<(), SealedError> {
        self.reader.end()
    }
}

/// What the server keeps until its answer begins.
pub struct AnswerSealer {
    exported: Exported,
}

impl AnswerSealer {
    /// Begins: returns the header's value.
    ///
    /// # Errors
    /// [`SealedError::Backend`].
    pub fn begin(self) -> Result<(String, ChunkSealer), SealedError> {
        let nonce = self.exported.fresh_nonce()?;
        let keys = self.exported.keys(&nonce)?;
        Ok((hex::encode(nonce), ChunkSealer { keys }))
    }
}

/// Seals an answer's body.
pub struct ChunkSealer {
    keys: ResponseKeys,
}

impl ChunkSealer {
    /// Seals one chunk.
    ///
    /// # Errors
    /// [`SealedError::Backend`].
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<Vec<u8>, SealedError> {
        framed(&self.keys.seal(b"", bytes)?)
    }
}

/// What a client keeps until the answer begins; also what a recovery token holds.
pub struct PendingAnswer {
    exported: Exported,
}

impl PendingAnswer {
    /// Reads a session recovery token: `{"exportedSecret","requestEnc"}`, both 32 bytes in lower-case hex. It opens the
    /// answer, so it is as secret as the answer.
    ///
    /// # Errors
    /// [`SealedError::Config`] for another document.
    pub fn from_token(json: &[u8]) -> Result<Self, SealedError> {
        let wrong = || SealedError::Config {
            what: "session recovery token",
            expected: "exportedSecret and requestEnc, each 64 lower-case hex digits",
        };
        let document: Value = serde_json::from_slice(json).map_err(|_| wrong())?;
        let members = document.as_object().filter(|o| o.len() == 2).ok_or_else(wrong)?;
        let field = |name: &str| {
            let text = members.get(name).and_then(Value::as_str).ok_or_else(wrong)?;
            hex32("session recovery token", text).map_err(|_| wrong())
        };
        Ok(Self {
            exported: Exported {
                gcm: AEAD,
                secret: Zeroizing::new(field("exportedSecret")?.to_vec()),
                enc: field("requestEnc")?.to_vec(),
            },
        })
    }

    /// Writes a session recovery token.
    pub fn to_token(&self) -> Zeroizing<String> {
        let token = json!({
            "exportedSecret": hex::encode(self.exported.secret.as_slice()),
            "requestEnc": hex::encode(&self.exported.enc),
        });
        Zeroizing::new(token.to_string())
    }

    /// Begins to open the answer whose header says `nonce`; chunks of more than `limit` bytes are refused.
    ///
    /// # Errors
    /// [`SealedError::Header`], [`SealedError::Backend`].
    pub fn begin(self, nonce: &str, limit: usize) -> Result<AnswerOpener, SealedError> {
        let nonce = hex32(RESPONSE_NONCE_HEADER, nonce)?;
        Ok(AnswerOpener {
            reader: ChunkReader::new(limit),
            keys: self.exported.keys(&nonce)?,
        })
    }
}

/// Opens an answer's body.
pub struct AnswerOpener {
    reader: ChunkReader,
    keys: ResponseKeys,
}

impl AnswerOpener {
    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
    }

    /// The next chunk; `None` until more bytes come.
    ///
    /// # Errors
    /// [`SealedError::Open`], [`SealedError::TooLong`], [`SealedError::Truncated`].
    pub fn next_chunk(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, SealedError> {
        match self.reader.next_sealed()? {
            Some(sealed) => self.keys.open(b"", sealed).map(Some),
            None => Ok(None),
        }
    }

    /// Checks that the body did not end within a chunk.
    ///
    /// # Errors
    /// [`SealedError::Truncated`].
    pub fn end(&self) -> Result<(), SealedError> {
        self.reader.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `derive.json` of the protocol's own vectors: counting bytes in, key and base nonce out.
    #[test]
    fn the_answers_key_is_the_published_one() {
        let counting = |from: u8| (from..from + 32).collect::<Vec<u8>>();
        let exported = Exported {
            gcm: AEAD,
            secret: Zeroizing::new(counting(0)),
            enc: counting(0x20),
        };
        let (key, nonce) = exported.derive(&counting(0x40)).unwrap();
        assert_eq!(
            hex::encode(key.as_slice()),
            "40ec528847cd4e928449f2ed1a70a7d1e8ee317d5e900424fc1dd5b0475b97f7"
        );
        assert_eq!(hex::encode(nonce), "f8b0ce9466f27aa6243c65f9");
        let (other, _) = exported.derive(&counting(0x41)).unwrap();
        assert_ne!(key.as_slice(), other.as_slice());
    }
}
