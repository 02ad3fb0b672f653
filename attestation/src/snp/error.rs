//! Why evidence was refused.

use super::certificate::Role;
use super::product::Product;
use super::tcb::TcbVersion;
use crate::evidence::Class;

/// Why a report or its certificates were refused. Texts name the field as AMD does, what was expected and what came.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SnpError {
    /// Not 1184 bytes.
    #[error("ATTESTATION_REPORT: expected 1184 bytes, got {got}: truncated, padded or no SNP report")]
    Length {
        /// What came.
        got: usize,
    },
    /// A version this crate does not know.
    #[error("ATTESTATION_REPORT.VERSION: expected 2 to 5, got {got}")]
    Version {
        /// What came.
        got: u32,
    },
    /// Reserved bytes are not zero.
    #[error("ATTESTATION_REPORT.{field}: reserved byte at {offset:#x}: expected 0, got another value")]
    Reserved {
        /// Field or its offset.
        field: &'static str,
        /// Offset of the byte at fault.
        offset: usize,
    },
    /// Not ECDSA P-384 with SHA-384.
    #[error("ATTESTATION_REPORT.SIGNATURE_ALGO: expected 1 (ECDSA P-384 with SHA-384), got {got}")]
    SignatureAlgorithm {
        /// What came.
        got: u32,
    },
    /// Neither VCEK nor VLEK signed.
    #[error("ATTESTATION_REPORT.SIGNING_KEY: expected 0 (VCEK) or 1 (VLEK), got {got}{}", if *.got == 7 { " (not signed)" } else { "" })]
    SigningKey {
        /// What came.
        got: u32,
    },
    /// No compiled-in root for this processor.
    #[error("product: expected Milan, Genoa, Bergamo, Siena or Turin, got {got}")]
    ProductUnknown {
        /// What came.
        got: String,
    },
    /// Report and certificate are of different products.
    #[error("product: the VEK certificate says {certificate:?}, the report's CPUID says {report:?}")]
    ProductMismatch {
        /// By productName.
        certificate: Product,
        /// By CPUID.
        report: Product,
    },
    /// Not a certificate of the expected form.
    #[error("{role} certificate: {detail}")]
    Certificate {
        /// Which one.
        role: Role,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The platform withholds its key.
    #[error(
        "ATTESTATION_REPORT.MASK_CHIP_KEY: expected 0, got 1: the report is not signed; the platform's owner must clear MASK_CHIP_KEY"
    )]
    Masked,
    /// SIGNING_KEY and the certificate's kind disagree.
    #[error("VEK certificate: the report's SIGNING_KEY asks for CN {expected}, got {got}")]
    KeyKind {
        /// CN of the kind that the report names.
        expected: &'static str,
        /// CN of the certificate, `another name` unless it is one of AMD's.
        got: &'static str,
    },
    /// The chain ends nowhere we know.
    #[error(
        "{ask_issuer} is no root of AMD's for {product:?} and no simulator root that was supplied: not AMD hardware, or the simulator's root is missing"
    )]
    Root {
        /// By productName.
        product: Product,
        /// Issuer CN of the intermediate.
        ask_issuer: String,
    },
    /// The intermediate is not the ARK's, or not the right one.
    #[error("ASK certificate: {detail}")]
    Ask {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The VEK certificate was not issued by the intermediate.
    #[error("VEK certificate: {detail}")]
    Vek {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// Past its notAfter.
    #[error("{role} certificate: notAfter is {not_after}, now is {now}: fetch a current certificate from AMD's KDS")]
    Expired {
        /// Which one.
        role: Role,
        /// Its last second.
        not_after: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// Before its notBefore.
    #[error("{role} certificate: notBefore is {not_before}, now is {now}: is the verifier's clock right?")]
    NotYetValid {
        /// Which one.
        role: Role,
        /// Its first second.
        not_before: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// The report's signature does not verify.
    #[error(
        "ATTESTATION_REPORT.SIGNATURE: does not verify under the VEK certificate's key: the report was changed, or is another processor's"
    )]
    Signature,
    /// The certificate is for another TCB.
    #[error("ATTESTATION_REPORT.REPORTED_TCB: the VEK certificate is for {certificate}; got {report}")]
    Tcb {
        /// By extensions.
        certificate: TcbVersion,
        /// In the report.
        report: TcbVersion,
    },
    /// The certificate is for another chip.
    #[error("ATTESTATION_REPORT.CHIP_ID: expected the hwID of the VCEK certificate, got {}", if *.masked { "zeros (masked by the platform)" } else { "another chip's" })]
    ChipId {
        /// All zero.
        masked: bool,
    },
    /// Not a certificate revocation list of the expected form.
    #[error("CRL: {detail}")]
    CrlMalformed {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A list of another root was stapled.
    #[error("CRL: the issuer is not the root that this evidence chains to")]
    CrlIssuer,
    /// Not signed by the root.
    #[error("CRL: the signature does not verify under the root's key")]
    CrlSignature,
    /// Not of now.
    #[error("CRL: thisUpdate {this_update}, nextUpdate {next_update}, now {now}: fetch a current list from AMD's KDS")]
    CrlStale {
        /// First second.
        this_update: u64,
        /// Last second.
        next_update: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// The list names a certificate of the chain.
    #[error("{role} certificate: revoked by its issuer's CRL (serial number {serial})")]
    Revoked {
        /// Which one.
        role: Role,
        /// Upper-case hex.
        serial: String,
    },
    /// A simulator root that must not be one.
    #[error("simulator root: {detail}")]
    Anchor {
        /// What is wrong with it.
        detail: &'static str,
    },
}

impl SnpError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "snp.report.length",
            Self::Version { .. } => "snp.report.version",
            Self::Reserved { .. } => "snp.report.reserved",
            Self::SignatureAlgorithm { .. } => "snp.report.signature_algorithm",
            Self::SigningKey { .. } => "snp.report.signing_key",
            Self::ProductUnknown { .. } => "snp.product.unknown",
            Self::ProductMismatch { .. } => "snp.product.mismatch",
            Self::Certificate { .. } => "snp.cert.malformed",
            Self::Masked => "snp.key.masked",
            Self::KeyKind { .. } => "snp.key.kind",
            Self::Root { .. } => "snp.chain.root",
            Self::Ask { .. } => "snp.chain.ask",
            Self::Vek { .. } => "snp.chain.vek",
            Self::Expired { .. } => "snp.cert.expired",
            Self::NotYetValid { .. } => "snp.cert.not_yet_valid",
            Self::Signature => "snp.signature.invalid",
            Self::Tcb { .. } => "snp.tcb.mismatch",
            Self::ChipId { .. } => "snp.chip_id.mismatch",
            Self::CrlMalformed { .. } => "snp.crl.malformed",
            Self::CrlIssuer => "snp.crl.issuer",
            Self::CrlSignature => "snp.crl.signature",
            Self::CrlStale { .. } => "snp.crl.stale",
            Self::Revoked { .. } => "snp.crl.revoked",
            Self::Anchor { .. } => "snp.anchor.invalid",
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::Length { .. }
            | Self::Version { .. }
            | Self::Reserved { .. }
            | Self::SignatureAlgorithm { .. }
            | Self::SigningKey { .. }
            | Self::Certificate { .. }
            | Self::CrlMalformed { .. } => Class::Malformed,
            _ => Class::NotAuthentic,
        }
    }
}
