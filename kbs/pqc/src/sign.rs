//! Signatures of our own formats: ML-DSA and Ed25519 side by side, both of which must verify.
//!
//! What is signed is `SHA-256(domain string) || message`, with the empty ML-DSA context, so that one key can sign
//! several formats and none of them is mistaken for another. Ids hash messages, never signatures: ML-DSA signing is
//! hedged, two signatures of one message differ.

mod foreign;
mod note;

use std::fmt;

pub use foreign::ForeignSigningKey;
pub use note::{NoteSignature, NoteSigningKeys, NoteVerifyingKeys, WitnessVerifyingKey};

use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair, ML_DSA_65, ML_DSA_65_SIGNING, ML_DSA_87, ML_DSA_87_SIGNING, PqdsaKeyPair,
    PqdsaSigningAlgorithm, PqdsaVerificationAlgorithm, VerificationAlgorithm,
};
use zeroize::Zeroizing;

use crate::dsa::{MlDsa65, MlDsa87, ParameterSet};
use crate::error::length;
use crate::{Domain, PqcError, SignatureHalf, ed25519, random, text};

/// Length of the seed of [`SigningKeys`]: 32 bytes ML-DSA xi, then 32 bytes Ed25519 seed.
pub const SEED_LEN: usize = 64;

/// The closed list of signature suites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureSuite {
    /// ML-DSA-65 and Ed25519: tiers 0 to 2.
    MlDsa65Ed25519,
    /// ML-DSA-87 and Ed25519: tiers 3 and 4.
    MlDsa87Ed25519,
}

impl SignatureSuite {
    /// Every suite.
    pub const ALL: [SignatureSuite; 2] = [SignatureSuite::MlDsa65Ed25519, SignatureSuite::MlDsa87Ed25519];

    /// The name in formats: that of the ML-DSA set, since Ed25519 is in every suite.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MlDsa65Ed25519 => "ml-dsa-65",
            Self::MlDsa87Ed25519 => "ml-dsa-87",
        }
    }

    /// The suite of that exact name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name() == name)
    }

    /// Length of the ML-DSA public key in bytes.
    pub const fn ml_dsa_public_key_len(self) -> usize {
        match self {
            Self::MlDsa65Ed25519 => MlDsa65::PUBLIC_KEY_LEN,
            Self::MlDsa87Ed25519 => MlDsa87::PUBLIC_KEY_LEN,
        }
    }

    /// Length of the ML-DSA signature in bytes.
    pub const fn ml_dsa_signature_len(self) -> usize {
        match self {
            Self::MlDsa65Ed25519 => MlDsa65::SIGNATURE_LEN,
            Self::MlDsa87Ed25519 => MlDsa87::SIGNATURE_LEN,
        }
    }

    fn signing(self) -> &'static PqdsaSigningAlgorithm {
        match self {
            Self::MlDsa65Ed25519 => &ML_DSA_65_SIGNING,
            Self::MlDsa87Ed25519 => &ML_DSA_87_SIGNING,
        }
    }

    fn verification(self) -> &'static PqdsaVerificationAlgorithm {
        match self {
            Self::MlDsa65Ed25519 => &ML_DSA_65,
            Self::MlDsa87Ed25519 => &ML_DSA_87,
        }
    }
}

/// Both private keys of one signer, held by AWS-LC, which wipes them when dropped.
///
/// ```compile_fail,E0277
/// fn wants_clone<T: Clone>() {}
/// wants_clone::<hanzo_pqc::sign::SigningKeys>();
/// ```
/// ```compile_fail,E0277
/// fn wants_debug<T: std::fmt::Debug>() {}
/// wants_debug::<hanzo_pqc::sign::SigningKeys>();
/// ```
pub struct SigningKeys {
    ml_dsa: PqdsaKeyPair,
    ed25519: Ed25519KeyPair,
    public: VerifyingKeys,
}

impl SigningKeys {
    /// Draws new keys.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if the random generator fails.
    pub fn generate(suite: SignatureSuite) -> Result<Self, PqcError> {
        let mut seed = Zeroizing::new([0u8; SEED_LEN]);
        random::fill(seed.as_mut_slice())?;
        Self::from_seed(suite, &seed)
    }

    /// Derives the keys from a seed.
    ///
    /// # Layout
    /// 32 bytes ML-DSA xi (FIPS 204 section 5.1), then the 32-byte Ed25519 private key (RFC 8032).
    ///
    /// # Errors
    /// [`PqcError::Backend`] if memory runs out.
    pub fn from_seed(suite: SignatureSuite, seed: &[u8; SEED_LEN]) -> Result<Self, PqcError> {
        let failed = || PqcError::Backend {
            what: "signing key derivation",
        };
        let (xi, ed25519_seed) = seed.split_at_checked(crate::dsa::SEED_LEN).ok_or_else(failed)?;
        length("Ed25519 seed", ed25519::SEED_LEN, ed25519_seed.len())?;
        let ml_dsa = PqdsaKeyPair::from_seed(suite.signing(), xi).map_err(|_| failed())?;
        let ed25519 = Ed25519KeyPair::from_seed_unchecked(ed25519_seed).map_err(|_| failed())?;
        let public = VerifyingKeys {
            suite,
            ml_dsa: ml_dsa.public_key().as_ref().to_vec(),
            ed25519: ed25519.public_key().as_ref().try_into().map_err(|_| failed())?,
        };
        Ok(Self {
            ml_dsa,
            ed25519,
            public,
        })
    }

    /// The suite.
    pub fn suite(&self) -> SignatureSuite {
        self.public.suite
    }

    /// The public halves.
    pub fn verifying_keys(&self) -> &VerifyingKeys {
        &self.public
    }

    /// Signs `message` under `domain` with both keys; the ML-DSA half is hedged.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if the random generator fails.
    pub fn sign(&self, domain: Domain, message: &[u8]) -> Result<Signature, PqcError> {
        let failed = || PqcError::Backend { what: "signing" };
        let bytes = domain.signed_bytes(message);
        let mut ml_dsa = vec![0u8; self.suite().ml_dsa_signature_len()];
        let written = self.ml_dsa.sign(&bytes, &mut ml_dsa).map_err(|_| failed())?;
        length("ML-DSA signature", ml_dsa.len(), written)?;
        let ed25519 = self.ed25519.try_sign(&bytes).map_err(|_| failed())?;
        Ok(Signature {
            ml_dsa,
            ed25519: ed25519.as_ref().try_into().map_err(|_| failed())?,
        })
    }
}

/// Both public keys of one signer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VerifyingKeys {
    suite: SignatureSuite,
    ml_dsa: Vec<u8>,
    ed25519: [u8; ed25519::PUBLIC_KEY_LEN],
}

impl VerifyingKeys {
    /// Reads both keys from lower-case hex.
    ///
    /// # Errors
    /// [`PqcError::Length`], [`PqcError::Hex`]; [`PqcError::Encoding`] or [`PqcError::LowOrder`] for an Ed25519 key
    /// that is not canonical or has small order.
    pub fn from_hex(suite: SignatureSuite, ml_dsa: &str, ed25519: &str) -> Result<Self, PqcError> {
        let ml_dsa = text::decode("ML-DSA public key", suite.ml_dsa_public_key_len(), ml_dsa)?;
        let ed25519 = text::decode("Ed25519 public key", ed25519::PUBLIC_KEY_LEN, ed25519)?;
        Ok(Self {
            suite,
            ml_dsa,
            ed25519: ed25519::check_public_key(&ed25519)?,
        })
    }

    /// The suite.
    pub fn suite(&self) -> SignatureSuite {
        self.suite
    }

    /// The ML-DSA public key, lower-case hex.
    pub fn ml_dsa_hex(&self) -> String {
        text::encode(&self.ml_dsa)
    }

    /// The Ed25519 public key, lower-case hex.
    pub fn ed25519_hex(&self) -> String {
        hex::encode(self.ed25519)
    }

    /// Checks both halves of a signature; one that fails does not keep the other from being looked at.
    ///
    /// # Establishes
    /// The holder of both private keys signed exactly `message`, for `domain`.
    ///
    /// # Does not establish
    /// When it was signed, or that it is the only signature over this message.
    ///
    /// # Errors
    /// [`PqcError::Length`] if the ML-DSA half belongs to another suite; [`PqcError::Signature`] names the half that
    /// failed.
    pub fn verify(&self, domain: Domain, message: &[u8], signature: &Signature) -> Result<(), PqcError> {
        length(
            "ML-DSA signature",
            self.suite.ml_dsa_signature_len(),
            signature.ml_dsa.len(),
        )?;
        let bytes = domain.signed_bytes(message);
        let ml_dsa = self
            .suite
            .verification()
            .verify_sig(&self.ml_dsa, &bytes, &signature.ml_dsa);
        let ed25519 = ED25519.verify_sig(&self.ed25519, &bytes, &signature.ed25519);
        let half = match (ml_dsa, ed25519) {
            (Ok(()), Ok(())) => return Ok(()),
            (Err(_), Ok(())) => SignatureHalf::MlDsa,
            (Ok(()), Err(_)) => SignatureHalf::Ed25519,
            (Err(_), Err(_)) => SignatureHalf::Both,
        };
        Err(PqcError::Signature {
            half,
            domain: domain.as_str(),
        })
    }
}

impl fmt::Debug for VerifyingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKeys")
            .field("suite", &self.suite.name())
            .field("ml_dsa", &self.ml_dsa_hex())
            .field("ed25519", &self.ed25519_hex())
            .finish()
    }
}

/// Both signatures over one message.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    ml_dsa: Vec<u8>,
    ed25519: [u8; ed25519::SIGNATURE_LEN],
}

impl Signature {
    /// Reads both halves from lower-case hex. The ML-DSA half must have the length of one of the suites; which one is
    /// right, the verifying key knows.
    ///
    /// # Errors
    /// [`PqcError::Length`], [`PqcError::Hex`].
    pub fn from_hex(ml_dsa: &str, ed25519: &str) -> Result<Self, PqcError> {
        let len = SignatureSuite::ALL
            .into_iter()
            .map(SignatureSuite::ml_dsa_signature_len)
            .find(|len| 2 * len == ml_dsa.len())
            .unwrap_or(MlDsa65::SIGNATURE_LEN);
        let ml_dsa = text::decode("ML-DSA signature", len, ml_dsa)?;
        let half = text::decode("Ed25519 signature", ed25519::SIGNATURE_LEN, ed25519)?;
        let ed25519 = half.as_slice().try_into().map_err(|_| PqcError::Length {
            what: "Ed25519 signature",
            expected: ed25519::SIGNATURE_LEN,
            got: half.len(),
        })?;
        Ok(Self { ml_dsa, ed25519 })
    }

    /// The ML-DSA half, lower-case hex.
    pub fn ml_dsa_hex(&self) -> String {
        text::encode(&self.ml_dsa)
    }

    /// The Ed25519 half, lower-case hex.
    pub fn ed25519_hex(&self) -> String {
        hex::encode(self.ed25519)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Signature(ML-DSA {} bytes, Ed25519 {})",
            self.ml_dsa.len(),
            self.ed25519_hex()
        )
    }
}
