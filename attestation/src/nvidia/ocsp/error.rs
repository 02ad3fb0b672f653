//! Why OCSP answers were refused.

use crate::evidence::Class;

/// Why OCSP answers were refused. Certificates are counted from 0, the leaf.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum OcspError {
    /// Not an OCSPResponse of the expected form.
    #[error("OCSP answer: {detail}")]
    Malformed {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A certificate of the chain in question is not of the expected form.
    #[error("OCSP: certificate {position} of the chain in question: {detail}")]
    Chain {
        /// From 0.
        position: usize,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// Nobody who may answer signed.
    #[error("OCSP answer: responder: {detail}")]
    Responder {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// Changed, or signed by another key.
    #[error("OCSP answer: the signature does not verify under the responder's key")]
    Signature,
    /// Past nextUpdate.
    #[error("OCSP answer: nextUpdate is {next_update}, now is {now}: fetch a current answer from NVIDIA's responder")]
    Stale {
        /// Last second.
        next_update: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// Before thisUpdate.
    #[error("OCSP answer: thisUpdate is {this_update}, now is {now}: is the verifier's clock right?")]
    NotYetValid {
        /// First second.
        this_update: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// Revoked for good.
    #[error("OCSP: certificate {position} of the chain was revoked by its issuer at {at} (reason {})", reason.map_or("not given".to_owned(), |r| r.to_string()))]
    Revoked {
        /// From 0.
        position: usize,
        /// When.
        at: u64,
        /// CRLReason.
        reason: Option<u8>,
    },
    /// The responder does not know the certificate.
    #[error("OCSP: certificate {position} of the chain is unknown to its issuer's responder")]
    Unknown {
        /// From 0.
        position: usize,
    },
    /// On hold, and not even all the others are good.
    #[error("OCSP: a certificate of the chain is on hold and certificate {position} has no answer")]
    Incomplete {
        /// The first without.
        position: usize,
    },
    /// More answers about one certificate than are verified.
    #[error("OCSP: expected at most {most} answers about one certificate")]
    TooMany {
        /// The bound.
        most: usize,
    },
}

impl OcspError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "nvidia.ocsp.malformed",
            Self::Chain { .. } => "nvidia.ocsp.chain",
            Self::Responder { .. } => "nvidia.ocsp.responder",
            Self::Signature => "nvidia.ocsp.signature",
            Self::Stale { .. } => "nvidia.ocsp.stale",
            Self::NotYetValid { .. } => "nvidia.ocsp.not_yet_valid",
            Self::Revoked { .. } => "nvidia.ocsp.revoked",
            Self::Unknown { .. } => "nvidia.ocsp.unknown",
            Self::Incomplete { .. } => "nvidia.ocsp.incomplete",
            Self::TooMany { .. } => "nvidia.ocsp.too_many",
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::Malformed { .. } | Self::Chain { .. } | Self::TooMany { .. } => Class::Malformed,
            _ => Class::NotAuthentic,
        }
    }
}
