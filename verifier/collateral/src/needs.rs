//! What evidence says it needs: whatever decides what is asked for, and of whom.

use hanzo_attestation::bundle::TdxEvidence;
use hanzo_attestation::snp::{self, Product, REPORT_BYTES, SnpReport};
use hanzo_attestation::tdx::ParsedTdx;
use hanzo_attestation::{Anchors, AttestationError, UnixTime};

use crate::error::CollateralError;
use crate::key::PckCa;

/// An SNP report inside Azure's HCL report: after its header of 32 bytes.
const HCL_HEADER_BYTES: usize = 32;

/// A report and the product lines that it may be of: one, unless it is of version 2, which has no CPUID.
pub(crate) fn snp_report(bytes: &[u8]) -> Result<(Vec<Product>, SnpReport), CollateralError> {
    let evidence = |e: snp::SnpError| CollateralError::from(AttestationError::from(e));
    let mut candidates: Vec<(Product, SnpReport)> = Vec::new();
    match snp::read_unauthenticated(bytes, None) {
        Ok(read) => candidates.push(read),
        Err(e) => {
            for product in [Product::Milan, Product::Genoa] {
                candidates.extend(snp::read_unauthenticated(bytes, Some(product)));
            }
            if candidates.is_empty() {
                return Err(evidence(e));
            }
        }
    }
    let products = candidates.iter().map(|(p, _)| *p).collect();
    let report = candidates.into_iter().next().map(|(_, r)| r);
    Ok((products, report.ok_or(CollateralError::Input { got: "no report" })?))
}

/// The SNP report inside an HCL report.
pub(crate) fn hcl_snp_report(hcl: &[u8]) -> Result<&[u8], CollateralError> {
    hcl.get(HCL_HEADER_BYTES..)
        .and_then(|rest| rest.get(..REPORT_BYTES))
        .ok_or(CollateralError::Input {
            got: "an HCL report that is too short for an SNP report",
        })
}

/// FMSPC and issuer of the PCK certificate in a TDX quote whose signatures hold.
pub(crate) fn tdx_platform(
    evidence: &TdxEvidence,
    anchors: &Anchors,
    now: UnixTime,
) -> Result<([u8; 6], PckCa), CollateralError> {
    let wrong = |e| CollateralError::from(AttestationError::Tdx(e));
    let quote = ParsedTdx::parse(evidence.clone()).map_err(wrong)?;
    quote.check_signatures(anchors, now).map_err(wrong)?;
    let ca = PckCa::of_common_name(&quote.claimed_pck_ca()).ok_or(CollateralError::NotFetchable {
        what: "Intel TDX collateral",
        detail: "the PCK certificate's issuer is neither Intel's processor CA nor its platform CA",
    })?;
    Ok((quote.claimed_fmspc(), ca))
}
