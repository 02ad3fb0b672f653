//! AES-256-GCM with explicit nonces (SP 800-38D). A nonce is used once per key; that is the caller's duty: packs take
//! the chunk index, HPKE its sequence number.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroize;

use crate::PqcError;

/// Key length in bytes.
pub const KEY_LEN: usize = 32;
/// Nonce length in bytes.
pub const NONCE_LEN: usize = 12;
/// Length of the tag that sealing appends.
pub const TAG_LEN: usize = 16;

/// A key made ready for many messages.
///
/// ```compile_fail,E0277
/// fn wants_debug<T: std::fmt::Debug>() {}
/// wants_debug::<hanzo_pqc::aead::Aes256Gcm>();
/// ```
pub struct Aes256Gcm(LessSafeKey);

impl Aes256Gcm {
    /// Expands a key.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if memory runs out.
    pub fn new(key: &[u8; KEY_LEN]) -> Result<Self, PqcError> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| PqcError::Backend {
            what: "AES-256-GCM key",
        })?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Encrypts `data` where it stands and appends the 16-byte tag. If the vector has to grow, the old allocation is
    /// wiped first.
    ///
    /// # Errors
    /// [`PqcError::Backend`] for messages beyond 2^36 - 32 bytes; `data` is then wiped.
    pub fn seal_in_place(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut Vec<u8>) -> Result<(), PqcError> {
        if data.capacity() - data.len() < TAG_LEN {
            let mut grown = Vec::with_capacity(data.len() + TAG_LEN);
            grown.extend_from_slice(data);
            data.zeroize();
            *data = grown;
        }
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .seal_in_place_append_tag(nonce, Aad::from(aad), data)
            .map_err(|_| {
                data.zeroize();
                PqcError::Backend {
                    what: "AES-256-GCM seal",
                }
            })
    }

    /// Checks the tag, decrypts `data` where it stands and cuts the tag off.
    ///
    /// # Errors
    /// [`PqcError::Open`] if anything differs from what was sealed; `data` is then wiped and empty.
    pub fn open_in_place(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut Vec<u8>) -> Result<(), PqcError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(aad), data)
            .map(|plaintext| plaintext.len());
        match opened {
            Ok(len) => {
                data.truncate(len);
                Ok(())
            }
            Err(_) => {
                data.zeroize();
                Err(PqcError::Open { what: "AES-256-GCM" })
            }
        }
    }
}

/// [`Aes256Gcm::seal_in_place`] for a key used once.
///
/// # Errors
/// As there.
pub fn seal_in_place(
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    data: &mut Vec<u8>,
) -> Result<(), PqcError> {
    Aes256Gcm::new(key)?.seal_in_place(nonce, aad, data)
}

/// [`Aes256Gcm::open_in_place`] for a key used once.
///
/// # Errors
/// As there.
pub fn open_in_place(
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    data: &mut Vec<u8>,
) -> Result<(), PqcError> {
    Aes256Gcm::new(key)?.open_in_place(nonce, aad, data)
}
