//! Why device evidence was refused.

use super::chain::Level;
use super::ocsp::OcspError;
use super::rim::RimError;
use super::{NvidiaArch, hex_of};
use crate::evidence::Class;

/// Why a report or its certificates were refused. Texts name the field as DSP0274 and NVIDIA do, what was expected and
/// what came.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum NvidiaError {
    /// Longer than any report, or the certificates are.
    #[error("{what}: expected at most {most} bytes, got {got}")]
    TooLong {
        /// `report` or `certificates`.
        what: &'static str,
        /// The bound.
        most: usize,
        /// What came.
        got: usize,
    },
    /// The report ends inside a field.
    #[error("report: {field}: {missing} bytes are missing: truncated")]
    Truncated {
        /// The field that does not fit.
        field: &'static str,
        /// How many bytes it lacks.
        missing: usize,
    },
    /// Something follows a part that must be the last.
    #[error("report: {got} bytes after {part}: padded, or a length in it is wrong")]
    Trailing {
        /// The part that should end.
        part: &'static str,
        /// How many bytes follow.
        got: usize,
    },
    /// A byte of request or response that has one meaning here.
    #[error("report: {field}: expected {expected:#04x}, got {got:#04x}")]
    Field {
        /// Message and field, e.g. `GET_MEASUREMENTS.SPDMVersion`.
        field: &'static str,
        /// The accepted value.
        expected: u8,
        /// What came.
        got: u8,
    },
    /// A measurement block that is not of NVIDIA's form.
    #[error("report: measurement block {index}: {detail}")]
    Measurement {
        /// Index, 1 to 64 in a good block.
        index: u8,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// One index twice.
    #[error("report: measurement block {index}: occurs twice")]
    DuplicateMeasurement {
        /// Its index.
        index: u8,
    },
    /// An opaque field that is not of its form.
    #[error("report: opaque field {id} ({name}): {detail}")]
    Opaque {
        /// Its type.
        id: u16,
        /// NVIDIA's name for it.
        name: &'static str,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A field runs over the end of the opaque data.
    #[error("report: opaque field {id}: its length runs {missing} bytes over the end of the opaque data")]
    OpaqueOverrun {
        /// Its type.
        id: u16,
        /// By how many bytes.
        missing: usize,
    },
    /// One type twice.
    #[error("report: opaque field {id}: occurs twice")]
    DuplicateOpaque {
        /// Its type.
        id: u16,
    },
    /// Not PEM certificates one after the other.
    #[error("certificates: {detail}")]
    Pem {
        /// What is wrong.
        detail: &'static str,
    },
    /// Not leaf, BROM, provisioner, identity and root.
    #[error("certificates: expected 5 (leaf, BROM, provisioner, identity, root), got {got}")]
    ChainLength {
        /// How many came; 6 stands for more.
        got: usize,
    },
    /// The names do not lead from leaf to root.
    #[error(
        "{level} certificate: its issuer is not the subject of the next certificate: expected leaf, BROM, provisioner, identity and root in this order, all of one device"
    )]
    ChainOrder {
        /// The one whose issuer is not next.
        level: Level,
    },
    /// Not a certificate of the expected form.
    #[error("{level} certificate: {detail}")]
    Certificate {
        /// Which one.
        level: Level,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The certificate was not issued by the next one.
    #[error("{level} certificate: {detail}")]
    Link {
        /// Which one.
        level: Level,
        /// What is wrong between the two.
        detail: &'static str,
    },
    /// The chain ends nowhere we know.
    #[error(
        "{subject} is not NVIDIA's device identity root and no simulator root that was supplied: not NVIDIA hardware, or the simulator's root is missing"
    )]
    Root {
        /// CN of the last certificate.
        subject: String,
    },
    /// Past its notAfter.
    #[error("{level} certificate: notAfter is {not_after}, now is {now}")]
    Expired {
        /// Which one.
        level: Level,
        /// Its last second.
        not_after: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// Before its notBefore.
    #[error("{level} certificate: notBefore is {not_before}, now is {now}: is the verifier's clock right?")]
    NotYetValid {
        /// Which one.
        level: Level,
        /// Its first second.
        not_before: u64,
        /// The verifier's clock.
        now: u64,
    },
    /// The report's signature does not verify.
    #[error(
        "report: MEASUREMENTS.Signature: does not verify under the leaf certificate's key: the report was changed, or is another device's"
    )]
    Signature,
    /// A device family that this version does not know.
    #[error("arch: {what}: expected hopper (GH100), blackwell (GB1xx, GB2xx) or ls10 (LS_10), got {got}")]
    ArchUnknown {
        /// Where it was read.
        what: &'static str,
        /// What stands there.
        got: String,
    },
    /// The evidence is of another family than declared, or contradicts itself.
    #[error("arch: {what} says {got:?}, the leaf certificate says {certificate:?}")]
    ArchMismatch {
        /// Where the other one was read.
        what: &'static str,
        /// What it says.
        got: NvidiaArch,
        /// By the common name of the leaf certificate.
        certificate: NvidiaArch,
    },
    /// The report was signed for other firmware than the certificate was issued for.
    #[error("report: opaque field 20 (FWID): the leaf certificate says {}, got {}", certificate.as_ref().map_or_else(|| "nothing".into(), |f| hex_of(f)), hex_of(report))]
    Fwid {
        /// In the leaf certificate.
        certificate: Option<[u8; 48]>,
        /// In the report.
        report: [u8; 48],
    },
    /// A switch says it is another than its certificates do.
    #[error(
        "report: opaque field 22 (SWITCH_PDI): the BROM certificate says {}, got {}",
        hex_of(certificate),
        hex_of(report)
    )]
    Pdi {
        /// By the serial number of the BROM certificate.
        certificate: [u8; 8],
        /// In the report.
        report: [u8; 8],
    },
    /// Reference measurements.
    #[error(transparent)]
    Rim(#[from] RimError),
    /// OCSP answers.
    #[error(transparent)]
    Ocsp(#[from] OcspError),
    /// A simulator root that must not be one.
    #[error("simulator root: {detail}")]
    Anchor {
        /// What is wrong with it.
        detail: &'static str,
    },
}

impl NvidiaError {
    /// Stable dotted code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "nvidia.too_long",
            Self::Truncated { .. } => "nvidia.report.truncated",
            Self::Trailing { .. } => "nvidia.report.trailing",
            Self::Field { .. } => "nvidia.report.field",
            Self::Measurement { .. } => "nvidia.measurement.malformed",
            Self::DuplicateMeasurement { .. } => "nvidia.measurement.duplicate",
            Self::Opaque { .. } => "nvidia.opaque.malformed",
            Self::OpaqueOverrun { .. } => "nvidia.opaque.overrun",
            Self::DuplicateOpaque { .. } => "nvidia.opaque.duplicate",
            Self::Pem { .. } => "nvidia.cert.pem",
            Self::ChainLength { .. } => "nvidia.chain.length",
            Self::ChainOrder { .. } => "nvidia.chain.order",
            Self::Certificate { .. } => "nvidia.cert.malformed",
            Self::Link { .. } => "nvidia.chain.link",
            Self::Root { .. } => "nvidia.chain.root",
            Self::Expired { .. } => "nvidia.cert.expired",
            Self::NotYetValid { .. } => "nvidia.cert.not_yet_valid",
            Self::Signature => "nvidia.signature.invalid",
            Self::ArchUnknown { .. } => "nvidia.arch.unknown",
            Self::ArchMismatch { .. } => "nvidia.arch.mismatch",
            Self::Fwid { .. } => "nvidia.fwid.mismatch",
            Self::Pdi { .. } => "nvidia.pdi.mismatch",
            Self::Rim(e) => e.code(),
            Self::Ocsp(e) => e.code(),
            Self::Anchor { .. } => "nvidia.anchor.invalid",
        }
    }

    /// Whose fault.
    pub fn class(&self) -> Class {
        match self {
            Self::TooLong { .. }
            | Self::Truncated { .. }
            | Self::Trailing { .. }
            | Self::Field { .. }
            | Self::Measurement { .. }
            | Self::DuplicateMeasurement { .. }
            | Self::Opaque { .. }
            | Self::OpaqueOverrun { .. }
            | Self::DuplicateOpaque { .. }
            | Self::Pem { .. }
            | Self::ChainLength { .. }
            | Self::ChainOrder { .. }
            | Self::Certificate { .. }
            | Self::ArchUnknown { .. } => Class::Malformed,
            Self::Rim(e) => e.class(),
            Self::Ocsp(e) => e.class(),
            _ => Class::NotAuthentic,
        }
    }
}
