//! Why evidence was refused.

use super::certificate::Role;
use super::crl::CrlOf;
use crate::eventlog::EventLogError;
use crate::evidence::Class;

/// Why a quote or its collateral was refused. Texts name the field as Intel does, what was expected and what came.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TdxError {
    /// A field does not fit into what is left.
    #[error("TDX quote: {field}: expected {expected} bytes, got {got}: truncated, or a length field is wrong")]
    Length {
        /// Which field.
        field: &'static str,
        /// What its length says.
        expected: usize,
        /// What is there.
        got: usize,
    },
    /// Bytes are left over inside a field.
    #[error("TDX quote: {field}: {got} bytes more than its fields take")]
    Excess {
        /// Which field.
        field: &'static str,
        /// How many.
        got: usize,
    },
    /// Longer than any quote.
    #[error("TDX quote: expected at most 65536 bytes, got {got}")]
    TooLong {
        /// What came.
        got: usize,
    },
    /// Not TDX.
    #[error("TDX quote: header: TEE type: expected 0x81 (TDX), got {got:#x}{}", if *.got == 0 { " (SGX)" } else { "" })]
    TeeType {
        /// What came.
        got: u32,
    },
    /// A version this crate does not know.
    #[error("TDX quote: header: version: expected 4 or 5, got {got}")]
    Version {
        /// What came.
        got: u16,
    },
    /// Not ECDSA P-256.
    #[error("TDX quote: header: attestation key type: expected 2 (ECDSA P-256), got {got}")]
    KeyType {
        /// What came.
        got: u16,
    },
    /// Another maker's quoting enclave.
    #[error("TDX quote: header: QE vendor: expected Intel's 939a7233f79c4ca9940a0db3957f0607, got {}", hex::encode(.got))]
    QeVendor {
        /// What came.
        got: [u8; 16],
    },
    /// A body of another kind.
    #[error("TDX quote: body type: expected 2 (TD 1.0), 3 (TD 1.5) or 4 (TD 1.5 extended), got {got}")]
    BodyType {
        /// What came.
        got: u16,
    },
    /// Type and size disagree.
    #[error("TDX quote: body size: expected {expected} for body type {kind}, got {got}")]
    BodySize {
        /// Body type.
        kind: u16,
        /// Its size.
        expected: usize,
        /// What came.
        got: usize,
    },
    /// Something follows the quote.
    #[error(
        "TDX quote: byte {at} lies behind the quote: expected zero padding, got another value; cut the quote at its length"
    )]
    Trailing {
        /// Offset of the first byte that is not zero.
        at: usize,
    },
    /// Certification data of another kind.
    #[error("TDX quote: {field}: certification data type: expected {expected}, got {got}{}", if *.expected == 5 { "; the platform must be registered, so that its quotes carry the PCK certificate chain" } else { "" })]
    CertificationType {
        /// Which.
        field: &'static str,
        /// What it must be.
        expected: u16,
        /// What came.
        got: u16,
    },
    /// No certificate chain in PEM.
    #[error("{what}: {detail}")]
    Pem {
        /// Which chain.
        what: &'static str,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// Not a certificate of the expected form.
    #[error("{role} certificate: {detail}")]
    Certificate {
        /// Which one.
        role: Role,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The chain ends nowhere we know.
    #[error(
        "root certificate: expected Intel's SGX root CA, got {got}: not Intel hardware, or the simulator's root is missing"
    )]
    Root {
        /// CN of the root that came.
        got: String,
    },
    /// A certificate was not issued by the one above it.
    #[error("{role} certificate: {detail}")]
    Chain {
        /// Which one.
        role: Role,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// Past its notAfter.
    #[error("{role} certificate: notAfter is {not_after}, now is {now}: fetch current collateral from Intel's PCS")]
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
    /// The quote's signature does not verify.
    #[error(
        "TDX quote: signature: does not verify under the attestation key: the quote was changed, or is another platform's"
    )]
    Signature,
    /// The quoting enclave's report is not signed by the PCK.
    #[error(
        "QE report: signature: does not verify under the PCK certificate's key: it was changed, or is another platform's"
    )]
    QeSignature,
    /// The quoting enclave did not make this key.
    #[error(
        "QE report: REPORTDATA: expected SHA-256 of attestation key and authentication data, then zeros; got another value"
    )]
    QeBinding,
    /// No collateral for this platform.
    #[error(
        "collateral: none for FMSPC {fmspc} under {pck_ca}: staple it to the bundle (hanzo-verify staple) or give it to the verifier"
    )]
    CollateralMissing {
        /// FMSPC of the PCK certificate, hex.
        fmspc: String,
        /// CN of its issuer.
        pck_ca: String,
    },
    /// A part of the collateral is not of its format.
    #[error("collateral: {document}: {detail}")]
    CollateralMalformed {
        /// Which part.
        document: &'static str,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// Not a certificate revocation list of the expected form.
    #[error("{of}: {detail}")]
    CrlMalformed {
        /// Which list.
        of: CrlOf,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A list of another authority.
    #[error("{of}: the issuer is not the authority of this quote's chain")]
    CrlIssuer {
        /// Which list.
        of: CrlOf,
    },
    /// Not signed by its issuer.
    #[error("{of}: the signature does not verify under its issuer's key")]
    CrlSignature {
        /// Which list.
        of: CrlOf,
    },
    /// Not of now.
    #[error(
        "{of}: thisUpdate {this_update}, nextUpdate {next_update}, now {now}: fetch current collateral from Intel's PCS"
    )]
    CrlStale {
        /// Which list.
        of: CrlOf,
        /// First second.
        this_update: u64,
        /// Last second.
        next_update: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// A list names a certificate.
    #[error("{role} certificate: revoked by its issuer's CRL (serial number {serial})")]
    Revoked {
        /// Which one.
        role: Role,
        /// Upper-case hex.
        serial: String,
    },
    /// TCB info not signed.
    #[error("TCB info: the signature does not verify under the TCB signing certificate's key")]
    TcbInfoSignature,
    /// TCB info of another kind.
    #[error("TCB info: expected id TDX, version 3, tcbType 0; got id {id}, version {version}")]
    TcbInfoKind {
        /// id.
        id: String,
        /// version.
        version: u8,
    },
    /// TCB info not of now.
    #[error(
        "TCB info: issueDate {issued}, nextUpdate {next_update}, now {now}: fetch current collateral from Intel's PCS"
    )]
    TcbInfoStale {
        /// First second.
        issued: u64,
        /// Last second.
        next_update: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// TCB info of another platform type.
    #[error("TCB info: fmspc: expected {expected} as in the PCK certificate, got {got}")]
    Fmspc {
        /// In the PCK certificate.
        expected: String,
        /// In the TCB info.
        got: String,
    },
    /// TCB info for another provisioning enclave.
    #[error("TCB info: pceId: expected {expected} as in the PCK certificate, got {got}")]
    PceId {
        /// In the PCK certificate.
        expected: String,
        /// In the TCB info.
        got: String,
    },
    /// QE identity not signed.
    #[error("QE identity: the signature does not verify under the TCB signing certificate's key")]
    QeIdentitySignature,
    /// QE identity of another enclave.
    #[error("QE identity: expected id TD_QE, version 2 or 3; got id {id}, version {version}")]
    QeIdentityKind {
        /// id.
        id: String,
        /// version.
        version: u8,
    },
    /// QE identity not of now.
    #[error(
        "QE identity: issueDate {issued}, nextUpdate {next_update}, now {now}: fetch current collateral from Intel's PCS"
    )]
    QeIdentityStale {
        /// First second.
        issued: u64,
        /// Last second.
        next_update: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// Not Intel's quoting enclave.
    #[error("QE report: {field}: is not the one that Intel's QE identity gives: not Intel's quoting enclave for TDX")]
    QeIdentityMismatch {
        /// Which field.
        field: &'static str,
    },
    /// An enclave older than any that Intel lists.
    #[error("QE report: ISVSVN {isv_svn}: below every level of the QE identity")]
    QeNoLevel {
        /// What came.
        isv_svn: u16,
    },
    /// A platform older than any that Intel lists.
    #[error("TCB info: no level is met by the platform's CPUSVN, PCESVN and TEE_TCB_SVN")]
    TcbNoLevel,
    /// Intel revoked this level.
    #[error("TCB status: Revoked: keys of platforms at this level are taken for known to attackers")]
    TcbRevoked,
    /// No identity for this version of the TDX module.
    #[error("TCB info: tdxModuleIdentities: none for module version {version} (TEE_TCB_SVN[1])")]
    ModuleUnknown {
        /// What came.
        version: u8,
    },
    /// A module older than any that Intel lists.
    #[error("TDX module: ISVSVN {isv_svn} (TEE_TCB_SVN[0]): below every level of its identity")]
    ModuleLevel {
        /// What came.
        isv_svn: u8,
    },
    /// Not Intel's module.
    #[error("MRSIGNERSEAM: is not the mrsigner of the TDX module's identity")]
    ModuleSigner,
    /// A module in another mode.
    #[error("SEAMATTRIBUTES: expected {expected:#x} as in the TDX module's identity, got {got:#x}")]
    ModuleAttributes {
        /// By the identity.
        expected: u64,
        /// In the quote.
        got: u64,
    },
    /// A simulator root that must not be one.
    #[error("simulator root: {detail}")]
    Anchor {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The event log that came along.
    #[error(transparent)]
    EventLog(#[from] EventLogError),
}

impl TdxError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } | Self::Excess { .. } | Self::TooLong { .. } => "tdx.quote.length",
            Self::TeeType { .. } => "tdx.quote.tee_type",
            Self::Version { .. } => "tdx.quote.version",
            Self::KeyType { .. } => "tdx.quote.key_type",
            Self::QeVendor { .. } => "tdx.quote.qe_vendor",
            Self::BodyType { .. } => "tdx.quote.body_type",
            Self::BodySize { .. } => "tdx.quote.body_size",
            Self::Trailing { .. } => "tdx.quote.trailing",
            Self::CertificationType { .. } => "tdx.quote.certification_type",
            Self::Pem { .. } => "tdx.chain.pem",
            Self::Certificate { .. } => "tdx.cert.malformed",
            Self::Root { .. } => "tdx.chain.root",
            Self::Chain { role, .. } => match role {
                Role::Root => "tdx.chain.root",
                Role::PckCa => "tdx.chain.pck_ca",
                Role::Pck => "tdx.chain.pck",
                Role::TcbSigning => "tdx.chain.tcb_signing",
            },
            Self::Expired { .. } => "tdx.cert.expired",
            Self::NotYetValid { .. } => "tdx.cert.not_yet_valid",
            Self::Signature => "tdx.signature.invalid",
            Self::QeSignature => "tdx.qe_report.signature",
            Self::QeBinding => "tdx.qe_report.binding",
            Self::CollateralMissing { .. } => "tdx.collateral.missing",
            Self::CollateralMalformed { .. } => "tdx.collateral.malformed",
            Self::CrlMalformed { .. } => "tdx.crl.malformed",
            Self::CrlIssuer { .. } => "tdx.crl.issuer",
            Self::CrlSignature { .. } => "tdx.crl.signature",
            Self::CrlStale { .. } => "tdx.crl.stale",
            Self::Revoked { .. } => "tdx.crl.revoked",
            Self::TcbInfoSignature => "tdx.tcb_info.signature",
            Self::TcbInfoKind { .. } => "tdx.tcb_info.kind",
            Self::TcbInfoStale { .. } => "tdx.tcb_info.stale",
            Self::Fmspc { .. } => "tdx.tcb_info.fmspc",
            Self::PceId { .. } => "tdx.tcb_info.pce_id",
            Self::QeIdentitySignature => "tdx.qe_identity.signature",
            Self::QeIdentityKind { .. } => "tdx.qe_identity.kind",
            Self::QeIdentityStale { .. } => "tdx.qe_identity.stale",
            Self::QeIdentityMismatch { .. } => "tdx.qe_identity.mismatch",
            Self::QeNoLevel { .. } => "tdx.qe_identity.no_level",
            Self::TcbNoLevel => "tdx.tcb.no_level",
            Self::TcbRevoked => "tdx.tcb.revoked",
            Self::ModuleUnknown { .. } => "tdx.module.unknown",
            Self::ModuleLevel { .. } => "tdx.module.no_level",
            Self::ModuleSigner => "tdx.module.signer",
            Self::ModuleAttributes { .. } => "tdx.module.attributes",
            Self::Anchor { .. } => "tdx.anchor.invalid",
            Self::EventLog(e) => e.code(),
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::Length { .. }
            | Self::Excess { .. }
            | Self::TooLong { .. }
            | Self::TeeType { .. }
            | Self::Version { .. }
            | Self::KeyType { .. }
            | Self::QeVendor { .. }
            | Self::BodyType { .. }
            | Self::BodySize { .. }
            | Self::Trailing { .. }
            | Self::CertificationType { .. }
            | Self::Pem { .. }
            | Self::Certificate { .. }
            | Self::CollateralMalformed { .. }
            | Self::CrlMalformed { .. } => Class::Malformed,
            Self::EventLog(e) => e.class(),
            _ => Class::NotAuthentic,
        }
    }
}
