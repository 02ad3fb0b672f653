//! Our own tokens: one payload under two algorithms, read back by the reader of foreign ones.

use hanzo_attestation::binding::RcarRuntime;
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, RawEvidence};
use hanzo_policy::{AppraisalPolicy, PrivacyTier};
use hanzo_pqc::dsa::{MlDsa65, SigningKey};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};
use hanzo_verifier::ear::{EarAlgorithm, EarClaims, EarError, EarIssuer, TrustTier, TrustedKey};
use hanzo_verifier::{AttestationResult, VerifierContext, verify_rcar};

use crate::*;

/// 2025-09-01T00:00:00Z.
const THEN: UnixTime = UnixTime(1_756_684_800);

fn result() -> AttestationResult {
    let processor = SimulatedProcessor::for_tests();
    let key = json!({"kty": "AKP"});
    let runtime = RcarRuntime {
        additional_evidence: "",
        nonce: "bm9uY2U=",
        tee_pubkey: &key,
    };
    let spec = LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32]));
    let evidence = processor.launch(spec).evidence(&runtime.report_data().unwrap());
    let context = VerifierContext {
        anchors: Anchors::vendor().with_simulator_ark(processor.ark_der().to_vec()),
        collateral: Collateral::default(),
        policy: AppraisalPolicy::closed(PrivacyTier::Open),
    };
    verify_rcar(RawEvidence::Snp(evidence), &runtime, &context, THEN).unwrap()
}

fn issuer() -> EarIssuer {
    EarIssuer {
        issuer: "hanzo".into(),
        developer: "hanzo".into(),
        build: "0.1.0".into(),
    }
}

#[test]
fn one_payload_is_signed_twice_and_reads_back() {
    let claims = EarClaims::of(&result(), &issuer(), Some("policy-1"), 300, THEN);
    let (classical, quantum_safe) = (Signer::p256(), SigningKey::<MlDsa65>::from_seed(&[7; 32]).unwrap());
    let es256 = claims
        .to_jws(EarAlgorithm::Es256, None, |bytes| {
            Ok::<_, EarError>(classical.sign(bytes))
        })
        .unwrap();
    let ml_dsa = claims
        .to_jws(EarAlgorithm::MlDsa65, Some("key-1"), |bytes| {
            quantum_safe.sign(bytes).map_err(|_| EarError::Key("no signature"))
        })
        .unwrap();
    let payload = |token: &str| token.split('.').nth(1).unwrap().to_owned();
    assert_eq!(payload(&es256), payload(&ml_dsa));
    assert_eq!(
        URL_SAFE_NO_PAD.decode(payload(&es256)).unwrap(),
        claims.canonical().unwrap()
    );

    let trusted = classical
        .trusted()
        .with_key(TrustedKey::ml_dsa_65(quantum_safe.verifying_key().as_bytes()).unwrap())
        .with_issuer("hanzo".into());
    for token in [&es256, &ml_dsa] {
        let ear = verify_ear(token.as_bytes(), &trusted, THEN).unwrap();
        assert_eq!(ear.valid_until(), UnixTime(THEN.0 + 300));
        assert_eq!(ear.status(), claims.status());
        assert_eq!(ear.submods()["cpu0"].policy_id.as_deref(), Some("policy-1"));
        let mut changed = token.clone().into_bytes();
        let at = changed.len() - 10;
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(code(verify_ear(&changed, &trusted, THEN)), "ear.signature");
    }
    let only_classical = classical.trusted();
    assert_eq!(code(verify_ear(ml_dsa.as_bytes(), &only_classical, THEN)), "ear.no_key");
}

#[test]
fn what_is_simulated_says_so_and_is_contraindicated() {
    let claims = EarClaims::of(&result(), &issuer(), None, 300, THEN);
    assert_eq!(claims.status(), TrustTier::Contraindicated);
    let text: Value = serde_json::from_slice(&claims.canonical().unwrap()).unwrap();
    let cpu = &text["submods"]["cpu0"];
    assert_eq!(cpu["ear.status"], "contraindicated");
    assert_eq!(cpu["ear.veraison.annotated-evidence"]["simulated"], true);
    assert_eq!(cpu["ear.trustworthiness-vector"]["hardware"], 97);
}

#[test]
fn a_token_never_outlives_its_result() {
    let result = result();
    let claims = EarClaims::of(&result, &issuer(), None, u64::MAX, THEN);
    let text: Value = serde_json::from_slice(&claims.canonical().unwrap()).unwrap();
    assert_eq!(text["exp"].as_u64(), Some(result.valid_until().0));
}

#[test]
fn a_signer_that_answers_nonsense_makes_no_token() {
    let claims = EarClaims::of(&result(), &issuer(), None, 300, THEN);
    let short = claims.to_jws(EarAlgorithm::Es256, None, |_| Ok::<_, EarError>(vec![0; 63]));
    assert_eq!(code(short), "ear.signature_length");
    let failing = claims.to_jws(EarAlgorithm::Es256, None, |_| Err(EarError::Key("no key")));
    assert_eq!(code(failing), "ear.key");
}
