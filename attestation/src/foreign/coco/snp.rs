//! `snp`: the fields of a report by name, as crate `sev` writes them, from which the 1184 signed bytes are rebuilt.
//!
//! Nothing is lost that the signature covers: reserved bytes are zero in every report that this project accepts, and a
//! report that had others fails its signature here.

use serde::Deserialize;

use crate::evidence::RawEvidence;
use crate::foreign::encoding::Fields;
use crate::foreign::raw::{CertificateTable, exact_report};
use crate::foreign::{ForeignError, ForeignFormat, Supplied};
use crate::snp::REPORT_BYTES;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Snp {
    attestation_report: ReportForm,
    cert_chain: Option<Vec<Certificate>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ReportForm {
    /// The raw bytes, standard base64.
    Raw(String),
    Fields(Box<Report>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Certificate {
    cert_type: String,
    data: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    version: u32,
    guest_svn: u32,
    policy: u64,
    family_id: Vec<u8>,
    image_id: Vec<u8>,
    vmpl: u32,
    sig_algo: u32,
    current_tcb: Tcb,
    plat_info: u64,
    key_info: u32,
    report_data: Vec<u8>,
    measurement: Vec<u8>,
    host_data: Vec<u8>,
    id_key_digest: Vec<u8>,
    author_key_digest: Vec<u8>,
    report_id: Vec<u8>,
    report_id_ma: Vec<u8>,
    reported_tcb: Tcb,
    cpuid_fam_id: Option<u8>,
    cpuid_mod_id: Option<u8>,
    cpuid_step: Option<u8>,
    chip_id: Vec<u8>,
    committed_tcb: Tcb,
    current: Version,
    committed: Version,
    launch_tcb: Tcb,
    launch_mit_vector: Option<u64>,
    current_mit_vector: Option<u64>,
    signature: Signature,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tcb {
    fmc: Option<u8>,
    bootloader: u8,
    tee: u8,
    snp: u8,
    microcode: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Version {
    major: u8,
    minor: u8,
    build: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    r: Vec<u8>,
    s: Vec<u8>,
}

pub(super) fn read(format: ForeignFormat, evidence: Snp, supplied: &Supplied) -> Result<RawEvidence, ForeignError> {
    let report = match evidence.attestation_report {
        ReportForm::Raw(text) => exact_report(format, &Fields(format).base64("attestation_report", &text)?)?,
        ReportForm::Fields(report) => rebuild(format, &report)?,
    };
    let table = certificates(format, evidence.cert_chain.unwrap_or_default())?;
    crate::foreign::snp(format, report, table, supplied)
}

/// The certificates that count. An ARK that came along is dropped: roots are pinned.
fn certificates(format: ForeignFormat, chain: Vec<Certificate>) -> Result<CertificateTable, ForeignError> {
    let mut out = CertificateTable::default();
    for certificate in chain {
        let slot = match certificate.cert_type.as_str() {
            "VCEK" => &mut out.vcek,
            "VLEK" => &mut out.vlek,
            "ASK" | "ASVK" => &mut out.ask,
            "CRL" => &mut out.crl,
            _ => continue,
        };
        if slot.replace(certificate.data).is_some() {
            return Err(ForeignError::Field {
                format,
                field: "cert_chain",
                expected: "each kind of certificate once",
            });
        }
    }
    if out.vcek.is_some() && out.vlek.is_some() {
        return Err(ForeignError::Field {
            format,
            field: "cert_chain",
            expected: "a VCEK or a VLEK, not both",
        });
    }
    Ok(out)
}

/// Writes the fields at their offsets (56860, table 23).
fn rebuild(format: ForeignFormat, report: &Report) -> Result<Vec<u8>, ForeignError> {
    let field = |field, bytes: &[u8], expected: usize| {
        (bytes.len() == expected)
            .then(|| bytes.to_vec())
            .ok_or(ForeignError::Field {
                format,
                field,
                expected: "as many bytes as ATTESTATION_REPORT has there",
            })
    };
    let mut out = Vec::with_capacity(REPORT_BYTES);
    out.extend(report.version.to_le_bytes());
    out.extend(report.guest_svn.to_le_bytes());
    out.extend(report.policy.to_le_bytes());
    out.extend(field("family_id", &report.family_id, 16)?);
    out.extend(field("image_id", &report.image_id, 16)?);
    out.extend(report.vmpl.to_le_bytes());
    out.extend(report.sig_algo.to_le_bytes());
    out.extend(tcb(&report.current_tcb));
    out.extend(report.plat_info.to_le_bytes());
    out.extend(report.key_info.to_le_bytes());
    out.extend([0; 4]);
    out.extend(field("report_data", &report.report_data, 64)?);
    out.extend(field("measurement", &report.measurement, 48)?);
    out.extend(field("host_data", &report.host_data, 32)?);
    out.extend(field("id_key_digest", &report.id_key_digest, 48)?);
    out.extend(field("author_key_digest", &report.author_key_digest, 48)?);
    out.extend(field("report_id", &report.report_id, 32)?);
    out.extend(field("report_id_ma", &report.report_id_ma, 32)?);
    out.extend(tcb(&report.reported_tcb));
    let cpuid = [report.cpuid_fam_id, report.cpuid_mod_id, report.cpuid_step];
    out.extend(cpuid.map(|id| id.unwrap_or(0)));
    out.extend([0; 21]);
    out.extend(field("chip_id", &report.chip_id, 64)?);
    out.extend(tcb(&report.committed_tcb));
    for version in [&report.current, &report.committed] {
        out.extend([version.build, version.minor, version.major, 0]);
    }
    out.extend(tcb(&report.launch_tcb));
    for vector in [report.launch_mit_vector, report.current_mit_vector] {
        out.extend(vector.unwrap_or(0).to_le_bytes());
    }
    out.extend([0; 152]);
    out.extend(field("signature.r", &report.signature.r, 72)?);
    out.extend(field("signature.s", &report.signature.s, 72)?);
    out.extend([0; 368]);
    exact_report(format, &out)
}

/// Turin has an FMC and packs the numbers together; the others leave four bytes between TEE and SNP.
fn tcb(tcb: &Tcb) -> [u8; 8] {
    match tcb.fmc {
        Some(fmc) => [fmc, tcb.bootloader, tcb.tee, tcb.snp, 0, 0, 0, tcb.microcode],
        None => [tcb.bootloader, tcb.tee, 0, 0, 0, 0, tcb.snp, tcb.microcode],
    }
}
