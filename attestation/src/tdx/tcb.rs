//! Which TCB level a platform has: what Intel's TCB info, TDX module identities and QE identity say of the versions that
//! the quote and the PCK certificate name (Intel PCS API version 4, "TCB info V3").
//!
//! The documents' types, the comparison of versions ([`TcbLevel::shortfalls`]), the choice of the module identity and the
//! convergence of statuses are `dcap-qvl`'s. It keeps the order of levels and the relaunch rule of TD 1.5 to itself, so
//! these are here; the tests hold the results of both against each other.

use std::collections::BTreeSet;

use dcap_qvl::tcb_info::TcbStatusWithAdvisory;
use dcap_qvl::{QeIdentity, TcbInfo, TcbLevel, TcbStatus as Status};

use super::error::TdxError;
use super::qe::QeReport;
use super::quote::TdReport;
use super::time::rfc3339;
use super::{PckPlatform, TcbStatus};

/// What the collateral says of one quote.
pub(super) struct TcbVerdict {
    pub(super) status: TcbStatus,
    pub(super) advisories: BTreeSet<String>,
    /// The oldest tcbDate of the levels met.
    pub(super) date: u64,
}

/// Puts the levels in the order in which Intel's library tries them: highest first, whatever order the document has.
pub(super) fn sort_levels(info: &mut TcbInfo) {
    info.tcb_levels.sort_by(|a, b| {
        let (a, b) = (&a.tcb, &b.tcb);
        b.sgx_components
            .cmp(&a.sgx_components)
            .then_with(|| b.pce_svn.cmp(&a.pce_svn))
            .then_with(|| b.tdx_components.cmp(&a.tdx_components))
    });
}

/// Platform, TDX module and QE together.
pub(super) fn evaluate(
    info: &TcbInfo,
    identity: &QeIdentity,
    report: &TdReport,
    platform: &PckPlatform,
    qe: &QeReport,
) -> Result<TcbVerdict, TdxError> {
    let launch = Met::level(info, platform, &report.tee_tcb_svn)?;
    check_module(info, report)?;
    // A TD that outlived an update of the module has two versions; both must be ones that Intel knows.
    let current = report
        .td15
        .as_ref()
        .map(|td15| Met::level(info, platform, &td15.tee_tcb_svn2))
        .transpose()?;
    let qe = qe.level(identity)?;

    let qe_status = TcbStatusWithAdvisory::new(qe.tcb_status, Vec::new());
    let converged = |met: &Met| {
        TcbStatusWithAdvisory::new(met.status, Vec::new())
            .merge(&qe_status)
            .status
    };
    let launch_status = converged(&launch);
    let current_status = current.as_ref().map(converged);
    if launch_status == Status::Revoked || current_status == Some(Status::Revoked) {
        return Err(TdxError::TcbRevoked);
    }
    let status = current_status.map_or(launch_status, |current| relaunch(launch_status, current));
    let mut advisories: BTreeSet<String> = qe.advisory_ids.iter().cloned().collect();
    let mut date = rfc3339(&qe.tcb_date).ok_or(malformed("QE identity", "tcbDate is no UTC time"))?;
    for met in [Some(launch), current].into_iter().flatten() {
        date = date.min(met.date);
        advisories.extend(met.advisories);
    }
    Ok(TcbVerdict {
        status: status.into(),
        advisories,
        date,
    })
}

fn malformed(document: &'static str, detail: &'static str) -> TdxError {
    TdxError::CollateralMalformed { document, detail }
}

/// The platform's level, converged with the module's.
struct Met {
    status: Status,
    advisories: Vec<String>,
    date: u64,
}

impl Met {
    fn level(info: &TcbInfo, platform: &PckPlatform, tee_tcb_svn: &[u8; 16]) -> Result<Self, TdxError> {
        let level = platform_level(info, platform, tee_tcb_svn)?;
        let date = |text: &str| rfc3339(text).ok_or(malformed("TCB info", "tcbDate is no UTC time"));
        let mut met = Self {
            status: level.tcb_status,
            advisories: level.advisory_ids.clone(),
            date: date(&level.tcb_date)?,
        };
        let identity = info
            .tdx_module_identity(tee_tcb_svn)
            .map_err(|_| TdxError::ModuleUnknown {
                version: module_version(tee_tcb_svn),
            })?;
        let Some(identity) = identity else { return Ok(met) };
        let mut levels = identity.tcb_levels.iter();
        let level = levels
            .find(|level| level.shortfall(tee_tcb_svn).is_none())
            .ok_or(TdxError::ModuleLevel {
                isv_svn: tee_tcb_svn.first().copied().unwrap_or_default(),
            })?;
        if ![Status::UpToDate, Status::OutOfDate, Status::Revoked].contains(&level.tcb_status) {
            return Err(malformed("TCB info", "a status that a TDX module cannot have"));
        }
        let merged = TcbStatusWithAdvisory::new(met.status, Vec::new())
            .merge(&TcbStatusWithAdvisory::new(level.tcb_status, Vec::new()));
        met.status = merged.status;
        met.advisories.extend(level.advisory_ids.iter().cloned());
        met.date = met.date.min(date(&level.tcb_date)?);
        Ok(met)
    }
}

/// Second byte of TEE_TCB_SVN: 0 for modules before 1.5.
fn module_version(tee_tcb_svn: &[u8; 16]) -> u8 {
    tee_tcb_svn.get(1).copied().unwrap_or_default()
}

fn platform_level<'a>(
    info: &'a TcbInfo,
    platform: &PckPlatform,
    tee_tcb_svn: &[u8; 16],
) -> Result<&'a TcbLevel, TdxError> {
    for level in &info.tcb_levels {
        let short = level
            .shortfalls(&platform.cpu_svn, platform.pce_svn, Some(tee_tcb_svn))
            .map_err(|_| malformed("TCB info", "a TCB level has not 16 SGX and 16 TDX components"))?;
        if short.is_empty() {
            if matches!(
                level.tcb_status,
                Status::TDRelaunchAdvised | Status::TDRelaunchAdvisedConfigurationNeeded
            ) {
                return Err(malformed("TCB info", "a status that a platform cannot have"));
            }
            return Ok(level);
        }
    }
    Err(TdxError::TcbNoLevel)
}

/// MRSIGNERSEAM and SEAMATTRIBUTES are what the identity of this module version, or without one tdxModule, says.
fn check_module(info: &TcbInfo, report: &TdReport) -> Result<(), TdxError> {
    let base = info
        .tdx_module
        .as_ref()
        .ok_or(malformed("TCB info", "tdxModule is missing"))?;
    let identity = info
        .tdx_module_identity(&report.tee_tcb_svn)
        .map_err(|_| TdxError::ModuleUnknown {
            version: module_version(&report.tee_tcb_svn),
        })?;
    let (signer, attributes, mask) = match identity {
        Some(of_version) => (
            &of_version.mrsigner,
            &of_version.attributes,
            &of_version.attributes_mask,
        ),
        None => (&base.mrsigner, &base.attributes, &base.attributes_mask),
    };
    let signer: [u8; 48] = unhex(signer)?;
    if report.mr_signer_seam != signer {
        return Err(TdxError::ModuleSigner);
    }
    let (attributes, mask) = (u64::from_le_bytes(unhex(attributes)?), u64::from_le_bytes(unhex(mask)?));
    // A bit outside the mask is one that Intel does not vouch for.
    if report.seam_attributes != attributes & mask {
        return Err(TdxError::ModuleAttributes {
            expected: attributes & mask,
            got: report.seam_attributes,
        });
    }
    Ok(())
}

pub(super) fn unhex<const N: usize>(text: &str) -> Result<[u8; N], TdxError> {
    let mut out = [0; N];
    hex::decode_to_slice(text, &mut out).map_err(|_| malformed("TCB info", "a field is no hex of its length"))?;
    Ok(out)
}

/// Intel's rule for a TD that was launched under an older module than runs now (checkForRelaunch).
fn relaunch(launch: Status, current: Status) -> Status {
    let behind = |s| matches!(s, Status::OutOfDate | Status::OutOfDateConfigurationNeeded);
    let configuration = |s| {
        matches!(
            s,
            Status::ConfigurationNeeded
                | Status::OutOfDateConfigurationNeeded
                | Status::ConfigurationAndSWHardeningNeeded
        )
    };
    match (behind(launch), behind(current)) {
        (true, false) if configuration(launch) || configuration(current) => {
            Status::TDRelaunchAdvisedConfigurationNeeded
        }
        (true, false) => Status::TDRelaunchAdvised,
        _ => launch,
    }
}

impl From<Status> for TcbStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::UpToDate => Self::UpToDate,
            Status::SWHardeningNeeded => Self::SwHardeningNeeded,
            Status::ConfigurationNeeded => Self::ConfigurationNeeded,
            Status::ConfigurationAndSWHardeningNeeded => Self::ConfigurationAndSwHardeningNeeded,
            Status::TDRelaunchAdvised => Self::TdRelaunchAdvised,
            Status::TDRelaunchAdvisedConfigurationNeeded => Self::TdRelaunchAdvisedConfigurationNeeded,
            Status::OutOfDate => Self::OutOfDate,
            Status::OutOfDateConfigurationNeeded => Self::OutOfDateConfigurationNeeded,
            Status::Revoked => Self::Revoked,
        }
    }
}
