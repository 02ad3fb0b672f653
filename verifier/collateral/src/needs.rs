//! What evidence says it needs. Nothing here is authentic: it only decides what is asked for.

use der::Decode as _;
use hanzo_attestation::snp::{self, Product, REPORT_BYTES, SnpReport};

use crate::error::CollateralError;
use crate::key::PckCa;

/// FMSPC (1.2.840.113741.1.13.1.4) as it stands in a PCK certificate: the OID, then an OCTET STRING of 6 bytes.
const FMSPC: &[u8] = b"\x06\x0a\x2a\x86\x48\x86\xf8\x4d\x01\x0d\x01\x04\x04\x06";

/// An SNP report inside Azure's HCL report: after its header of 32 bytes.
const HCL_HEADER_BYTES: usize = 32;

/// A report and the product lines that it may be of: one, unless it is of version 2, which has no CPUID.
pub(crate) fn snp_report(bytes: &[u8]) -> Result<(Vec<Product>, SnpReport), CollateralError> {
    let evidence = |e: snp::SnpError| CollateralError::Evidence(e.into());
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

/// FMSPC and issuer of the PCK certificate in a TDX quote.
pub(crate) fn tdx_platform(quote: &[u8]) -> Result<([u8; 6], PckCa), CollateralError> {
    let wrong = |got| CollateralError::Input { got };
    let parsed = dcap_qvl::quote::Quote::parse(quote).map_err(|_| wrong("a TDX quote that cannot be read"))?;
    let chain = dcap_qvl::intel::extract_cert_chain(&parsed)
        .map_err(|_| wrong("a TDX quote without PCK certificates (certification data type 5)"))?;
    let pck = chain.first().ok_or(wrong("a TDX quote without a PCK certificate"))?;
    let at = pck.windows(FMSPC.len()).position(|w| w == FMSPC);
    let fmspc = at
        .and_then(|at| pck.get(at..)?.get(FMSPC.len()..)?.first_chunk::<6>())
        .ok_or(wrong("a PCK certificate without FMSPC"))?;
    let certificate =
        x509_cert::Certificate::from_der(pck).map_err(|_| wrong("a PCK certificate that cannot be read"))?;
    let mut names = certificate.tbs_certificate().issuer().iter();
    let name = names.find(|a| a.oid == der::oid::db::rfc4519::COMMON_NAME);
    let ca = name
        .and_then(|a| std::str::from_utf8(a.value.value()).ok())
        .and_then(PckCa::of_common_name)
        .ok_or(wrong("a PCK certificate of another issuer"))?;
    Ok((*fmspc, ca))
}
