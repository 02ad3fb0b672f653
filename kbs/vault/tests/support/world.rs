//! One guest, one key, one moment.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;

use hanzo_attestation::binding::RcarRuntime;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, Nonce, RawEvidence, UnixTime};
use hanzo_kbs_protocol::{WrapKey, encode_nonce};
use hanzo_policy::{AppraisalPolicy, EpycTcb, PrivacyTier, RevocationPolicy, SnpPolicy, SnpReference, TcbFloors};
use hanzo_pqc::hpke::{KemSuite, PrivateKey};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor, simulated_measurement};
use hanzo_vault::{
    Ask, KeyPolicy, Moment, Recipient, Refusal, ReleaseGrant, Stored, StoredPolicy, Uses, Wrap, authorize,
};
use serde_json::Value;

pub const IMAGE: Digest384 = Digest384([7; 48]);
pub const CONFIG: Digest256 = Digest256([8; 32]);
pub const NOW: UnixTime = UnixTime(1_756_684_800);
pub const UNUSED: Uses = Uses {
    count: 0,
    includes_recipient: false,
    newest_image: None,
};

pub fn key() -> KeyId {
    KeyId::new("hanzo/dek/m").unwrap()
}

/// The policy that the guest reaches.
pub fn policy() -> KeyPolicy {
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
        not_after: NOW.0 + 3600,
        not_before: 0,
        rego: None,
        subject: Name::new("receipts").unwrap(),
        tenant: Name::new("hanzo").unwrap(),
        wrap: vec![Wrap::Hpke],
    }
}

/// A policy whose image has this version.
pub fn versioned(version: u64) -> KeyPolicy {
    let mut policy = policy();
    policy.image_versions.insert(Name::new("test-image").unwrap(), version);
    policy
}

/// What the guest showed.
pub struct Shown {
    pub tee_pubkey: Value,
    pub wrap_key: WrapKey,
    pub evidence: RawEvidence,
}

pub const NONCE: Nonce = Nonce([3; 32]);

impl Shown {
    pub fn new() -> Self {
        let key = PrivateKey::generate(KemSuite::Xwing).unwrap();
        let wrap_key = WrapKey::new(key.public_key().clone());
        let tee_pubkey = wrap_key.to_value();
        let report_data = RcarRuntime {
            additional_evidence: "",
            nonce: &encode_nonce(&NONCE),
            tee_pubkey: &tee_pubkey,
        }
        .report_data()
        .unwrap();
        let guest = SimulatedProcessor::for_tests().launch(LaunchSpec::new(IMAGE, CONFIG));
        Self {
            evidence: RawEvidence::Snp(guest.evidence(&report_data)).into(),
            tee_pubkey,
            wrap_key,
        }
    }
}

pub fn anchors() -> Anchors {
    Anchors::vendor().with_simulator_ark(SimulatedProcessor::for_tests().ark_der().to_vec())
}

pub fn asked(
    policy: &KeyPolicy,
    uses: Uses,
    recipient: impl FnOnce(&WrapKey) -> Recipient<'_>,
) -> Result<ReleaseGrant, Refusal> {
    let shown = Shown::new();
    let nonce = encode_nonce(&NONCE);
    let key = key();
    let ask = Ask {
        key_id: &key,
        nonce: NONCE,
        runtime: RcarRuntime {
            additional_evidence: "",
            nonce: &nonce,
            tee_pubkey: &shown.tee_pubkey,
        },
        recipient: recipient(&shown.wrap_key),
        evidence: &shown.evidence.clone().into(),
    };
    let stored = Stored {
        version: 1,
        policy: &StoredPolicy::of(policy.clone()).unwrap(),
        revoked: false,
        tenant: None,
    };
    let moment = Moment {
        anchors: &anchors(),
        collateral: &Collateral::default(),
        now: NOW,
    };
    authorize(ask, &stored, uses, &moment)
}

pub fn hpke(key: &WrapKey) -> Recipient<'_> {
    Recipient::Hpke(key)
}

/// The outcome's code.
pub fn code(policy: &KeyPolicy, uses: Uses) -> Result<Option<u64>, &'static str> {
    asked(policy, uses, hpke)
        .map(|grant| grant.image().map(|i| i.number))
        .map_err(|e| e.code())
}
