//! AES-GCM of either key length (SP 800-38D), for sealed messages: their suites name the length on the wire.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroize;

use crate::PqcError;
use crate::aead::{NONCE_LEN, TAG_LEN};

/// The closed list of AEADs that messages are sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gcm {
    /// AES-128-GCM, 0x0001.
    Aes128,
    /// AES-256-GCM, 0x0002.
    Aes256,
}

impl Gcm {
    /// Every AEAD.
    pub const ALL: [Gcm; 2] = [Gcm::Aes128, Gcm::Aes256];

    /// The number in the IANA HPKE registry.
    pub const fn id(self) -> u16 {
        match self {
            Self::Aes128 => 0x0001,
            Self::Aes256 => 0x0002,
        }
    }

    /// The AEAD of that number.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|aead| aead.id() == id)
    }

    /// The name in formats.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128 => "aes-128-gcm",
            Self::Aes256 => "aes-256-gcm",
        }
    }

    /// The AEAD of that exact name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|aead| aead.name() == name)
    }

    /// Length of a key in bytes (Nk).
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }
}

/// A key made ready for many parts. A nonce is used once per key; that is the caller's duty.
///
/// ```compile_fail,E0277
/// fn wants_debug<T: std::fmt::Debug>() {}
/// wants_debug::<hanzo_pqc::gcm::GcmKey>();
/// ```
pub struct GcmKey(LessSafeKey);

impl GcmKey {
    /// Expands a key.
    ///
    /// # Errors
    /// [`PqcError::Length`] for a key of another length; [`PqcError::Backend`] if memory runs out.
    pub fn new(aead: Gcm, key: &[u8]) -> Result<Self, PqcError> {
        crate::error::length("AES-GCM key", aead.key_len(), key.len())?;
        let algorithm = match aead {
            Gcm::Aes128 => &AES_128_GCM,
            Gcm::Aes256 => &AES_256_GCM,
        };
        match UnboundKey::new(algorithm, key) {
            Ok(key) => Ok(Self(LessSafeKey::new(key))),
            Err(_) => Err(PqcError::Backend { what: "AES-GCM key" }),
        }
    }

    /// Encrypts `data` where it stands and appends the 16-byte tag.
    ///
    /// # Errors
    /// [`PqcError::Backend`] for parts beyond 2^36 - 32 bytes; `data` is then wiped.
    pub fn seal_in_place(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut Vec<u8>) -> Result<(), PqcError> {
        if data.capacity() - data.len() < TAG_LEN {
            let mut grown = Vec::with_capacity(data.len() + TAG_LEN);
            grown.extend_from_slice(data);
            data.zeroize();
            *data = grown;
        }
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let sealed = self.0.seal_in_place_append_tag(nonce, Aad::from(aad), data);
        sealed.map_err(|_| {
            data.zeroize();
            PqcError::Backend { what: "AES-GCM seal" }
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
                Err(PqcError::Open { what: "AES-GCM" })
            }
        }
    }
}

/// The nonce of part `counter`: `base` XOR the number, big-endian and right-aligned (RFC 9180 section 5.2).
pub fn nonce_of(base: &[u8; NONCE_LEN], counter: u64) -> [u8; NONCE_LEN] {
    let mut nonce = *base;
    for (out, n) in nonce.iter_mut().rev().zip(counter.to_be_bytes().into_iter().rev()) {
        *out ^= n;
    }
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_sealed_under_their_own_nonce_and_key_length() {
        for aead in Gcm::ALL {
            assert_eq!(Gcm::from_id(aead.id()), Some(aead));
            assert_eq!(Gcm::from_name(aead.name()), Some(aead));
            let key = GcmKey::new(aead, &vec![7; aead.key_len()]).unwrap();
            let nonce = nonce_of(&[1; 12], 5);
            let mut data = b"part".to_vec();
            key.seal_in_place(&nonce, b"final", &mut data).unwrap();
            for (counter, aad) in [(4, b"final".as_slice()), (5, b"")] {
                let mut copy = data.clone();
                let refused = key
                    .open_in_place(&nonce_of(&[1; 12], counter), aad, &mut copy)
                    .unwrap_err();
                assert_eq!((refused.code(), copy.len()), ("pqc.open", 0));
            }
            key.open_in_place(&nonce, b"final", &mut data).unwrap();
            assert_eq!(data, b"part");
            let short = GcmKey::new(aead, &[7; 24]).err().unwrap();
            assert_eq!(short.code(), "pqc.length");
        }
        // ChaCha20-Poly1305 is no suite of ours.
        assert_eq!(Gcm::from_id(0x0003), None);
        assert_eq!(nonce_of(&[0; 12], 0x0102)[10..], [1, 2]);
    }
}
