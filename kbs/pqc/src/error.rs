//! The one error type of this crate.

use thiserror::Error;

/// Which half of a double signature did not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureHalf {
    /// ML-DSA failed, Ed25519 verified.
    MlDsa,
    /// Ed25519 failed, ML-DSA verified.
    Ed25519,
    /// Neither verified.
    Both,
}

/// Why a key, a message or a signature was refused. No text contains secret bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PqcError {
    /// Bytes of the wrong length: the sender used another suite, or the value was cut.
    #[error("{what}: expected {expected} bytes, got {got}; check that both sides use the same suite")]
    Length {
        /// The value, in the words of its spec.
        what: &'static str,
        /// Length that the suite fixes (the minimum, where the length varies).
        expected: usize,
        /// Length received.
        got: usize,
    },
    /// Text that is not lower-case hex.
    #[error("{what}: expected lower-case hex, got something else; send digits 0-9 and a-f alone")]
    Hex {
        /// The value, in the words of its spec.
        what: &'static str,
    },
    /// A key or group element that is not in the one encoding its spec allows.
    #[error("{what}: not a canonical encoding ({rule}); generate the key again with a conforming library")]
    Encoding {
        /// The value, in the words of its spec.
        what: &'static str,
        /// The rule that was broken.
        rule: &'static str,
    },
    /// A Diffie-Hellman point of small order: the shared secret would be known to everybody.
    #[error("{what}: the point has small order, so the shared secret would be public; treat the sender as hostile")]
    LowOrder {
        /// The value, in the words of its spec.
        what: &'static str,
    },
    /// Authenticated decryption failed: key, nonce, info, aad or ciphertext differ from those used to seal.
    #[error("{what}: authentication failed: key, info, aad or ciphertext is not what was sealed; nothing was opened")]
    Open {
        /// What was being opened.
        what: &'static str,
    },
    /// A signature did not verify.
    #[error("signature under domain {domain}: {}", half_text(.half))]
    Signature {
        /// The half that failed.
        half: SignatureHalf,
        /// The domain it was checked under.
        domain: &'static str,
    },
    /// A raw ML-DSA signature did not verify.
    #[error("{set} signature does not verify: message, key or signature differs")]
    MlDsa {
        /// Parameter set.
        set: &'static str,
    },
    /// More output was asked of a KDF than its spec allows.
    #[error("{what}: asked for {got} bytes of output, the limit is {limit}")]
    OutputTooLong {
        /// The KDF.
        what: &'static str,
        /// Greatest length.
        limit: usize,
        /// Length asked for.
        got: usize,
    },
    /// The backend failed where no input can make it fail: out of memory, or its random generator stopped.
    #[error("{what}: the cryptographic backend failed; this is a fault of the machine, stop and do not retry")]
    Backend {
        /// The operation.
        what: &'static str,
    },
}

fn half_text(half: &SignatureHalf) -> &'static str {
    match half {
        SignatureHalf::MlDsa => "the ML-DSA half does not verify (the Ed25519 half does)",
        SignatureHalf::Ed25519 => "the Ed25519 half does not verify (the ML-DSA half does)",
        SignatureHalf::Both => "neither the ML-DSA nor the Ed25519 half verifies; is this the right key?",
    }
}

impl PqcError {
    /// Stable dotted code, for problem bodies, logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "pqc.length",
            Self::Hex { .. } => "pqc.hex",
            Self::Encoding { .. } => "pqc.encoding",
            Self::LowOrder { .. } => "pqc.low_order",
            Self::Open { .. } => "pqc.open",
            Self::Signature {
                half: SignatureHalf::MlDsa,
                ..
            } => "pqc.signature.ml_dsa",
            Self::Signature {
                half: SignatureHalf::Ed25519,
                ..
            } => "pqc.signature.ed25519",
            Self::Signature {
                half: SignatureHalf::Both,
                ..
            } => "pqc.signature.both",
            Self::MlDsa { .. } => "pqc.ml_dsa",
            Self::OutputTooLong { .. } => "pqc.kdf.output",
            Self::Backend { .. } => "pqc.backend",
        }
    }
}

pub(crate) fn length(what: &'static str, expected: usize, got: usize) -> Result<(), PqcError> {
    if expected == got {
        Ok(())
    } else {
        Err(PqcError::Length { what, expected, got })
    }
}
