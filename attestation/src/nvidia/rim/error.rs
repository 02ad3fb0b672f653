//! Why a RIM was refused.

use crate::evidence::Class;
use crate::nvidia::xml::XmlError;

/// Why a RIM was refused. Certificates are counted from 0, the signer's.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum RimError {
    /// Not the XML that is accepted.
    #[error("RIM: {0}")]
    Xml(#[from] XmlError),
    /// Elements are not where NVIDIA puts them.
    #[error("RIM: {detail}")]
    Structure {
        /// What is not where.
        detail: &'static str,
    },
    /// Not exactly one signature in the one place for it.
    #[error("RIM: Signature: expected exactly one, the last child of SoftwareIdentity, got {got} in the document")]
    SignaturePlace {
        /// How many there are anywhere.
        got: usize,
    },
    /// Another algorithm than NVIDIA's.
    #[error("RIM: {field}: expected {expected}, got another one")]
    Algorithm {
        /// Which element.
        field: &'static str,
        /// Identifier.
        expected: &'static str,
    },
    /// A value is not of its form.
    #[error("RIM: {field}: {detail}")]
    Content {
        /// Which element or attribute.
        field: &'static str,
        /// What is wrong.
        detail: &'static str,
    },
    /// Two values for one index.
    #[error("RIM: Resource: index {index} occurs twice")]
    DuplicateIndex {
        /// 0 to 63.
        index: u8,
    },
    /// Not a certificate of the expected form.
    #[error("RIM: X509Certificate {position}: {detail}")]
    Certificate {
        /// From 0.
        position: usize,
        /// What is wrong.
        detail: &'static str,
    },
    /// Not issued by the next one.
    #[error("RIM: X509Certificate {position}: {detail}")]
    Chain {
        /// From 0.
        position: usize,
        /// What is wrong.
        detail: &'static str,
    },
    /// The chain ends nowhere we know.
    #[error(
        "RIM: the last certificate is neither NVIDIA's CoRIM signing root nor a simulator RIM root that was supplied: not NVIDIA's reference values, or the simulator's root is missing"
    )]
    Root,
    /// Past a notAfter.
    #[error(
        "RIM: X509Certificate {position}: notAfter is {not_after}, now is {now}: fetch the current RIM from NVIDIA's RIM service"
    )]
    Expired {
        /// From 0.
        position: usize,
        /// Its last second.
        not_after: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// Before a notBefore.
    #[error("RIM: X509Certificate {position}: notBefore is {not_before}, now is {now}: is the verifier's clock right?")]
    NotYetValid {
        /// From 0.
        position: usize,
        /// Its first second.
        not_before: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// SignedInfo is not signed by the leaf.
    #[error("RIM: SignatureValue: does not verify over SignedInfo under the first certificate's key")]
    Signature,
    /// The document is not the one that was signed.
    #[error("RIM: DigestValue: the document has another SHA-384 digest: it was changed after it was signed")]
    Digest,
    /// The driver's and the VBIOS's RIM disagree on whose measurement it is.
    #[error("RIM: index {index} is active in both the driver's and the VBIOS's RIM")]
    Conflict {
        /// 0 to 63.
        index: u8,
    },
    /// More RIMs for one version than are verified.
    #[error("RIM: expected at most {most} different RIMs of one version")]
    TooMany {
        /// The bound.
        most: usize,
    },
    /// The signer's certificates are on hold.
    #[error("RIM: a certificate of the signer is on hold by its issuer's OCSP answer")]
    OnHold,
}

impl RimError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Xml(e) => e.code(),
            Self::Structure { .. } => "nvidia.rim.structure",
            Self::SignaturePlace { .. } => "nvidia.rim.signature_place",
            Self::Algorithm { .. } => "nvidia.rim.algorithm",
            Self::Content { .. } => "nvidia.rim.content",
            Self::DuplicateIndex { .. } => "nvidia.rim.duplicate_index",
            Self::Certificate { .. } => "nvidia.rim.certificate",
            Self::Chain { .. } => "nvidia.rim.chain",
            Self::Root => "nvidia.rim.root",
            Self::Expired { .. } => "nvidia.rim.expired",
            Self::NotYetValid { .. } => "nvidia.rim.not_yet_valid",
            Self::Signature => "nvidia.rim.signature",
            Self::Digest => "nvidia.rim.digest",
            Self::Conflict { .. } => "nvidia.rim.conflict",
            Self::TooMany { .. } => "nvidia.rim.too_many",
            Self::OnHold => "nvidia.rim.on_hold",
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::Xml(_)
            | Self::Structure { .. }
            | Self::SignaturePlace { .. }
            | Self::Algorithm { .. }
            | Self::Content { .. }
            | Self::DuplicateIndex { .. }
            | Self::Certificate { .. }
            | Self::TooMany { .. } => Class::Malformed,
            _ => Class::NotAuthentic,
        }
    }
}
