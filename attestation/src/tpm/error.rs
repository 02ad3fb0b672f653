//! Why a TPM's quote was refused.

use super::hcl::HclError;
use crate::evidence::Class;

/// Why a quote or what stands behind its key was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TpmError {
    /// The structure is not of its form.
    #[error("{structure}.{field}: {detail}")]
    Structure {
        /// `TPMS_ATTEST`, `TPMT_SIGNATURE`, `TPMT_PUBLIC` or `JWK`.
        structure: &'static str,
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// Bytes after the end.
    #[error("{structure}: {bytes} bytes after its end: expected none")]
    Trailing {
        /// Which structure.
        structure: &'static str,
        /// How many.
        bytes: usize,
    },
    /// Not made inside a TPM: the key may have signed it as data from outside.
    #[error("TPMS_ATTEST.magic: expected 0xff544347 (TPM_GENERATED_VALUE), got {got:#010x}: a TPM did not make this")]
    Magic {
        /// What came.
        got: u32,
    },
    /// Another kind of attestation.
    #[error(
        "TPMS_ATTEST.type: expected 0x8018 (TPM_ST_ATTEST_QUOTE), got {got:#06x}: a TPM made this, and it is no quote"
    )]
    Type {
        /// What came.
        got: u16,
    },
    /// Not a selection of the SHA-256 bank, or of that and the SHA-384 bank.
    #[error(
        "TPMS_ATTEST.attested.quote.pcrSelect: {detail}: quote the SHA-256 bank, alone or with the SHA-384 bank after it"
    )]
    Selection {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The registers given are not those that the quote selects.
    #[error("{list}: expected exactly the registers that the quote selects ({selected:?}), ascending, got {got:?}")]
    Pcrs {
        /// `pcrs` or `pcrs_sha384`.
        list: &'static str,
        /// By the quote.
        selected: Vec<u8>,
        /// What came.
        got: Vec<u8>,
    },
    /// The registers' values are not those that the TPM signed.
    #[error(
        "TPMS_ATTEST.attested.quote.pcrDigest: expected the hash of the given register values, got another value: a register was changed"
    )]
    PcrDigest,
    /// An algorithm that is not accepted, or not for this key.
    #[error("TPMT_SIGNATURE: {detail}")]
    SignatureAlgorithm {
        /// What is accepted.
        detail: &'static str,
    },
    /// The signature does not verify.
    #[error(
        "TPMT_SIGNATURE: does not verify under the attestation key: the quote was changed, or another key signed it"
    )]
    Signature,
    /// Not a key that can be an attestation key here.
    #[error("attestation key: {detail}")]
    Key {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The key could sign anything, so its quotes prove nothing.
    #[error(
        "TPMT_PUBLIC.objectAttributes: expected fixedTPM, fixedParent, sensitiveDataOrigin, restricted and sign, and not decrypt, got {got:#010x}: no attestation key"
    )]
    Attributes {
        /// What came.
        got: u32,
    },
    /// Not a certificate of the expected form.
    #[error("AK certificates[{place}]: {detail}")]
    Certificate {
        /// 0 is the leaf.
        place: usize,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// Not issued by the next one.
    #[error("AK certificates[{place}]: {detail}")]
    Chain {
        /// 0 is the leaf.
        place: usize,
        /// What is wrong.
        detail: &'static str,
    },
    /// More certificates than any chain has.
    #[error("AK certificates: expected at most {most}, got {got}")]
    ChainLength {
        /// What came.
        got: usize,
        /// The bound.
        most: usize,
    },
    /// The certificate is another key's.
    #[error(
        "AK certificates[0]: expected the key that signed the quote, got another: the certificate belongs to another TPM"
    )]
    ChainKey,
    /// The chain does not end in a root that the caller pinned.
    #[error("AK certificates: no pinned TPM root issued the last one: pin the vendor's root, or the key itself")]
    Root,
    /// Past its notAfter.
    #[error("AK certificates[{place}]: notAfter is {not_after}, now is {now}")]
    Expired {
        /// 0 is the leaf; one past the last is the root.
        place: usize,
        /// Its last second.
        not_after: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// Before its notBefore.
    #[error("AK certificates[{place}]: notBefore is {not_before}, now is {now}: is the verifier's clock right?")]
    NotYetValid {
        /// 0 is the leaf; one past the last is the root.
        place: usize,
        /// Its first second.
        not_before: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// A pinned root that cannot be one.
    #[error("pinned TPM root: {detail}")]
    Anchor {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// Azure's paravisor.
    #[error(transparent)]
    Hcl(#[from] HclError),
}

impl TpmError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Structure {
                structure: "TPMS_ATTEST",
                ..
            } => "tpm.attest.malformed",
            Self::Structure {
                structure: "TPMT_SIGNATURE",
                ..
            } => "tpm.signature.malformed",
            Self::Structure { .. } => "tpm.key.malformed",
            Self::Trailing {
                structure: "TPMS_ATTEST",
                ..
            } => "tpm.attest.trailing",
            Self::Trailing {
                structure: "TPMT_SIGNATURE",
                ..
            } => "tpm.signature.trailing",
            Self::Trailing { .. } => "tpm.key.trailing",
            Self::Magic { .. } => "tpm.attest.magic",
            Self::Type { .. } => "tpm.attest.type",
            Self::Selection { .. } => "tpm.quote.selection",
            Self::Pcrs { .. } => "tpm.quote.pcrs",
            Self::PcrDigest => "tpm.quote.pcr_digest",
            Self::SignatureAlgorithm { .. } => "tpm.signature.algorithm",
            Self::Signature => "tpm.signature.invalid",
            Self::Key { .. } => "tpm.key.malformed",
            Self::Attributes { .. } => "tpm.key.attributes",
            Self::Certificate { .. } => "tpm.cert.malformed",
            Self::Chain { .. } => "tpm.chain.link",
            Self::ChainLength { .. } => "tpm.chain.length",
            Self::ChainKey => "tpm.chain.key",
            Self::Root => "tpm.chain.root",
            Self::Expired { .. } => "tpm.cert.expired",
            Self::NotYetValid { .. } => "tpm.cert.not_yet_valid",
            Self::Anchor { .. } => "tpm.anchor.invalid",
            Self::Hcl(e) => e.code(),
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::Structure { .. }
            | Self::Trailing { .. }
            | Self::Selection { .. }
            | Self::Pcrs { .. }
            | Self::SignatureAlgorithm { .. }
            | Self::Key { .. }
            | Self::Certificate { .. }
            | Self::ChainLength { .. } => Class::Malformed,
            Self::Hcl(e) => e.class(),
            _ => Class::NotAuthentic,
        }
    }
}
