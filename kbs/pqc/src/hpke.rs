//! HPKE base mode (RFC 9180), single shot, over two hybrid KEMs: what wraps data keys and proves channels.
//!
//! | suite | KEM | KDF | AEAD |
//! |---|---|---|---|
//! | [`KemSuite::Xwing`] | 0x647a ML-KEM-768 + X25519 | 0x0001 HKDF-SHA256 | 0x0002 AES-256-GCM |
//! | [`KemSuite::MlKem1024P384`] | 0x0051 ML-KEM-1024 + P-384 | 0x0002 HKDF-SHA384 | 0x0002 AES-256-GCM |
//!
//! AWS-LC does the work; the bytes are those of crate `hpke`, which the tests use as oracle. Base mode authenticates
//! nobody: anyone who knows a public key can seal to it, so what was opened counts only with a signature beside it.

mod hybrid;
#[cfg(test)]
mod kat;
mod keys;
pub mod message;
mod schedule;

use zeroize::Zeroizing;

pub use keys::{PrivateKey, PublicKey};
use schedule::{Context, Ids, export_once};

use crate::{Domain, PqcError};

/// The closed list of HPKE suites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KemSuite {
    /// X-Wing (0x647a), HKDF-SHA256, AES-256-GCM: tiers 0 to 2 and channel proofs.
    Xwing,
    /// MLKEM1024-P384 (0x0051), HKDF-SHA384, AES-256-GCM: tiers 3 and 4.
    MlKem1024P384,
}

impl KemSuite {
    /// Every suite.
    pub const ALL: [KemSuite; 2] = [KemSuite::Xwing, KemSuite::MlKem1024P384];

    /// The name in formats.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xwing => "x-wing",
            Self::MlKem1024P384 => "mlkem1024-p384",
        }
    }

    /// The suite of that exact name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name() == name)
    }

    /// The KEM's number in the IANA HPKE registry.
    pub const fn kem_id(self) -> u16 {
        match self {
            Self::Xwing => 0x647a,
            Self::MlKem1024P384 => 0x0051,
        }
    }

    /// Length of a public key in bytes.
    pub const fn public_key_len(self) -> usize {
        match self {
            Self::Xwing => 1216,
            Self::MlKem1024P384 => 1665,
        }
    }

    /// Length of an encapsulation (`enc`) in bytes.
    pub const fn enc_len(self) -> usize {
        match self {
            Self::Xwing => 1120,
            Self::MlKem1024P384 => 1665,
        }
    }
}

/// A message sealed to a public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The encapsulation.
    pub enc: Vec<u8>,
    /// Ciphertext, followed by the 16-byte tag.
    pub ciphertext: Vec<u8>,
}

/// Seals `plaintext` to `key` (SetupBaseS, then Seal with sequence number 0).
///
/// # Errors
/// [`PqcError::LowOrder`] if the public key holds a point of small order; [`PqcError::Backend`].
pub fn seal(key: &PublicKey, info: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Sealed, PqcError> {
    let (enc, context) = setup_sender(key, info)?;
    let mut ciphertext = Vec::with_capacity(plaintext.len() + crate::aead::TAG_LEN);
    ciphertext.extend_from_slice(plaintext);
    context.seal_in_place(0, aad, &mut ciphertext)?;
    Ok(Sealed { enc, ciphertext })
}

/// Opens what [`seal`] made (SetupBaseR, then Open with sequence number 0).
///
/// # Establishes
/// Someone who knew the public key sealed exactly this, with exactly this `info` and `aad`. Not who.
///
/// # Errors
/// [`PqcError::Length`], [`PqcError::Encoding`] or [`PqcError::LowOrder`] for a malformed `enc`; [`PqcError::Open`] if
/// anything differs from what was sealed.
pub fn open(
    key: &PrivateKey,
    enc: &[u8],
    info: &[u8],
    aad: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, PqcError> {
    let context = setup_recipient(key, enc, info)?;
    let mut plaintext = Zeroizing::new(ciphertext.to_vec());
    context.open_in_place(0, aad, &mut plaintext)?;
    Ok(plaintext)
}

/// The sender's half of a secret both sides can export (SetupBaseS, then Export): returns `enc` and the secret.
///
/// # Errors
/// As [`seal`]; [`PqcError::OutputTooLong`] above 255 hash lengths.
pub fn export_sender(
    key: &PublicKey,
    info: &[u8],
    exporter_context: &[u8],
    len: usize,
) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), PqcError> {
    let (enc, secret) = key.encapsulate()?;
    let exported = export_once(Ids::of(key.suite()), &secret, info, exporter_context, len)?;
    Ok((enc, exported))
}

/// The recipient's half of [`export_sender`]. Compare exported secrets in constant time.
///
/// # Errors
/// As [`open`] for `enc`; [`PqcError::OutputTooLong`] above 255 hash lengths.
pub fn export_recipient(
    key: &PrivateKey,
    enc: &[u8],
    info: &[u8],
    exporter_context: &[u8],
    len: usize,
) -> Result<Zeroizing<Vec<u8>>, PqcError> {
    let secret = key.decapsulate(enc)?;
    export_once(Ids::of(key.suite()), &secret, info, exporter_context, len)
}

/// Encodes an HPKE `info` without ambiguity: the domain, the suite's name and each part, every one preceded by its
/// length as a big-endian u32.
pub fn info(domain: Domain, suite: KemSuite, parts: &[&[u8]]) -> Vec<u8> {
    let head = [domain.as_str().as_bytes(), suite.name().as_bytes()];
    let mut out = Vec::new();
    for part in head.iter().chain(parts) {
        // Parts are names and digests; one of 4 GiB cannot be held, let alone be mistaken for a shorter one.
        out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

fn setup_sender(key: &PublicKey, info: &[u8]) -> Result<(Vec<u8>, Context), PqcError> {
    let (enc, secret) = key.encapsulate()?;
    Ok((enc, Context::new(Ids::of(key.suite()), &secret, info)?))
}

fn setup_recipient(key: &PrivateKey, enc: &[u8], info: &[u8]) -> Result<Context, PqcError> {
    let secret = key.decapsulate(enc)?;
    Context::new(Ids::of(key.suite()), &secret, info)
}
