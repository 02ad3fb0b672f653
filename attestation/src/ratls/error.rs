//! Why a certificate is no RA-TLS certificate of this format.

use super::{BUNDLE_BYTES_MAX, CERTIFICATE_BYTES_MAX};
use crate::digest::Digest256;
use crate::evidence::Class;

/// Why it was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RatlsError {
    /// The certificate is too long.
    #[error("certificate: expected at most {CERTIFICATE_BYTES_MAX} bytes, got {got}")]
    CertificateTooLarge {
        /// Its length.
        got: usize,
    },
    /// The bundle is too long.
    #[error("certificate: evidence: expected a bundle of at most {BUNDLE_BYTES_MAX} bytes, got {got}")]
    BundleTooLarge {
        /// Its length.
        got: usize,
    },
    /// Not such a certificate.
    #[error("certificate: {field}: expected {expected}, got something else")]
    Certificate {
        /// Where.
        field: &'static str,
        /// What stands there.
        expected: &'static str,
    },
    /// An extension is marked critical.
    #[error(
        "certificate: extensions: expected none that is critical, got one: clients that do not know it would refuse"
    )]
    Critical,
    /// An extension stands there twice.
    #[error("certificate: extensions: expected each once, got one twice: two readers could read two documents")]
    Duplicate,
    /// No evidence.
    #[error("certificate: expected an extension 2.23.133.5.4.9 with evidence, got none")]
    NoEvidence,
    /// The extension's value is not the one record.
    #[error("certificate: evidence: {0}")]
    Wrapper(&'static str),
    /// The self-signature does not verify.
    #[error(
        "certificate: signatureValue: expected the signature of the certificate's own key: it was changed, or its key was swapped"
    )]
    Signature,
    /// The keyset in the evidence names another key.
    #[error(
        "certificate: subjectPublicKeyInfo: the keyset in the evidence says SHA-256 {expected}, got {got}: the evidence belongs to another guest's key"
    )]
    SpkiMismatch {
        /// In the keyset.
        expected: Digest256,
        /// Of the certificate.
        got: Digest256,
    },
}

impl RatlsError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::CertificateTooLarge { .. } | Self::BundleTooLarge { .. } => "ratls.too_large",
            Self::Certificate { .. } => "ratls.certificate",
            Self::Critical => "ratls.critical",
            Self::Duplicate => "ratls.duplicate_extension",
            Self::NoEvidence => "ratls.no_evidence",
            Self::Wrapper(_) => "ratls.wrapper",
            Self::Signature => "ratls.signature",
            Self::SpkiMismatch { .. } => "ratls.spki_mismatch",
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::Signature => Class::NotAuthentic,
            Self::SpkiMismatch { .. } => Class::Unbound,
            _ => Class::Malformed,
        }
    }
}
