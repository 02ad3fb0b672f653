//! ML-DSA keys of the three parameter sets, from 32-byte seeds; what is signed is `SHA-256(domain string) || message`.

use std::fmt;

use aws_lc_rs::digest;
use hanzo_pqc::dsa::{MlDsa44, MlDsa65, MlDsa87, ParameterSet, SEED_LEN, SigningKey, VerifyingKey};
use hanzo_pqc::{PqcError, random};
use zeroize::Zeroizing;

use crate::codec::sha256;

/// Which parameter set of FIPS 204.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum SecurityLevel {
    /// ML-DSA-44, category 2.
    MlDsa44,
    /// ML-DSA-65, category 3. What the chain's validators and miners use.
    #[default]
    MlDsa65,
    /// ML-DSA-87, category 5.
    MlDsa87,
}

impl SecurityLevel {
    /// Every level.
    pub const ALL: [Self; 3] = [Self::MlDsa44, Self::MlDsa65, Self::MlDsa87];

    /// Name as FIPS 204 writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MlDsa44 => MlDsa44::NAME,
            Self::MlDsa65 => MlDsa65::NAME,
            Self::MlDsa87 => MlDsa87::NAME,
        }
    }

    /// The level of that exact name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// The byte that stands for it in formats: 44, 65 or 87.
    pub const fn tag(self) -> u8 {
        match self {
            Self::MlDsa44 => 44,
            Self::MlDsa65 => 65,
            Self::MlDsa87 => 87,
        }
    }

    /// The level of that tag.
    pub fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.tag() == tag)
    }

    /// Length of a public key in bytes.
    pub const fn public_key_len(self) -> usize {
        match self {
            Self::MlDsa44 => MlDsa44::PUBLIC_KEY_LEN,
            Self::MlDsa65 => MlDsa65::PUBLIC_KEY_LEN,
            Self::MlDsa87 => MlDsa87::PUBLIC_KEY_LEN,
        }
    }

    /// Length of a signature in bytes.
    pub const fn signature_len(self) -> usize {
        match self {
            Self::MlDsa44 => MlDsa44::SIGNATURE_LEN,
            Self::MlDsa65 => MlDsa65::SIGNATURE_LEN,
            Self::MlDsa87 => MlDsa87::SIGNATURE_LEN,
        }
    }
}

impl fmt::Display for SecurityLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What both algorithms and verifiers hash: the domain's digest before the message, with the empty ML-DSA context.
pub(crate) fn signed_bytes(domain: &str, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32 + message.len());
    bytes.extend_from_slice(&sha256(&[domain.as_bytes()]));
    bytes.extend_from_slice(message);
    bytes
}

enum Expanded {
    MlDsa44(SigningKey<MlDsa44>),
    MlDsa65(SigningKey<MlDsa65>),
    MlDsa87(SigningKey<MlDsa87>),
}

/// A private key. Neither `Clone` nor `Debug`; wiped when dropped. What it signs is decided by [`crate::Signer`] and
/// [`crate::MiningWallet`] alone.
///
/// ```compile_fail,E0277
/// fn wants_clone<T: Clone>() {}
/// wants_clone::<hanzo_signer::SignerKey>();
/// ```
/// ```compile_fail,E0624
/// fn raw(key: &hanzo_signer::SignerKey) {
///     let _ = key.sign("a domain", b"bytes");
/// }
/// ```
pub struct SignerKey {
    expanded: Expanded,
    public: PublicKey,
}

impl SignerKey {
    /// Draws a key.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if the random generator fails.
    pub fn generate(level: SecurityLevel) -> Result<Self, PqcError> {
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        random::fill(seed.as_mut_slice())?;
        Self::from_seed(level, &seed)
    }

    /// Expands the 32-byte seed xi of FIPS 204.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if memory runs out.
    pub fn from_seed(level: SecurityLevel, seed: &[u8; SEED_LEN]) -> Result<Self, PqcError> {
        let (expanded, bytes) = match level {
            SecurityLevel::MlDsa44 => {
                let key = SigningKey::from_seed(seed)?;
                let bytes = key.verifying_key().as_bytes().to_vec();
                (Expanded::MlDsa44(key), bytes)
            }
            SecurityLevel::MlDsa65 => {
                let key = SigningKey::from_seed(seed)?;
                let bytes = key.verifying_key().as_bytes().to_vec();
                (Expanded::MlDsa65(key), bytes)
            }
            SecurityLevel::MlDsa87 => {
                let key = SigningKey::from_seed(seed)?;
                let bytes = key.verifying_key().as_bytes().to_vec();
                (Expanded::MlDsa87(key), bytes)
            }
        };
        let public = PublicKey { level, bytes };
        Ok(Self { expanded, public })
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn sign(&self, domain: &str, message: &[u8]) -> Result<Vec<u8>, PqcError> {
        let bytes = signed_bytes(domain, message);
        match &self.expanded {
            Expanded::MlDsa44(key) => key.sign(&bytes),
            Expanded::MlDsa65(key) => key.sign(&bytes),
            Expanded::MlDsa87(key) => key.sign(&bytes),
        }
    }
}

/// A public key with its parameter set.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey {
    level: SecurityLevel,
    bytes: Vec<u8>,
}

impl PublicKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// [`PqcError::Length`].
    pub fn from_bytes(level: SecurityLevel, bytes: &[u8]) -> Result<Self, PqcError> {
        if bytes.len() != level.public_key_len() {
            return Err(PqcError::Length {
                what: level.name(),
                expected: level.public_key_len(),
                got: bytes.len(),
            });
        }
        let bytes = bytes.to_vec();
        Ok(Self { level, bytes })
    }

    /// The parameter set.
    pub fn level(&self) -> SecurityLevel {
        self.level
    }

    /// The encoded key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 over the level's tag and the key.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&[&[self.level.tag()], &self.bytes])
    }

    /// SHA-384 over the level's tag and the key, 48 bytes: the `pubkey` of EIP-3076 files.
    pub fn interchange_id(&self) -> [u8; 48] {
        let mut context = digest::Context::new(&digest::SHA384);
        context.update(&[self.level.tag()]);
        context.update(&self.bytes);
        let mut out = [0; 48];
        out.copy_from_slice(context.finish().as_ref());
        out
    }

    pub(crate) fn verify(&self, domain: &str, message: &[u8], signature: &[u8]) -> Result<(), PqcError> {
        let bytes = signed_bytes(domain, message);
        match self.level {
            SecurityLevel::MlDsa44 => VerifyingKey::<MlDsa44>::from_bytes(&self.bytes)?.verify(&bytes, signature),
            SecurityLevel::MlDsa65 => VerifyingKey::<MlDsa65>::from_bytes(&self.bytes)?.verify(&bytes, signature),
            SecurityLevel::MlDsa87 => VerifyingKey::<MlDsa87>::from_bytes(&self.bytes)?.verify(&bytes, signature),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey<{}>({})", self.level, hex::encode(self.digest()))
    }
}
