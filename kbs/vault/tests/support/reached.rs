//! The policy that the healthy simulated guest reaches.

use std::collections::BTreeMap;

use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, Digest384, UnixTime};
use hanzo_policy::{AppraisalPolicy, EpycTcb, PrivacyTier, RevocationPolicy, SnpPolicy, SnpReference, TcbFloors};
use hanzo_simulated_tee::simulated_measurement;
use hanzo_vault::{KeyPolicy, Wrap};

pub const IMAGE: Digest384 = Digest384([7; 48]);
pub const CONFIG: Digest256 = Digest256([8; 32]);

/// At tier 2, for ten grants within an hour of `now`.
pub fn policy_at(now: UnixTime, subject: Name) -> KeyPolicy {
    let floors = TcbFloors {
        genoa: Some(EpycTcb {
            bootloader: 1,
            tee: 0,
            snp: 1,
            microcode: 1,
        }),
        ..TcbFloors::default()
    };
    let reference = SnpReference {
        name: Name::new("test-image").unwrap(),
        measurement: simulated_measurement(&IMAGE, &CONFIG),
        config_digest: CONFIG,
    };
    let mut appraisal =
        AppraisalPolicy::closed(PrivacyTier::CpuTee).with_snp(SnpPolicy::any_chip(floors, vec![reference]));
    appraisal.revocation = RevocationPolicy::AcceptMissing;
    KeyPolicy {
        allow_simulated: true,
        appraisal,
        grant_lifetime_s: 60,
        image_versions: BTreeMap::new(),
        max_uses: 10,
        minimum_image_version: 0,
        not_after: now.0 + 3600,
        not_before: 0,
        rego: None,
        subject,
        tenant: Name::new("hanzo").unwrap(),
        wrap: vec![Wrap::Hpke],
    }
}
