//! TPM quotes alone: tier 1.

use super::*;

fn table(policy: &mut AppraisalPolicy) -> &mut TpmPolicy {
    policy.tpm.as_mut().unwrap()
}

#[test]
fn every_rule_refuses_the_nearest_twin_of_the_base_case_and_no_other_rule_does() {
    each_refuses(
        tpm_machine,
        PrivacyTier::AtRest,
        PrivacyTier::Open,
        &[
            ("tpm.ak.unknown", |e, _| e.tpm().ak_origin = AkOrigin::Unknown),
            ("tpm.ak.unknown", |e, _| e.tpm().ak_origin = AkOrigin::CpuEvidence),
            ("tpm.hardware", |_, p| {
                table(p).hardware = AllowList::Listed(vec![Digest256([32; 32])]);
            }),
            ("tpm.event_log", |_, p| table(p).event_log = Presence::Required),
        ],
    );
}

#[test]
fn a_quote_by_an_unpinned_key_stays_tier_0_whatever_else_it_shows() {
    let (mut evidence, policy) = tpm_machine();
    evidence.tpm().ak_origin = AkOrigin::Unknown;
    evidence.tpm_log = true;
    let appraisal = evidence.appraise(&policy);
    assert_eq!(appraisal.tier(), PrivacyTier::Open);
    assert!(appraisal.failures().iter().any(|f| f.code == "tpm.ak.unknown"));
}

#[test]
fn the_accepted_twins() {
    each_accepts(
        tpm_machine,
        PrivacyTier::AtRest,
        &[
            ("a pinned key, for which there is no list", |e, _| {
                e.tpm().ak_origin = AkOrigin::Pinned;
                e.revocation = Revocation::NoList;
            }),
            ("a listed key", |_, p| {
                table(p).hardware = AllowList::Listed(vec![Digest256([30; 32])]);
            }),
            ("a replayed log", |e, p| {
                e.tpm_log = true;
                table(p).event_log = Presence::Required;
            }),
            ("registers that the reference does not name", |e, _| {
                e.tpm().pcrs.insert(0, [0; 32]);
                e.tpm().pcrs.insert(9, [9; 32]);
            }),
        ],
    );
}

#[test]
fn each_register_of_the_reference_must_be_quoted_with_its_value() {
    let (mut evidence, policy) = tpm_machine();
    evidence.tpm().pcrs.insert(7, [0; 32]);
    evidence.tpm().pcrs.remove(&4);
    let appraisal = evidence.appraise(&policy);
    let own: Vec<_> = appraisal
        .failures()
        .iter()
        .filter(|f| f.tier == PrivacyTier::AtRest)
        .collect();
    let codes: Vec<_> = own.iter().map(|f| f.code).collect();
    assert_eq!(codes, ["tpm.pcrs", "config.not_reference"]);
    assert!(own[0].text.contains("base: PCR4 (not quoted), PCR7"), "{}", own[0].text);
    assert_eq!(appraisal.tier(), PrivacyTier::Open);
}

#[test]
fn a_tpm_alone_never_reaches_tier_2_and_its_gpus_help_nothing() {
    let (mut evidence, mut policy) = tpm_machine();
    policy.gpu = Some(GpuPolicy::any_device(1, 0));
    policy.minimum_tier = PrivacyTier::CpuTee;
    evidence.devices = vec![gpu("a1")];
    let appraisal = evidence.appraise(&policy);
    assert_eq!(
        (appraisal.tier(), appraisal.is_accepted()),
        (PrivacyTier::AtRest, false)
    );
    assert_eq!(
        evidence.codes(&policy, PrivacyTier::CpuTee),
        ["tier.cpu_tee.no_evidence"]
    );
    assert_eq!(appraisal.cpu_gpu_binding().as_str(), "hash");
}
