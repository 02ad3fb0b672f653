//! `appraise` over signed evidence: the keyset shown must be the one that was signed.

use hanzo_attestation::binding::{RcarRuntime, bind_rcar};
use hanzo_attestation::keyset::{KemKey, Keyset, SignerKeys};
use hanzo_attestation::name::Name;
use hanzo_attestation::{
    Anchors, AuthenticDevices, Bound, Claims, Collateral, Digest256, Digest384, RawEvidence, UnixTime,
};
use hanzo_policy::{
    AppraisalPolicy, EpycTcb, PrivacyTier, RevocationPolicy, SnpPolicy, SnpReference, TcbFloors, appraise,
};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};

fn session() -> (Bound<Claims>, AppraisalPolicy) {
    let processor = SimulatedProcessor::for_tests();
    let guest = processor.launch(LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32])));
    let key = serde_json::json!({"kty": "AKP"});
    let runtime = RcarRuntime {
        additional_evidence: "",
        nonce: "n",
        tee_pubkey: &key,
    };
    let anchors = Anchors::vendor().with_simulator_ark(processor.ark_der().to_vec());
    let authentic = RawEvidence::Snp(guest.evidence(&runtime.report_data().unwrap()))
        .parse()
        .unwrap()
        .authenticate(&anchors, &Collateral::default(), UnixTime(1_756_684_800))
        .unwrap();
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
        name: Name::new("image").unwrap(),
        measurement: guest.measurement(),
        config_digest: Digest256([2; 32]),
    };
    let mut policy =
        AppraisalPolicy::closed(PrivacyTier::CpuTee).with_snp(SnpPolicy::any_chip(floors, vec![reference]));
    policy.revocation = RevocationPolicy::AcceptMissing;
    (
        bind_rcar(authentic, AuthenticDevices::none(), &runtime).unwrap(),
        policy,
    )
}

fn keyset() -> Keyset {
    let key = KemKey {
        public_key: String::new(),
        suite: "x-wing".into(),
    };
    Keyset {
        capability_digest: Digest384([0; 48]),
        channel_key: key,
        config_digest: Digest256([2; 32]),
        image: Name::new("0.1.0").unwrap(),
        issued_at: 0,
        models: vec![],
        not_after: 1,
        ohttp_keys: vec![],
        policy_digest: Digest384([0; 48]),
        receipt_keys: SignerKeys {
            ed25519: String::new(),
            ml_dsa: String::new(),
            suite: "ml-dsa-65".into(),
        },
        log: None,
        signer_keys: vec![],
        simulated: false,
        tier: 4,
        time: "host".into(),
        tls_spki_sha256: Digest256([0; 32]),
        version: 1,
    }
}

#[test]
fn a_session_reaches_tier_2_and_stays_simulated() {
    let (bound, policy) = session();
    let appraisal = appraise(&bound, None, &policy);
    assert_eq!(appraisal.tier(), PrivacyTier::CpuTee);
    assert!(appraisal.is_accepted() && appraisal.is_simulated());
}

#[test]
fn a_keyset_that_the_evidence_never_signed_brings_it_down() {
    let (bound, policy) = session();
    let appraisal = appraise(&bound, Some(&keyset()), &policy);
    let codes: Vec<_> = appraisal.failures_for(PrivacyTier::CpuTee).map(|f| f.code).collect();
    assert_eq!(codes, ["binding.keyset"]);
    assert_eq!(appraisal.tier(), PrivacyTier::Open);
    assert_eq!(appraisal.reference(), None);
    assert!(!appraisal.is_accepted() && appraisal.is_simulated());
}
