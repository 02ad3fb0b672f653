//! Sealing under a passphrase: Argon2id (RFC 9106), then AES-256-GCM.
//!
//! # Layout
//! `{"ciphertext","header":{"cipher":"aes-256-gcm","lanes","memory_kib","nonce","passes","salt"}}`; binary members are hex.
//! Key = Argon2id v1.3 (32 bytes) of the passphrase; AAD = length of the header (u32, big endian), JCS of the header, then
//! what the surrounding document adds. The parameters are bounded before any memory is taken.

use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use hanzo_attestation::jcs;
use hanzo_pqc::{aead, random};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::RootError;
use crate::document::{bytes, some_bytes};

const CIPHER: &str = "aes-256-gcm";
const PASSPHRASE_BYTES_MIN: usize = 12;
const SECRET_BYTES_MAX: usize = 64;

/// What one guess costs. The stored values are authenticated and bounded when read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Memory in KiB: 19,456 (19 MiB) to 1,048,576 (1 GiB).
    pub memory_kib: u32,
    /// Passes over it: 2 to 16.
    pub passes: u32,
    /// Lanes: 1 to 16.
    pub lanes: u32,
}

impl Default for Cost {
    /// RFC 9106's second recommended option: 64 MiB, 3 passes, 4 lanes.
    fn default() -> Self {
        Self {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 4,
        }
    }
}

impl Cost {
    fn check(&self, what: &str) -> Result<(), RootError> {
        for (field, range, expected, got) in [
            ("memory_kib", 19_456..=1_048_576, "19456 to 1048576", self.memory_kib),
            ("passes", 2..=16, "2 to 16", self.passes),
            ("lanes", 1..=16, "1 to 16", self.lanes),
        ] {
            if !range.contains(&got) {
                return Err(RootError::Range {
                    what: what.into(),
                    field,
                    expected,
                    got: got.into(),
                });
            }
        }
        Ok(())
    }

    fn key(&self, passphrase: &[u8], salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, RootError> {
        let failed = |_| hanzo_pqc::PqcError::Backend { what: "Argon2id" };
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(failed)?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase, salt, key.as_mut())
            .map_err(failed)?;
        Ok(key)
    }
}

/// A secret under a passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Locked {
    ciphertext: String,
    header: Header,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    cipher: String,
    lanes: u32,
    memory_kib: u32,
    nonce: String,
    passes: u32,
    salt: String,
}

impl Header {
    fn aad(&self, context: &[u8]) -> Result<Vec<u8>, RootError> {
        let header = jcs::to_vec("header", self)?;
        let mut aad = (header.len() as u32).to_be_bytes().to_vec();
        aad.extend_from_slice(&header);
        aad.extend_from_slice(context);
        Ok(aad)
    }
}

impl Locked {
    pub(crate) fn lock(cost: Cost, passphrase: &[u8], context: &[u8], secret: &[u8]) -> Result<Self, RootError> {
        cost.check("passphrase cost")?;
        if passphrase.len() < PASSPHRASE_BYTES_MIN {
            return Err(RootError::PassphraseLength {
                least: PASSPHRASE_BYTES_MIN,
                got: passphrase.len(),
            });
        }
        let (mut salt, mut nonce) = ([0; 16], [0; aead::NONCE_LEN]);
        random::fill(&mut salt)?;
        random::fill(&mut nonce)?;
        let header = Header {
            cipher: CIPHER.into(),
            lanes: cost.lanes,
            memory_kib: cost.memory_kib,
            nonce: hex::encode(nonce),
            passes: cost.passes,
            salt: hex::encode(salt),
        };
        let key = cost.key(passphrase, &salt)?;
        let mut body = Zeroizing::new(Vec::with_capacity(secret.len() + aead::TAG_LEN));
        body.extend_from_slice(secret);
        aead::seal_in_place(&key, &nonce, &header.aad(context)?, &mut body)?;
        Ok(Self {
            ciphertext: hex::encode(body.as_slice()),
            header,
        })
    }

    pub(crate) fn unlock(
        &self,
        path: &Path,
        passphrase: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, RootError> {
        let header = &self.header;
        let cost = Cost {
            memory_kib: header.memory_kib,
            passes: header.passes,
            lanes: header.lanes,
        };
        cost.check(&path.display().to_string())?;
        if header.cipher != CIPHER {
            return Err(RootError::Format {
                path: path.to_owned(),
                expected: CIPHER,
            });
        }
        let salt: [u8; 16] = bytes(path, "salt", &header.salt)?;
        let nonce = bytes(path, "nonce", &header.nonce)?;
        let body = some_bytes(path, "ciphertext", &self.ciphertext, SECRET_BYTES_MAX + aead::TAG_LEN)?;
        let mut secret = Zeroizing::new(body);
        let key = cost.key(passphrase, &salt)?;
        aead::open_in_place(&key, &nonce, &header.aad(context)?, &mut secret)
            .map_err(|_| RootError::Passphrase { path: path.to_owned() })?;
        Ok(secret)
    }
}
