//! Evidence without a wrapping: the bytes that devices and kernels hand out.

use super::encoding::{Fields, pem_blocks};
use super::{ForeignError, ForeignEvidence, ForeignFormat, Rule, Supplied, snp, tdx};
use crate::bundle::{Base64, DeviceEvidence};
use crate::snp::REPORT_BYTES;

mod table;

pub use table::CertificateTable;

/// Longest quote in bytes; today's are about 5000, and the quoting library pads to 8000.
const QUOTE_BYTES_MAX: usize = 16 << 10;
/// Longest SPDM report in bytes.
const DEVICE_REPORT_BYTES_MAX: usize = 64 << 10;

/// ATTESTATION_REPORT alone; certificates are supplied.
///
/// # Errors
/// [`ForeignError`].
pub fn snp_report(report: &[u8], supplied: &Supplied) -> Result<ForeignEvidence, ForeignError> {
    let format = ForeignFormat::SnpReport;
    let primary = snp(
        format,
        exact_report(format, report)?,
        CertificateTable::default(),
        supplied,
    )?;
    Ok(ForeignEvidence::new(Rule::unstated(format), Some(primary), supplied))
}

/// ATTESTATION_REPORT followed by the host's certificate table.
///
/// # Errors
/// [`ForeignError`].
pub fn snp_extended_report(bytes: &[u8], supplied: &Supplied) -> Result<ForeignEvidence, ForeignError> {
    let format = ForeignFormat::SnpExtendedReport;
    let (report, table) = bytes.split_at_checked(REPORT_BYTES).ok_or(ForeignError::Field {
        format,
        field: "ATTESTATION_REPORT",
        expected: "1184 bytes before the certificate table",
    })?;
    let table = CertificateTable::parse(format, table)?;
    let primary = snp(format, exact_report(format, report)?, table, supplied)?;
    Ok(ForeignEvidence::new(Rule::unstated(format), Some(primary), supplied))
}

/// A TDX quote, version 4 or 5.
///
/// # Errors
/// [`ForeignError`].
pub fn tdx_quote(quote: &[u8], supplied: &Supplied) -> Result<ForeignEvidence, ForeignError> {
    let format = ForeignFormat::TdxQuote;
    let primary = tdx(exact_quote(format, quote)?, None, None, supplied);
    Ok(ForeignEvidence::new(Rule::unstated(format), Some(primary), supplied))
}

/// What the kernel's configfs-tsm interface gave: `provider`, `outblob` and, if there is one, `auxblob`.
///
/// # Errors
/// [`ForeignError`]; [`ForeignError::Unsupported`] for providers other than `sev_guest` and `tdx_guest`.
///
/// # Spec
/// Linux, Documentation/ABI/testing/configfs-tsm-report.
pub fn configfs_tsm(
    provider: &str,
    outblob: &[u8],
    auxblob: Option<&[u8]>,
    supplied: &Supplied,
) -> Result<ForeignEvidence, ForeignError> {
    match provider.trim_end_matches('\n') {
        "sev_guest" => {
            let format = ForeignFormat::SnpReport;
            let table = match auxblob {
                Some(blob) if !blob.is_empty() => CertificateTable::parse(format, blob)?,
                _ => CertificateTable::default(),
            };
            let primary = snp(format, exact_report(format, outblob)?, table, supplied)?;
            Ok(ForeignEvidence::new(Rule::unstated(format), Some(primary), supplied))
        }
        "tdx_guest" => tdx_quote(outblob, supplied),
        _ => Err(ForeignError::Unsupported {
            format: ForeignFormat::SnpReport,
            what: "configfs-tsm output of a provider other than sev_guest and tdx_guest",
            help: "use a kernel whose provider file says one of these",
        }),
    }
}

/// SPDM GET_MEASUREMENTS request and response of one NVIDIA device; its certificates are supplied.
///
/// # Errors
/// [`ForeignError`].
pub fn nvidia_report(report: &[u8], supplied: &Supplied) -> Result<ForeignEvidence, ForeignError> {
    let format = ForeignFormat::NvidiaReport;
    let certificates = supplied.device_certificates.clone().ok_or(ForeignError::Missing {
        format,
        what: "the device's certificate chain, PEM, which does not travel with a bare report",
    })?;
    if report.is_empty() || report.len() > DEVICE_REPORT_BYTES_MAX {
        return Err(ForeignError::Field {
            format,
            field: "report",
            expected: "1 to 65536 bytes",
        });
    }
    let device = DeviceEvidence {
        arch: declared_arch(format, &certificates)?.to_owned(),
        certificates: Base64(certificates),
        kind: "nvidia".to_owned(),
        report: Base64(report.to_vec()),
    };
    let mut rule = Rule::unstated(format);
    // A bare report says of itself which nonce it answers; it is that one, or another is not authentic.
    rule.device_nonce = report.get(4..).and_then(|r| r.first_chunk::<32>()).copied();
    rule.nonce = rule.device_nonce.map(Vec::from);
    Ok(ForeignEvidence::new(rule, None, supplied).with_devices(vec![device]))
}

/// A bare report declares no architecture, and evidence must. The name in the leaf certificate stands in: whether it is
/// right is decided where the certificates are verified.
fn declared_arch(format: ForeignFormat, chain: &[u8]) -> Result<&'static str, ForeignError> {
    let leaf = std::str::from_utf8(chain)
        .ok()
        .and_then(pem_blocks)
        .and_then(|blocks| blocks.into_iter().next())
        .ok_or(ForeignError::Field {
            format,
            field: "certificates",
            expected: "certificates in PEM, leaf first",
        })?;
    let names = |word: &[u8]| leaf.windows(word.len()).any(|w| w == word);
    [
        (&b"GH100 "[..], "hopper"),
        (&b"GB100 "[..], "blackwell"),
        (&b"LS_10 "[..], "ls10"),
    ]
    .into_iter()
    .find_map(|(word, arch)| names(word).then_some(arch))
    .ok_or(ForeignError::Unsupported {
        format,
        what: "a device whose certificate names neither GH100, GB100 nor LS_10",
        help: "use a newer verifier",
    })
}

pub(super) fn exact_report(format: ForeignFormat, report: &[u8]) -> Result<Vec<u8>, ForeignError> {
    if report.len() == REPORT_BYTES {
        return Ok(report.to_vec());
    }
    Err(ForeignError::Field {
        format,
        field: "ATTESTATION_REPORT",
        expected: "1184 bytes",
    })
}

pub(super) fn exact_quote(format: ForeignFormat, quote: &[u8]) -> Result<Vec<u8>, ForeignError> {
    if (48..=QUOTE_BYTES_MAX).contains(&quote.len()) {
        return Ok(quote.to_vec());
    }
    Err(ForeignError::Field {
        format,
        field: "quote",
        expected: "48 to 16384 bytes",
    })
}

impl Fields {
    /// A quote in hexadecimal.
    pub(super) fn hex_quote(self, field: &'static str, text: &str) -> Result<Vec<u8>, ForeignError> {
        exact_quote(self.0, &self.hex(field, text)?)
    }
}
