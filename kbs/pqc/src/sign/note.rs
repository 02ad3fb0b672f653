//! Signatures of log checkpoints (C2SP signed notes): a foreign format, so keys of their own that sign nothing else.
//!
//! Ed25519 signs the note's text as it is (C2SP signed-note, type 0x01), so that any reader of such notes can check it.
//! ML-DSA signs `SHA-256("hanzo/log-head/v1") || text`. Both must verify.

use aws_lc_rs::signature::{ED25519, VerificationAlgorithm};

use super::{SEED_LEN, Signature, SignatureSuite, SigningKeys, VerifyingKeys};
use crate::error::length;
use crate::{Domain, PqcError, SignatureHalf, ed25519};

/// The private keys of one log. They sign notes and nothing else, which is why this is no [`SigningKeys`].
///
/// ```compile_fail,E0277
/// fn wants_clone<T: Clone>() {}
/// wants_clone::<hanzo_pqc::sign::NoteSigningKeys>();
/// ```
/// ```compile_fail,E0599
/// fn other_format(keys: &hanzo_pqc::sign::NoteSigningKeys) {
///     let _ = keys.sign(hanzo_pqc::Domain::Grant, b"a grant");
/// }
/// ```
pub struct NoteSigningKeys {
    keys: SigningKeys,
    public: NoteVerifyingKeys,
}

impl NoteSigningKeys {
    /// Derives the keys from a seed of [`SEED_LEN`] bytes, which must be drawn for this log alone.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if memory runs out.
    pub fn from_seed(suite: SignatureSuite, seed: &[u8; SEED_LEN]) -> Result<Self, PqcError> {
        let keys = SigningKeys::from_seed(suite, seed)?;
        let public = NoteVerifyingKeys(keys.public.clone());
        Ok(Self { keys, public })
    }

    /// The public halves.
    pub fn verifying_keys(&self) -> &NoteVerifyingKeys {
        &self.public
    }

    /// Signs a note's text, which ends in a newline; the ML-DSA half is hedged.
    ///
    /// # Errors
    /// [`PqcError::Backend`] if the random generator fails.
    pub fn sign_note(&self, text: &str) -> Result<NoteSignature, PqcError> {
        let Signature { ml_dsa, .. } = self.keys.sign(Domain::LogHead, text.as_bytes())?;
        let failed = || PqcError::Backend { what: "signing" };
        let ed25519 = self.keys.ed25519.try_sign(text.as_bytes()).map_err(|_| failed())?;
        Ok(NoteSignature(Signature {
            ml_dsa,
            ed25519: ed25519.as_ref().try_into().map_err(|_| failed())?,
        }))
    }
}

/// The public keys of one log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NoteVerifyingKeys(VerifyingKeys);

impl NoteVerifyingKeys {
    /// Reads both keys from lower-case hex.
    ///
    /// # Errors
    /// As [`VerifyingKeys::from_hex`].
    pub fn from_hex(suite: SignatureSuite, ml_dsa: &str, ed25519: &str) -> Result<Self, PqcError> {
        VerifyingKeys::from_hex(suite, ml_dsa, ed25519).map(Self)
    }

    /// The suite.
    pub fn suite(&self) -> SignatureSuite {
        self.0.suite
    }

    /// The ML-DSA public key.
    pub fn ml_dsa(&self) -> &[u8] {
        &self.0.ml_dsa
    }

    /// The Ed25519 public key.
    pub fn ed25519(&self) -> &[u8; ed25519::PUBLIC_KEY_LEN] {
        &self.0.ed25519
    }

    /// Checks both halves over a note's text; one that fails does not keep the other from being looked at.
    ///
    /// # Errors
    /// [`PqcError::Length`] if the ML-DSA half belongs to another suite; [`PqcError::Signature`] names the half that
    /// failed.
    pub fn verify_note(&self, text: &str, signature: &NoteSignature) -> Result<(), PqcError> {
        let NoteSignature(Signature { ml_dsa, ed25519 }) = signature;
        length("ML-DSA signature", self.suite().ml_dsa_signature_len(), ml_dsa.len())?;
        let domain = Domain::LogHead;
        let bytes = domain.signed_bytes(text.as_bytes());
        let post_quantum = self.suite().verification().verify_sig(self.ml_dsa(), &bytes, ml_dsa);
        let classical = ED25519.verify_sig(self.ed25519(), text.as_bytes(), ed25519);
        let half = match (post_quantum, classical) {
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

/// Both signatures over one note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature(Signature);

impl NoteSignature {
    /// Takes both halves as they stand in a note.
    ///
    /// # Errors
    /// [`PqcError::Length`] for an Ed25519 half that is not 64 bytes.
    pub fn from_parts(ml_dsa: &[u8], ed25519: &[u8]) -> Result<Self, PqcError> {
        let half = ed25519.try_into().map_err(|_| PqcError::Length {
            what: "Ed25519 signature",
            expected: ed25519::SIGNATURE_LEN,
            got: ed25519.len(),
        })?;
        Ok(Self(Signature {
            ml_dsa: ml_dsa.to_vec(),
            ed25519: half,
        }))
    }

    /// The ML-DSA half.
    pub fn ml_dsa(&self) -> &[u8] {
        &self.0.ml_dsa
    }

    /// The Ed25519 half.
    pub fn ed25519(&self) -> &[u8] {
        &self.0.ed25519
    }
}

/// The public key of one who signs notes with Ed25519 alone: a witness.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WitnessVerifyingKey([u8; ed25519::PUBLIC_KEY_LEN]);

impl WitnessVerifyingKey {
    /// Takes a key in RFC 8032's encoding.
    ///
    /// # Errors
    /// [`PqcError::Length`], [`PqcError::Encoding`], [`PqcError::LowOrder`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PqcError> {
        ed25519::check_public_key(bytes).map(Self)
    }

    /// The key.
    pub fn as_bytes(&self) -> &[u8; ed25519::PUBLIC_KEY_LEN] {
        &self.0
    }

    /// Checks a signature over exactly `message`.
    ///
    /// # Errors
    /// [`PqcError::Signature`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), PqcError> {
        ED25519
            .verify_sig(&self.0, message, signature)
            .map_err(|_| PqcError::Signature {
                half: SignatureHalf::Ed25519,
                domain: "cosignature/v1",
            })
    }
}
