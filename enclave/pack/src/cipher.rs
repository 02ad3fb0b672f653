//! The pack key and how it seals one chunk.
//!
//! pack key = HKDF-SHA-384(ikm = DEK, salt = the header's 32 random bytes, info = SHA-384(header)). AES-256-GCM with
//! nonce = chunk index (12 bytes, big-endian) and associated data of two bytes: kind (0 table, 1 data) and 1 for the
//! last chunk of the pack, else 0. The tag (16 bytes) follows the ciphertext.

use hanzo_attestation::Digest384;
use hanzo_pqc::aead::Aes256Gcm;
use hanzo_pqc::{Dek, kdf};
use zeroize::Zeroizing;

use crate::error::PackError;
use crate::header::Header;

/// Bytes that sealing adds to a chunk.
pub(crate) const TAG_BYTES: usize = hanzo_pqc::aead::TAG_LEN;

/// What a chunk holds, and whether another follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) index: u64,
    pub(crate) table: bool,
    pub(crate) last: bool,
}

impl Place {
    fn nonce(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        for (to, from) in bytes.iter_mut().skip(4).zip(self.index.to_be_bytes()) {
            *to = from;
        }
        bytes
    }

    fn aad(self) -> [u8; 2] {
        [u8::from(!self.table), u8::from(self.last)]
    }
}

pub(crate) struct PackCipher(Aes256Gcm);

impl PackCipher {
    pub(crate) fn derive(dek: &Dek, header: &Header) -> Result<Self, PackError> {
        let info = Digest384::of(&header.encode());
        let mut key = Zeroizing::new([0; 32]);
        kdf::hkdf_sha384(&header.salt, dek.expose(), info.as_bytes(), key.as_mut_slice())
            .and_then(|()| Aes256Gcm::new(&key))
            .map(Self)
            .map_err(|_| PackError::Cipher {
                what: "to derive the pack key",
            })
    }

    /// Seals `chunk` in place and appends the tag.
    pub(crate) fn seal(&self, place: Place, chunk: &mut Vec<u8>) -> Result<(), PackError> {
        self.0
            .seal_in_place(&place.nonce(), &place.aad(), chunk)
            .map_err(|_| PackError::Cipher { what: "to seal" })
    }

    /// Opens ciphertext and tag in place; `None`, and `chunk` wiped, if it does not authenticate at `place`.
    pub(crate) fn open<'a>(&self, place: Place, chunk: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        self.0.open_in_place(&place.nonce(), &place.aad(), chunk).ok()?;
        Some(chunk)
    }
}
