//! Devices without any processor's evidence.

use hanzo_attestation::{Authentic, DeviceClaims, Revocation};

use crate::facts::{Facts, Kind, Link};
use crate::policy::AppraisalPolicy;
use crate::rules::{RuleFailure, gpu};
use crate::tier::PrivacyTier;

/// What stands between devices alone and every tier above 0: no processor vouches for the guest that they belong to. After
/// that, the rules of tier 3 that the devices themselves do not pass.
///
/// # Establishes
/// Nothing that raises a tier: devices alone are tier 0, whatever they show.
pub fn lone_devices(devices: &[Authentic<DeviceClaims>], policy: &AppraisalPolicy) -> Vec<RuleFailure> {
    let mut facts = Facts {
        kind: Kind::Guest,
        snp: None,
        tdx: None,
        tpm: None,
        td_log: false,
        tpm_log: false,
        gpus: Vec::new(),
        switches: Vec::new(),
        revocation: Revocation::NoList,
        link: Link::Foreign { challenged: false },
        list_is_signed: false,
    };
    for device in devices {
        let DeviceClaims::Nvidia(claims) = device.claims();
        facts.add(claims);
    }
    let alone = [PrivacyTier::AtRest, PrivacyTier::CpuTee].map(|tier| RuleFailure {
        tier,
        code: "tier.devices_alone",
        text: format!("tier {tier}: expected evidence of the guest, got evidence of its devices alone"),
        help: "ask the guest for its own evidence together with its devices'",
    });
    let of_devices = gpu::checks(&facts, policy).into_iter().flat_map(|check| check.failures);
    alone.into_iter().chain(of_devices).collect()
}
