//! Evidence in other projects' formats: read, never written, and never believed.
//!
//! A reader takes bytes apart into the wire structs of [`crate::bundle`], so that foreign evidence goes through the very
//! code that our own goes through, and recomputes what the format says must have been signed ([`Rule`]). What a document
//! says of itself (a digest, a nonce beside the evidence) counts for nothing: it is recomputed and compared.
//!
//! | format | where |
//! |---|---|
//! | the `cpu` member of a bundle alone | `member` |
//! | bare SNP report, extended report, TDX quote, configfs-tsm output, NVIDIA report | [`raw`] |
//! | NVIDIA attestation SDK, serialised evidence | `nvidia` |
//! | Confidential Containers evidence, RCAR 0.4.0 `attest` | `coco`, `rcar` |
//! | Tinfoil attestation document, version 3 | `tinfoil` |
//! | ACI `aci/1` | `aci` |
//! | dstack: quote answer, VersionedAttestation 0 and 1, RA-TLS certificate | `dstack` |
//!
//! # Does not establish
//! Anything: reading checks shapes. `RawEvidence::authenticate` and [`crate::binding::bind_foreign`] come after.
//!
//! # Errors
//! [`ForeignError`]. Documents are at most [`DOCUMENT_BYTES_MAX`] long; no JSON object may name a member twice.

mod aci;
mod coco;
mod detect;
mod dstack;
mod encoding;
mod error;
mod format;
mod json;
mod member;
mod nvidia;
pub mod raw;
mod rcar;
mod rule;
mod tinfoil;

use crate::bundle::{Base64, DeviceCollateral, DeviceEvidence, SnpEvidence, TdxCollateral, TdxEvidence};
use crate::evidence::RawEvidence;

pub use detect::detect;
pub use error::ForeignError;
pub use format::ForeignFormat;
pub use json::{JSON_DEPTH_MAX, json_without_duplicates};
pub use rcar::devices_of_additional_evidence;
pub use rule::{ForeignExpectation, Rule};

/// Longest document in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 2 << 20;

/// What the caller adds because it did not travel with the evidence. What did travel wins; either is verified the same way.
#[derive(Debug, Clone, Default)]
pub struct Supplied {
    /// VCEK or VLEK certificate, DER.
    pub vek: Option<Vec<u8>>,
    /// ASK or ASVK certificate, DER.
    pub ask: Option<Vec<u8>>,
    /// ARK-signed CRL, DER.
    pub crl: Option<Vec<u8>>,
    /// Intel's collateral.
    pub tdx: Option<TdxCollateral>,
    /// CCEL or TCG event log.
    pub event_log: Option<Vec<u8>>,
    /// Certificates of the TPM's attestation key, DER, leaf first.
    pub ak_certificates: Vec<Vec<u8>>,
    /// Certificate chain of the one device whose bare report is read, PEM, leaf first.
    pub device_certificates: Option<Vec<u8>>,
    /// RIMs and OCSP answers.
    pub devices: DeviceCollateral,
    /// The caller's challenge, for a format whose document leaves it out (ACI).
    pub nonce: Option<[u8; 32]>,
}

/// A part of the document that is worth keeping and that nothing here judges: keys, logs, configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What the format calls it.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A foreign document, taken apart. Only the readers make one, so that its rule is always a recomputed one:
/// ```compile_fail,E0451
/// use hanzo_attestation::foreign::{ForeignEvidence, Rule};
/// fn forge(evidence: ForeignEvidence, rule: Rule) -> ForeignEvidence {
///     ForeignEvidence { rule, ..evidence }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct ForeignEvidence {
    rule: Rule,
    primary: Option<RawEvidence>,
    devices: Vec<DeviceEvidence>,
    stapled: DeviceCollateral,
    not_after: Option<u64>,
    documents: Vec<Document>,
}

impl ForeignEvidence {
    /// Reads a document of `format`.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub fn read(format: ForeignFormat, bytes: &[u8], supplied: &Supplied) -> Result<Self, ForeignError> {
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(ForeignError::TooLarge {
                format,
                got: bytes.len(),
                most: DOCUMENT_BYTES_MAX,
            });
        }
        match format {
            ForeignFormat::Bundle => Err(ForeignError::Unsupported {
                format,
                what: "this project's own bundle",
                help: "read it with verify_bundle or read_bundle",
            }),
            ForeignFormat::Member => member::read(bytes, supplied),
            ForeignFormat::SnpReport => raw::snp_report(bytes, supplied),
            ForeignFormat::SnpExtendedReport => raw::snp_extended_report(bytes, supplied),
            ForeignFormat::TdxQuote => raw::tdx_quote(bytes, supplied),
            ForeignFormat::NvidiaReport => raw::nvidia_report(bytes, supplied),
            ForeignFormat::NvidiaSdk => nvidia::read(bytes, supplied),
            ForeignFormat::CocoSnp
            | ForeignFormat::CocoTdx
            | ForeignFormat::CocoAzSnpVtpm
            | ForeignFormat::CocoAzTdxVtpm
            | ForeignFormat::CocoTpm
            | ForeignFormat::CocoNvidia => coco::read(format, bytes, supplied),
            ForeignFormat::Rcar => rcar::read(bytes, supplied),
            ForeignFormat::TinfoilV3 => tinfoil::read(bytes, supplied),
            ForeignFormat::TinfoilV2 => Err(ForeignError::Unsupported {
                format,
                what: "version 2, which covers no nonce and no device",
                help: "ask the guest for a version 3 document: add ?nonce= and 64 hexadecimal digits",
            }),
            ForeignFormat::Aci => aci::read(bytes, supplied),
            ForeignFormat::DstackQuote => dstack::read_quote_answer(bytes, supplied),
            ForeignFormat::DstackAttestation => dstack::read_attestation(bytes, supplied),
            ForeignFormat::DstackRaTls => dstack::read_certificate(bytes, supplied),
        }
    }

    /// The format.
    pub fn format(&self) -> ForeignFormat {
        self.rule.format
    }

    /// What must have been signed, recomputed.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Evidence of the CPU or TPM; `None` for devices alone.
    pub fn primary(&self) -> Option<&RawEvidence> {
        self.primary.as_ref()
    }

    /// The devices.
    pub fn devices(&self) -> &[DeviceEvidence] {
        &self.devices
    }

    /// RIMs and OCSP answers that came along or were supplied.
    pub fn stapled(&self) -> &DeviceCollateral {
        &self.stapled
    }

    /// Last second at which the document's keys count, by its own word, which the signature covers.
    pub fn not_after(&self) -> Option<u64> {
        self.not_after
    }

    /// The other parts.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    fn new(rule: Rule, primary: Option<RawEvidence>, supplied: &Supplied) -> Self {
        Self {
            rule,
            primary,
            devices: Vec::new(),
            stapled: supplied.devices.clone(),
            not_after: None,
            documents: Vec::new(),
        }
    }

    fn with_devices(mut self, devices: Vec<DeviceEvidence>) -> Self {
        self.devices = devices;
        self
    }

    fn with_document(mut self, name: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        self.documents.push(Document {
            name,
            bytes: bytes.into(),
        });
        self
    }
}

/// SNP evidence from a report and whatever endorses it.
fn snp(
    format: ForeignFormat,
    report: Vec<u8>,
    stapled: raw::CertificateTable,
    supplied: &Supplied,
) -> Result<RawEvidence, ForeignError> {
    let vek = stapled
        .vcek
        .or(stapled.vlek)
        .or_else(|| supplied.vek.clone())
        .ok_or(ForeignError::Missing {
            format,
            what: "the VCEK or VLEK certificate, which neither came along nor was supplied",
        })?;
    Ok(RawEvidence::Snp(SnpEvidence {
        ask: stapled.ask.or_else(|| supplied.ask.clone()).map(Base64),
        crl: stapled.crl.or_else(|| supplied.crl.clone()).map(Base64),
        report: Base64(report),
        vek: Base64(vek),
    }))
}

/// TDX evidence from a quote and whatever endorses it.
fn tdx(
    quote: Vec<u8>,
    event_log: Option<Vec<u8>>,
    collateral: Option<TdxCollateral>,
    supplied: &Supplied,
) -> RawEvidence {
    RawEvidence::Tdx(TdxEvidence {
        collateral: collateral.or_else(|| supplied.tdx.clone()),
        event_log: event_log.or_else(|| supplied.event_log.clone()).map(Base64),
        quote: Base64(quote),
    })
}
