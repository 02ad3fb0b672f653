//! Guests under Azure's paravisor: the CPU vouches for the variable data, they for the AK, the AK for the guest's registers.

use super::hcl::{HclError, HclKind, HclReport, TdReportStruct, VarData};
use super::quote::ParsedQuote;
use super::{AkOrigin, AzSnpClaims, AzTdxClaims, HclClaims, TpmClaims, TpmError, Verified};
use crate::bundle::{AzSnpEvidence, AzTdxEvidence, Base64, SnpEvidence, TpmQuote};
use crate::digest::Digest256;
use crate::evidence::{Anchors, AttestationError, Collateral, UnixTime};
use crate::snp::ParsedSnp;
use crate::tdx::ParsedTdx;

/// The parts that both kinds have.
#[derive(Debug)]
struct Paravised {
    var_data: Vec<u8>,
    read: VarData,
    quote: ParsedQuote,
    event_log: Option<Base64>,
}

impl Paravised {
    fn parse(var_data: Vec<u8>, quote: TpmQuote, event_log: Option<Base64>) -> Result<Self, TpmError> {
        Ok(Self {
            read: VarData::parse(&var_data)?,
            quote: ParsedQuote::parse(quote)?,
            var_data,
            event_log,
        })
    }

    /// `report_data` is the CPU's. The whole field is compared: 32 bytes of hash and 32 zeros.
    fn authenticate(self, report_data: &[u8; 64]) -> Result<(TpmClaims, HclClaims), AttestationError> {
        let expected = [Digest256::of(&self.var_data).0, [0; 32]].concat();
        if expected != report_data {
            return Err(TpmError::from(HclError::Binding).into());
        }
        let log = self.event_log.as_ref().map(|log| log.0.as_slice());
        let tpm = self.quote.authenticate(&self.read.ak, AkOrigin::CpuEvidence, log)?;
        let hcl = HclClaims {
            var_data: self.var_data,
            user_data: self.read.user_data,
            configuration: self.read.configuration,
        };
        Ok((tpm, hcl))
    }
}

fn hcl_report(bytes: &[u8], expected: HclKind) -> Result<HclReport, TpmError> {
    let report = HclReport::parse(bytes)?;
    let word = |kind| match kind {
        HclKind::Snp => "SNP",
        HclKind::Tdx => "TDX",
    };
    if report.kind == expected {
        Ok(report)
    } else {
        let (expected, got) = (word(expected), word(report.kind));
        Err(HclError::Kind { expected, got }.into())
    }
}

/// Parsed, not authenticated.
#[derive(Debug)]
pub struct ParsedAzSnp {
    snp: ParsedSnp,
    guest: Paravised,
}

impl ParsedAzSnp {
    pub(crate) fn parse(raw: AzSnpEvidence) -> Result<Self, AttestationError> {
        let hcl = hcl_report(&raw.hcl_report.0, HclKind::Snp)?;
        let snp = SnpEvidence {
            ask: raw.ask,
            crl: raw.crl,
            report: Base64(hcl.hardware_report),
            vek: raw.vek,
        };
        Ok(Self {
            snp: ParsedSnp::parse(snp)?,
            guest: Paravised::parse(hcl.var_data, raw.quote, raw.event_log)?,
        })
    }

    pub(crate) fn authenticate(
        self,
        anchors: &Anchors,
        collateral: &Collateral,
        now: UnixTime,
    ) -> Result<Verified<AzSnpClaims>, AttestationError> {
        let cpu = self.snp.authenticate(anchors, collateral, now)?;
        let (tpm, hcl) = self.guest.authenticate(&cpu.claims.report.report_data)?;
        Ok(Verified {
            claims: AzSnpClaims {
                snp: cpu.claims,
                tpm,
                hcl,
            },
            simulated: cpu.simulated,
            revocation: cpu.revocation,
        })
    }
}

/// Parsed, not authenticated.
#[derive(Debug)]
pub struct ParsedAzTdx {
    tdx: ParsedTdx,
    td_report: TdReportStruct,
    guest: Paravised,
}

impl ParsedAzTdx {
    pub(crate) fn parse(raw: AzTdxEvidence) -> Result<Self, AttestationError> {
        if raw.td.event_log.is_some() {
            return Err(TpmError::from(HclError::EventLog).into());
        }
        let hcl = hcl_report(&raw.hcl_report.0, HclKind::Tdx)?;
        Ok(Self {
            tdx: ParsedTdx::parse(raw.td)?,
            td_report: TdReportStruct::parse(&hcl.hardware_report).map_err(TpmError::from)?,
            guest: Paravised::parse(hcl.var_data, raw.quote, raw.event_log)?,
        })
    }

    /// First what holds inside the evidence, which needs no collateral, then the quote that all of it hangs on.
    pub(crate) fn authenticate(
        self,
        anchors: &Anchors,
        collateral: &Collateral,
        now: UnixTime,
    ) -> Result<Verified<AzTdxClaims>, AttestationError> {
        let report = self.tdx.read_unauthenticated();
        self.td_report.check_is_of(report).map_err(TpmError::from)?;
        let (tpm, hcl) = self.guest.authenticate(&report.report_data)?;
        let cpu = self.tdx.authenticate(anchors, collateral, now)?;
        Ok(Verified {
            claims: AzTdxClaims {
                tdx: cpu.claims,
                tpm,
                hcl,
            },
            simulated: cpu.simulated,
            revocation: cpu.revocation,
        })
    }
}
