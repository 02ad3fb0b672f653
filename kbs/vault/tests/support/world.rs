//! One guest, one key, one moment.
#![allow(dead_code, reason = "each test file uses a part")]

#[path = "reached.rs"]
mod reached;

use hanzo_attestation::binding::RcarRuntime;
use hanzo_attestation::name::{KeyId, Name};
use hanzo_attestation::{Anchors, Collateral, Nonce, RawEvidence, UnixTime};
use hanzo_kbs_protocol::{WrapKey, encode_nonce};
use hanzo_policy::{AppraisalPolicy, PrivacyTier};
use hanzo_pqc::hpke::{KemSuite, PrivateKey};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};
use hanzo_vault::{Ask, KeyPolicy, Moment, Recipient, Refusal, ReleaseGrant, Stored, StoredPolicy, Uses, authorize};
use hanzo_verifier::verify_rcar_with;
use reached::policy_at;
pub use reached::{CONFIG, IMAGE};
use serde_json::Value;

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
    policy_at(NOW, Name::new("receipts").unwrap())
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

/// Asked at [`NOW`] of a broker that knows no root of simulators, with what one that knew it verified at another time.
pub fn asked_with_a_verdict_of(verified_at: UnixTime) -> Result<ReleaseGrant, Refusal> {
    let (shown, nonce, key) = (Shown::new(), encode_nonce(&NONCE), key());
    let runtime = RcarRuntime {
        additional_evidence: "",
        nonce: &nonce,
        tee_pubkey: &shown.tee_pubkey,
    };
    let open = AppraisalPolicy::closed(PrivacyTier::Open);
    let with = (&anchors(), &Collateral::default(), &open);
    let verified = verify_rcar_with(shown.evidence.clone(), &runtime, with, verified_at).unwrap();
    let ask = Ask {
        key_id: &key,
        nonce: NONCE,
        runtime,
        recipient: hpke(&shown.wrap_key),
        evidence: &shown.evidence.clone().into(),
        verified: Some(&verified),
    };
    let stored = Stored {
        version: 1,
        policy: &StoredPolicy::of(policy()).unwrap(),
        revoked: false,
        tenant: None,
        release: None,
    };
    let moment = Moment {
        anchors: &Anchors::vendor(),
        collateral: &Collateral::default(),
        now: NOW,
    };
    authorize(ask, &stored, UNUSED, &moment)
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
        verified: None,
    };
    let stored = Stored {
        version: 1,
        policy: &StoredPolicy::of(policy.clone()).unwrap(),
        revoked: false,
        tenant: None,
        release: None,
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
