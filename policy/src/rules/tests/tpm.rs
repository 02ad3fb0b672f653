//! TPM quotes alone: tier 1.

use super::*;

type Base = fn() -> (Evidence, AppraisalPolicy);

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

/// A reference that states both banks is not met by one of them; Azure's agents quote one, and their references state one.
#[test]
fn the_sha384_bank_counts_where_a_reference_states_it() {
    let reasons = |change: fn(&mut TpmClaims)| {
        let [first, rest @ ..] = [tpm_machine as Base, az_snp_guest, az_td_guest].map(|base| {
            let (mut evidence, policy) = base();
            change(evidence.tpm());
            let appraisal = evidence.appraise(&policy);
            let codes = appraisal.failures().iter().map(|f| f.code);
            let codes: Vec<_> = codes.filter(|code| code.starts_with("tpm.pcrs")).collect();
            assert_eq!(codes.is_empty(), appraisal.tier() > PrivacyTier::Open);
            codes
        });
        assert!(rest.iter().all(|codes| *codes == first));
        first
    };
    assert!(reasons(|_| ()).is_empty());
    assert_eq!(reasons(|c| c.pcrs_sha384.clear()), ["tpm.pcrs.sha384.not_quoted"]);
    assert_eq!(
        reasons(|c| _ = c.pcrs_sha384.remove(&4)),
        ["tpm.pcrs.sha384.not_quoted"]
    );
    assert_eq!(reasons(|c| _ = c.pcrs_sha384.insert(4, [0; 48])), ["tpm.pcrs.sha384"]);
    // Registers of that bank that the reference does not name.
    assert!(reasons(|c| _ = c.pcrs_sha384.insert(0, [0; 48])).is_empty());
    assert!(reasons(|c| _ = c.pcrs_sha384.remove(&0)).is_empty());
    // No register is stated in it: one bank will do.
    let (mut evidence, mut policy) = tpm_machine();
    table(&mut policy).references[0].pcrs_sha384.0.clear();
    evidence.tpm().pcrs_sha384.clear();
    assert_eq!(evidence.appraise(&policy).tier(), PrivacyTier::AtRest);
    // The other bank is named first: of another image there is nothing to say about this one.
    let both = |c: &mut TpmClaims| {
        c.pcrs.insert(4, [0; 32]);
        c.pcrs_sha384.clear();
    };
    assert_eq!(reasons(both), ["tpm.pcrs"]);
}

/// The same image twice, once with the SHA-384 bank and once without, would ask for nothing.
#[test]
fn no_twin_of_a_reference_leaves_the_second_bank_out() {
    let (_, mut policy) = tpm_machine();
    let mut twin = table(&mut policy).references[0].clone();
    twin.name = name("twin");
    twin.pcrs_sha384.0.clear();
    policy.check().unwrap();
    table(&mut policy).references.push(twin.clone());
    let error = policy.check().unwrap_err();
    assert!(error.to_string().contains("tpm.references"), "{error}");
    twin.pcrs.0.insert(9, Digest256([9; 32]));
    table(&mut policy).references[1] = twin;
    policy.check().unwrap();
    for index in [16, 23, 24] {
        let mut policy = policy.clone();
        let value = Digest384([1; 48]);
        table(&mut policy).references[0].pcrs_sha384.0.insert(index, value);
        let error = policy.check().unwrap_err();
        assert!(error.to_string().contains("tpm.references.pcrs_sha384"), "{error}");
    }
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
