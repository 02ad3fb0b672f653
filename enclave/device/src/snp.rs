//! SEV-SNP evidence through configfs-tsm: the report is `outblob`, the host's certificate table `auxblob`.

use std::sync::Mutex;

use hanzo_attestation::Digest256;
use hanzo_attestation::bundle::{Base64, CpuEvidence, SnpEvidence};
use hanzo_attestation::snp::REPORT_BYTES;
use hanzo_attestation::statement::EvidenceRequest;
use tdx_attest_rs::{Machine, Provider, Request};

use crate::attester::{Attester, TimeSource};
use crate::certificate_table::CertificateTable;
use crate::cmdline;
use crate::endorsements::Endorsements;
use crate::error::DeviceError;

/// REPORT_DATA in the report (AMD 56860 table 23).
const REPORT_DATA_AT: usize = 0x50;
/// Flags word: bits 4:2 are SIGNING_KEY, 0 = VCEK, 1 = VLEK.
const FLAGS_AT: usize = 0x48;

/// The attester of a real SEV-SNP guest.
///
/// SecureTSC cannot be recognised from inside by this version, so [`Attester::time_source`] says `host`.
pub struct SnpConfigfs {
    machine: Machine,
    endorsements: Endorsements,
    one_at_a_time: Mutex<()>,
}

impl SnpConfigfs {
    /// Asks this kernel; `endorsements` fill in what the host's table lacks.
    pub fn new(machine: Machine, endorsements: Endorsements) -> Self {
        Self {
            machine,
            endorsements,
            one_at_a_time: Mutex::new(()),
        }
    }
}

impl Attester for SnpConfigfs {
    fn kind(&self) -> &'static str {
        "snp"
    }

    fn evidence(&self, request: &EvidenceRequest) -> Result<CpuEvidence, DeviceError> {
        // The firmware answers one at a time anyway, and throttles guests that ask too often.
        let _turn = self
            .one_at_a_time
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let asked = request.report_data();
        let report = self.machine.report(&Request::new(Provider::SevGuest, asked))?;
        let table = report.auxblob.unwrap_or_default();
        let evidence = assemble(report.outblob, &table, &self.endorsements, asked)?;
        Ok(CpuEvidence::Snp(evidence))
    }

    fn measured_config_digest(&self) -> Result<Digest256, DeviceError> {
        cmdline::config_digest_of(&self.machine.roots().proc.join("cmdline"))
    }

    fn time_source(&self) -> TimeSource {
        TimeSource::Host
    }
}

fn assemble(
    report: Vec<u8>,
    table: &[u8],
    endorsements: &Endorsements,
    report_data: &[u8; 64],
) -> Result<SnpEvidence, DeviceError> {
    if report.len() != REPORT_BYTES {
        return Err(DeviceError::Malformed {
            field: "outblob",
            expected: "1184 bytes",
            got: format!("{} bytes", report.len()),
        });
    }
    if report.get(REPORT_DATA_AT..REPORT_DATA_AT + 64) != Some(&report_data[..]) {
        return Err(DeviceError::ReportData);
    }
    let flags = report.get(FLAGS_AT).copied().unwrap_or(0xff);
    // A host that has no certificates gives an empty table or none.
    let certificates = match table {
        [] => CertificateTable::default(),
        table => CertificateTable::parse(table)?,
    };
    let (wanted, vek, ask) = match (flags >> 2) & 7 {
        0 => ("VCEK", certificates.vcek, certificates.ask),
        // The table's ASK is the one above the VCEK; the verifier has the ASVK of every product.
        1 => ("VLEK", certificates.vlek, None),
        other => {
            return Err(DeviceError::Malformed {
                field: "SIGNING_KEY",
                expected: "0 (VCEK) or 1 (VLEK)",
                got: other.to_string(),
            });
        }
    };
    // The table comes with the report, so it is newer than what was laid beside the guest.
    let (vek, ask) = match vek {
        Some(vek) => (Some(vek), ask),
        None => (endorsements.vek.clone(), endorsements.ask.clone()),
    };
    Ok(SnpEvidence {
        ask: ask.map(Base64),
        crl: certificates.crl.or_else(|| endorsements.crl.clone()).map(Base64),
        report: Base64(report),
        vek: Base64(vek.ok_or(DeviceError::NoCertificate { wanted })?),
    })
}
