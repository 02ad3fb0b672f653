//! Devices without any processor's evidence.

use crate::rules::RuleFailure;
use crate::tier::PrivacyTier;

/// What stands between devices alone and every tier above 0: no processor vouches for the guest that they belong to.
///
/// # Establishes
/// Nothing about the devices: that they are genuine is known already, and their tier is 0 whatever they show.
pub fn lone_devices() -> Vec<RuleFailure> {
    [PrivacyTier::AtRest, PrivacyTier::CpuTee]
        .into_iter()
        .map(|tier| RuleFailure {
            tier,
            code: "tier.devices_alone",
            text: format!("tier {tier}: expected evidence of the guest, got evidence of its devices alone"),
            help: "ask the guest for its own evidence together with its devices'",
        })
        .collect()
}
