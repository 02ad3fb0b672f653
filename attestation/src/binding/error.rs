//! Why claims are not bound.

use crate::evidence::Class;
use crate::foreign::ForeignFormat;
use crate::jcs::JcsError;

/// Why claims do not belong to the nonce or key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BindingError {
    /// A preimage in the bundle is not the one the keyset names.
    #[error("bundle: {field}: the keyset says {expected}, the bundle's preimage hashes to {got}")]
    Preimage {
        /// `config_digest`, `capability_digest` or `policy_digest`.
        field: &'static str,
        /// In the keyset.
        expected: String,
        /// Of the preimage.
        got: String,
    },
    /// A member that this version does not know how to verify.
    #[error("bundle: {field}: expected {expected}, got {got}")]
    Unsupported {
        /// Which member.
        field: &'static str,
        /// What is accepted.
        expected: &'static str,
        /// What came.
        got: String,
    },
    /// The claims sign other 64 bytes.
    #[error(
        "REPORT_DATA: expected SHA-512 of the statement over this keyset, nonce and device list, got another value: the evidence was made for another guest, keyset or nonce"
    )]
    ReportData,
    /// The claims sign another RCAR session.
    #[error(
        "REPORT_DATA: expected the zero-padded SHA-384 over this session's nonce, key and additional evidence, got another value: wrong nonce, swapped key or foreign evidence"
    )]
    RcarReportData,
    /// The vTPM's quote signs something else.
    #[error(
        "TPM quote: extraData: expected the SHA-256 of the statement over this keyset, nonce and device list, whole, got another value: the quote was made for another guest, keyset or nonce"
    )]
    QualifyingData,
    /// The vTPM's quote signs another RCAR session.
    #[error(
        "TPM quote: extraData: expected the SHA-384 over this session's nonce, key and additional evidence, whole, got another value: wrong nonce, swapped key or foreign evidence"
    )]
    RcarQualifyingData,
    /// A device answered another nonce.
    #[error(
        "devices[{index}]: nonce: expected the SHA-256 of the device statement over this keyset and nonce, got another value: the device answered for another guest, keyset or nonce"
    )]
    DeviceNonce {
        /// Its place in the list.
        index: usize,
    },
    /// A device answered another RCAR session.
    #[error(
        "devices[{index}]: nonce: expected the first 32 bytes of the SHA-384 over this session's nonce and key, got another value"
    )]
    RcarDeviceNonce {
        /// Its place in the list.
        index: usize,
    },
    /// The claims sign something else than the foreign format's own rule gives.
    #[error(
        "{format}: signed field: expected what the format's rule gives for this document, got another value: parts of two documents were mixed, or one was changed"
    )]
    ForeignRule {
        /// The format.
        format: ForeignFormat,
    },
    /// The format's rule is for evidence of another kind.
    #[error("{format}: signed field: expected evidence of the kind that the format has a rule for, got another kind")]
    ForeignKind {
        /// The format.
        format: ForeignFormat,
    },
    /// The paravisor's user-data is not what the vTPM signed.
    #[error(
        "{format}: user-data: expected the quote's qualifying data padded with zeros, got another value: the paravisor's report was made for something else"
    )]
    ForeignUserData {
        /// The format.
        format: ForeignFormat,
    },
    /// The claims sign something else than the caller expects.
    #[error(
        "{format}: signed field: expected the caller's {expected} bytes, whole, got other bytes: the evidence was made for somebody else, or at another time"
    )]
    ForeignReportData {
        /// The format.
        format: ForeignFormat,
        /// Length of what the caller expects.
        expected: usize,
    },
    /// The document answers another nonce than the caller's.
    #[error("{format}: nonce: expected the caller's, got another: a recording, or an answer to somebody else")]
    ForeignNonce {
        /// The format.
        format: ForeignFormat,
    },
    /// The caller has a nonce, and the format has no place for one.
    #[error("{format}: nonce: the format does not say where a nonce stands: state the whole REPORT_DATA instead")]
    ForeignNonceUnstated {
        /// The format.
        format: ForeignFormat,
    },
    /// A device answered another nonce than the document's rule gives.
    #[error("{format}: devices[{index}]: nonce: expected the one that the document's rule gives, got another value")]
    ForeignDeviceNonce {
        /// The format.
        format: ForeignFormat,
        /// Its place in the list.
        index: usize,
    },
    /// The bundle answers somebody else's challenge.
    #[error("freshness: the bundle answers another challenge than the one drawn: replayed or relayed evidence")]
    ForeignChallenge,
    /// The path does not lead from the challenge to the nonce.
    #[error("freshness: the path does not lead from the challenge to the statement's nonce")]
    Path,
    /// The keyset's life is over.
    #[error("keyset: not_after is {not_after}, now is {now}: ask the guest for a new keyset")]
    Expired {
        /// Its last second.
        not_after: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// The keyset lives longer than allowed or starts in the future.
    #[error(
        "keyset: issued_at {issued_at}, not_after {not_after}, now {now}: expected issued_at <= now + 60 and a life of at most 86400 seconds"
    )]
    Lifetime {
        /// Its first second.
        issued_at: u64,
        /// Its last second.
        not_after: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// A document could not be canonicalised.
    #[error(transparent)]
    Jcs(#[from] JcsError),
}

impl BindingError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Preimage {
                field: "config_digest", ..
            } => "bundle.config_digest",
            Self::Preimage {
                field: "capability_digest",
                ..
            } => "bundle.capability_digest",
            Self::Preimage { .. } => "bundle.policy_digest",
            Self::Unsupported { .. } => "bundle.unsupported",
            Self::ReportData => "binding.report_data",
            Self::RcarReportData => "binding.rcar_report_data",
            Self::QualifyingData => "binding.qualifying_data",
            Self::RcarQualifyingData => "binding.rcar_qualifying_data",
            Self::DeviceNonce { .. } => "binding.device_nonce",
            Self::RcarDeviceNonce { .. } => "binding.rcar_device_nonce",
            Self::ForeignRule { .. } => "binding.foreign.rule",
            Self::ForeignKind { .. } => "binding.foreign.kind",
            Self::ForeignUserData { .. } => "binding.foreign.user_data",
            Self::ForeignReportData { .. } => "binding.foreign.report_data",
            Self::ForeignNonce { .. } => "binding.foreign.nonce",
            Self::ForeignNonceUnstated { .. } => "binding.foreign.nonce_unstated",
            Self::ForeignDeviceNonce { .. } => "binding.foreign.device_nonce",
            Self::ForeignChallenge => "freshness.foreign_challenge",
            Self::Path => "freshness.path",
            Self::Expired { .. } => "keyset.expired",
            Self::Lifetime { .. } => "keyset.lifetime",
            Self::Jcs(_) => "bundle.malformed",
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::Unsupported { .. } | Self::Jcs(_) => Class::Malformed,
            _ => Class::Unbound,
        }
    }
}
