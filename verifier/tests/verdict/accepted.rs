//! The base case, and what its result says.

use hanzo_attestation::snp::Product;
use hanzo_attestation::{Anchors, UnixTime};
use hanzo_policy::PrivacyTier;

use crate::fixture::*;

#[test]
fn a_healthy_guest_that_answers_the_challenge_reaches_tier_2() {
    let bundle = healthy_bundle();
    let result = verify(&bundle, &context()).unwrap();
    assert_eq!(result.tier(), PrivacyTier::CpuTee);
    assert_eq!(result.product(), Some(Product::Genoa));
    assert_eq!(result.measurement(), launch(healthy()).measurement());
    assert_eq!(result.reference_name(), Some("healthy"));
    assert_eq!(result.keyset(), Some(&keyset()));
    assert_eq!(result.keyset_digest(), Some(keyset().digest().unwrap()));
    assert_eq!(result.config_text(), Some(CONFIG));
    assert_eq!(result.chip_id_hex(), Some(hex::encode(healthy().chip)));
    assert_eq!(result.verified_at(), NOW);
    let above: Vec<_> = result.failures_above().map(|f| f.code).collect();
    assert_eq!(above, ["tier.gpu_cc.no_evidence", "tier.gpu_tee_io.no_evidence"]);
}

#[test]
fn the_simulated_flag_follows_the_root_everywhere_and_without_that_root_nothing_is_authentic() {
    let bundle = healthy_bundle();
    let result = verify(&bundle, &context()).unwrap();
    assert!(result.simulated());
    assert!(result.appraisal().is_simulated());
    assert!(result.view().simulated);
    assert!(result.reappraise(&context().policy, NOW).unwrap().simulated());

    let mut unadmitted = keyset();
    unadmitted.simulated = false;
    let bundle = answer_edited(&launch(healthy()), unadmitted, |_| {});
    assert!(
        verify(&bundle, &context()).unwrap().simulated(),
        "a keyset that denies it changes nothing"
    );

    let mut vendor = context();
    vendor.anchors = Anchors::vendor();
    assert_eq!(refusal(verify(&bundle, &vendor)), ("snp.chain.root", 20));
}

#[test]
fn a_result_ends_with_the_policy_s_age_or_the_keyset_whichever_is_sooner() {
    let bundle = healthy_bundle();
    let mut context = context();
    let result = verify(&bundle, &context).unwrap();
    assert_eq!(result.valid_until(), UnixTime(NOW.0 + 3600));
    context.policy.max_age_s = 86_400;
    let result = verify(&bundle, &context).unwrap();
    assert_eq!(result.valid_until(), UnixTime(NOW.0 + 7200), "keyset.not_after");
}

#[test]
fn a_later_decision_by_a_tighter_policy_is_a_new_one_and_never_lasts_longer() {
    let result = verify(&healthy_bundle(), &context()).unwrap();
    let mut policy = context().policy;
    policy.max_age_s = 86_400;
    let later = UnixTime(NOW.0 + 100);
    let again = result.reappraise(&policy, later).unwrap();
    assert_eq!(again.valid_until(), result.valid_until());
    policy.max_age_s = 60;
    assert_eq!(refusal(result.reappraise(&policy, later)), ("freshness.stale", 30));
    let mut policy = context().policy;
    policy.snp.as_mut().unwrap().tcb_floor.genoa.as_mut().unwrap().microcode += 1;
    assert_eq!(refusal(result.reappraise(&policy, later)), ("snp.tcb.below_floor", 40));
    let too_late = UnixTime(result.valid_until().0 + 1);
    assert_eq!(
        refusal(result.reappraise(&context().policy, too_late)),
        ("freshness.stale", 30)
    );
}

#[test]
fn the_view_states_what_is_and_what_is_not_proven() {
    let view = serde_json::to_value(verify(&healthy_bundle(), &context()).unwrap().view()).unwrap();
    for (member, expected) in [
        ("accepted", serde_json::json!(true)),
        ("tier", serde_json::json!(2)),
        ("tier_name", serde_json::json!("CpuTee")),
        ("simulated", serde_json::json!(true)),
        ("product", serde_json::json!("genoa")),
        ("freshness", serde_json::json!("challenge")),
        ("undated", serde_json::json!(false)),
        ("revocation", serde_json::json!("checked")),
        ("cpu_gpu_binding", serde_json::json!("none")),
        ("witnesses", serde_json::json!(0)),
        ("acpi", serde_json::json!("unmeasured")),
        ("transport", serde_json::json!("tls1.3+x25519mlkem768")),
        ("evidence_signatures", serde_json::json!("classical")),
        ("valid_until", serde_json::json!(NOW.0 + 3600)),
    ] {
        assert_eq!(view[member], expected, "{member}");
    }
    assert_eq!(view["keyset"]["time"], "host");
    assert_eq!(view["keyset"]["models"][0]["name"], "smollm2");
    let holds: Vec<_> = view["ladder"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["holds"].clone())
        .collect();
    assert_eq!(holds, [true, false, true, false, false]);
}
