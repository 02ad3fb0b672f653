//! AMD SEV-SNP attestation reports (AMD 56860, ABI revision 1.58; VCEK specification 57230).
//!
//! A report is 1184 bytes, signed by the processor's VCEK or a provider's VLEK. The certificate of that key chains over
//! an ASK or ASVK to an ARK; AMD's ARKs for Milan, Genoa and Turin are compiled in, and any other root makes the
//! result simulated. Layout, certificates, chain and lists each have a file of their own.

mod certificate;
mod chain;
mod crl;
mod cursor;
mod error;
mod fetched;
mod pinned;
mod product;
mod report;
pub mod roots;
mod tcb;
mod vek;

use std::any::Any;
use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};

use crate::bundle::{Base64, SnpEvidence};
use crate::evidence::{Anchors, Collateral, KnownSignatures, Revocation, UnixTime};
use certificate::Certificate;
use crl::Crl;
use report::ParsedReport;
use vek::VekCertificate;

pub use certificate::{CERTIFICATE_BYTES_MAX, Role};
pub use crl::{CRL_BYTES_MAX, CheckedCrl, check_crl};
pub use error::SnpError;
pub use fetched::{check_intermediate, check_product_crl, check_vcek};
pub use product::{CpuId, Product};
pub use report::{
    FirmwareVersion, GuestPolicy, PlatformInfo, REPORT_BYTES, SIGNED_BYTES, SigningKey, SnpReport, read_unauthenticated,
};
pub use tcb::TcbVersion;

/// Authenticated claims of an SNP guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnpClaims {
    /// The report.
    pub report: SnpReport,
    /// From the certificate and, from report version 3 on, CPUID as well.
    pub product: Product,
    /// VCEK or VLEK.
    pub signing_key: SigningKey,
    /// The provider that a VLEK belongs to (cspID), e.g. `CN=cc-us-east-2.amazonaws.com`; `None` for a VCEK.
    pub provider: Option<String>,
}

/// Kinds of documents that are kept once they are authentic.
const VEK: &str = "SNP VEK certificate";
const ASK: &str = "SNP ASK certificate";

/// Parsed, not authenticated.
pub struct ParsedSnp {
    signed: Vec<u8>,
    report: ParsedReport,
    vek: Read<VekCertificate>,
    ask: Option<Read<Certificate>>,
    crl: Option<Crl>,
}

/// A certificate of the evidence.
struct Read<T> {
    certificate: Arc<T>,
    /// Its bytes, unless it was known before.
    der: Option<Vec<u8>>,
}

impl<T: Any + Send + Sync> Read<T> {
    fn new(
        kind: &str,
        der: Vec<u8>,
        known: &KnownSignatures,
        parse: impl FnOnce(&[u8]) -> Result<T, SnpError>,
    ) -> Result<Self, SnpError> {
        if let Some(certificate) = known.read(kind, &der) {
            return Ok(Self { certificate, der: None });
        }
        Ok(Self {
            certificate: Arc::new(parse(&der)?),
            der: Some(der),
        })
    }

    /// Its signature verified.
    fn keep(&self, kind: &str, known: &KnownSignatures) {
        if let Some(der) = &self.der {
            known.keep(kind, der, &self.certificate);
        }
    }
}

impl std::fmt::Debug for ParsedSnp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "ParsedSnp(version {}, {:?})",
            self.report.report.version, self.report.product
        )
    }
}

/// Verified claims on their way into `Authentic`.
pub(crate) struct VerifiedSnp {
    pub(crate) claims: SnpClaims,
    pub(crate) simulated: bool,
    pub(crate) revocation: Revocation,
}

impl ParsedSnp {
    pub(crate) fn parse(raw: SnpEvidence) -> Result<Self, SnpError> {
        Self::parse_with(raw, &KnownSignatures::default())
    }

    pub(crate) fn parse_with(raw: SnpEvidence, known: &KnownSignatures) -> Result<Self, SnpError> {
        let SnpEvidence {
            ask,
            crl,
            report: Base64(bytes),
            vek,
        } = raw;
        report::check_head(&bytes)?;
        let vek = Read::new(VEK, vek.0, known, VekCertificate::parse)?;
        let report = ParsedReport::parse(&bytes, Some(vek.certificate.product))?;
        // An intermediate that is the compiled-in one, byte for byte, is not verified again.
        let pinned = roots::intermediate(vek.certificate.product, report.report.signing_key);
        let ask = ask
            .filter(|der| der.0 != pinned)
            .map(|der| Read::new(ASK, der.0, known, |der| Certificate::parse(Role::Ask, der)))
            .transpose()?;
        let crl = crl.map(|der| Crl::parse(&der.0)).transpose()?;
        let mut signed = bytes;
        signed.truncate(SIGNED_BYTES);
        Ok(Self {
            signed,
            report,
            vek,
            ask,
            crl,
        })
    }

    /// Kind of key, then chain from the root down, then the report's signature, and only then what the report says
    /// against what the certificate says.
    pub(crate) fn authenticate(
        self,
        anchors: &Anchors,
        collateral: &Collateral,
        now: UnixTime,
    ) -> Result<VerifiedSnp, SnpError> {
        let ParsedReport {
            product,
            report,
            signature,
        } = self.report;
        if report.mask_chip_key {
            return Err(SnpError::Masked);
        }
        let vek = &*self.vek.certificate;
        vek.check_kind(report.signing_key)?;
        let chain = chain::verify(
            vek,
            report.signing_key,
            self.ask.as_ref().map(|ask| &*ask.certificate),
            self.crl.as_ref(),
            anchors,
            collateral,
            now,
        )?;
        self.vek.keep(VEK, &collateral.known);
        if let Some(ask) = &self.ask {
            ask.keep(ASK, &collateral.known);
        }
        let point = vek.certificate.p384_point().ok_or(SnpError::Signature)?;
        let verified = collateral
            .known
            .verifies("ECDSA-P384-SHA384", point, &self.signed, &signature, || {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
                    .verify(&self.signed, &signature)
                    .is_ok()
            });
        if !verified {
            return Err(SnpError::Signature);
        }
        vek.check_endorses(&report)?;
        let signing_key = report.signing_key;
        let provider = vek
            .csp_id()
            .filter(|_| signing_key == SigningKey::Vlek)
            .map(str::to_owned);
        let claims = SnpClaims {
            report,
            product,
            signing_key,
            provider,
        };
        Ok(VerifiedSnp {
            claims,
            simulated: chain.simulated,
            revocation: chain.revocation,
        })
    }
}
