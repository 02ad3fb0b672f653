//! Which references the evidence equals, whatever its kind.

use hanzo_attestation::name::Name;

use hanzo_attestation::tdx::TdxClaims;
use hanzo_attestation::tpm::TpmClaims;
use hanzo_attestation::{Digest256, Digest384};

use crate::facts::{Facts, Kind, Link};
use crate::policy::AppraisalPolicy;
use crate::policy::tpm::TpmReference;

/// A reference whose measurement is the evidence's, with the configuration that belongs to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured<'p> {
    pub(crate) name: &'p Name,
    pub(crate) config_digest: &'p Digest256,
}

/// The references that measure what the evidence measures. Of a paravisor's guest the vTPM's registers say which image it
/// is; the paravisor's own measurement says only which vTPM.
pub(crate) fn measured<'p>(facts: &Facts<'_>, policy: &'p AppraisalPolicy) -> Vec<Measured<'p>> {
    let mut out = Vec::new();
    if facts.kind == Kind::Guest {
        if let (Some(claims), Some(table)) = (facts.snp, &policy.snp) {
            let got = Digest384(claims.report.measurement);
            out.extend(
                table
                    .references
                    .iter()
                    .filter(|r| r.measurement == got)
                    .map(|r| Measured {
                        name: &r.name,
                        config_digest: &r.config_digest,
                    }),
            );
        }
        if let (Some(claims), Some(table)) = (facts.tdx, &policy.tdx) {
            let got = td_registers(claims);
            out.extend(
                table
                    .references
                    .iter()
                    .filter(|r| r.registers() == got)
                    .map(|r| Measured {
                        name: &r.name,
                        config_digest: &r.config_digest,
                    }),
            );
        }
    } else if let (Some(claims), Some(table)) = (facts.tpm, &policy.tpm) {
        out.extend(
            table
                .references
                .iter()
                .filter(|r| has_pcrs(claims, r))
                .map(|r| Measured {
                    name: &r.name,
                    config_digest: &r.config_digest,
                }),
        );
    }
    out
}

/// Of those, the one whose configuration is the keyset's; without a keyset the measurement stands for both.
pub(crate) fn matching<'p>(facts: &Facts<'_>, policy: &'p AppraisalPolicy) -> Option<Measured<'p>> {
    measured(facts, policy).into_iter().find(|r| match &facts.link {
        Link::Keyset { config_digest, .. } => r.config_digest == config_digest,
        Link::Rcar | Link::Foreign { .. } => true,
        Link::Mismatch { .. } => false,
    })
}

/// The paravisor that the policy names and the evidence shows.
pub(crate) fn paravisor<'p>(facts: &Facts<'_>, policy: &'p AppraisalPolicy) -> Option<&'p Name> {
    if facts.kind != Kind::Paravisor {
        return None;
    }
    let of_snp = || {
        let got = Digest384(facts.snp?.report.measurement);
        let known = &policy.snp.as_ref()?.paravisors;
        known.iter().find(|p| p.measurement == got).map(|p| &p.name)
    };
    let of_tdx = || {
        let got = td_registers(facts.tdx?);
        let known = &policy.tdx.as_ref()?.paravisors;
        known.iter().find(|p| p.registers() == got).map(|p| &p.name)
    };
    of_snp().or_else(of_tdx)
}

/// MRTD, then RTMR0 to RTMR3.
pub(crate) fn td_registers(claims: &TdxClaims) -> [Digest384; 5] {
    let [r0, r1, r2, r3] = claims.rtmr;
    [claims.mr_td, r0, r1, r2, r3].map(Digest384)
}

/// True if the quote selects every register of the reference with its value, in each bank that the reference states.
fn has_pcrs(claims: &TpmClaims, reference: &TpmReference) -> bool {
    has_sha256(claims, reference) && has_sha384(claims, reference)
}

/// The same of the SHA-256 bank. A reference without registers of it matches nothing.
pub(crate) fn has_sha256(claims: &TpmClaims, reference: &TpmReference) -> bool {
    let mut pcrs = reference.pcrs.0.iter().peekable();
    pcrs.peek().is_some() && pcrs.all(|(index, value)| claims.pcrs.get(index) == Some(&value.0))
}

/// The same of the SHA-384 bank, of which a reference need not state any.
fn has_sha384(claims: &TpmClaims, reference: &TpmReference) -> bool {
    let mut pcrs = reference.pcrs_sha384.0.iter();
    pcrs.all(|(index, value)| claims.pcrs_sha384.get(index) == Some(&value.0))
}
