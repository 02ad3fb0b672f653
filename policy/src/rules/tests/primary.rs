//! Rules that concern every kind of primary evidence.

use super::*;

#[test]
fn the_common_rules_refuse_their_twins_for_every_kind() {
    for (base, tier) in [
        (snp_guest as fn() -> _, PrivacyTier::CpuTee),
        (td_guest, PrivacyTier::CpuTee),
        (az_snp_guest, PrivacyTier::CpuTee),
        (az_td_guest, PrivacyTier::CpuTee),
        (tpm_machine, PrivacyTier::AtRest),
    ] {
        each_refuses(
            base,
            tier,
            PrivacyTier::Open,
            &[
                ("policy.value", |_, p| p.version = 1),
                ("policy.value", |_, p| p.max_age_s = 0),
                ("binding.keyset", |e, _| {
                    e.link = Link::Mismatch {
                        bound: Some(Digest384([1; 48])),
                        shown: Some(Digest384([2; 48])),
                    };
                }),
                ("freshness.none", |e, _| {
                    e.link = Link::Keyset {
                        config_digest: CONFIG,
                        challenged: false,
                    };
                }),
                ("freshness.none", |e, _| e.link = Link::Foreign { challenged: false }),
                ("revocation.missing", |e, _| e.revocation = Revocation::NoList),
                ("config.not_reference", |e, _| {
                    e.link = Link::Keyset {
                        config_digest: Digest256([9; 32]),
                        challenged: true,
                    };
                }),
            ],
        );
        each_accepts(
            base,
            tier,
            &[
                ("a broker's session is judged by the measurement alone", |e, _| {
                    e.link = Link::Rcar;
                }),
                ("so is another project's evidence", |e, _| {
                    e.link = Link::Foreign { challenged: true };
                }),
                ("no list, and the policy accepts that", |e, p| {
                    e.revocation = Revocation::NoList;
                    p.revocation = RevocationPolicy::AcceptMissing;
                }),
            ],
        );
    }
}

#[test]
fn a_kind_without_table_reaches_nothing() {
    let codes = |(evidence, mut policy): (Evidence, AppraisalPolicy), close: fn(&mut AppraisalPolicy)| {
        close(&mut policy);
        let appraisal = evidence.appraise(&policy);
        assert_eq!(appraisal.tier(), PrivacyTier::Open);
        evidence.codes(&policy, PrivacyTier::CpuTee)
    };
    assert_eq!(
        codes(snp_guest(), |p| p.snp = None),
        ["snp.not_admitted", "config.not_reference"]
    );
    assert_eq!(
        codes(td_guest(), |p| p.tdx = None),
        ["tdx.not_admitted", "config.not_reference"]
    );
    assert_eq!(codes(az_snp_guest(), |p| p.snp = None), ["snp.not_admitted"]);
    assert_eq!(codes(az_td_guest(), |p| p.tdx = None), ["tdx.not_admitted"]);
    for guest in [az_snp_guest(), az_td_guest()] {
        assert_eq!(
            codes(guest, |p| p.tpm = None),
            ["tpm.not_admitted", "config.not_reference"]
        );
    }
    let (evidence, policy) = tpm_machine();
    let other = AppraisalPolicy {
        tpm: None,
        ..policy.with_snp(snp_table())
    };
    let failed: Vec<_> = evidence
        .appraise(&other)
        .failures_for(PrivacyTier::AtRest)
        .map(|f| f.code)
        .collect();
    assert_eq!(failed, ["tpm.not_admitted", "config.not_reference"]);
}

#[test]
fn the_base_case_reaches_tier_2_and_says_why_not_more() {
    let (evidence, policy) = snp_guest();
    let appraisal = evidence.appraise(&policy);
    assert_eq!(appraisal.tier(), PrivacyTier::CpuTee);
    assert!(appraisal.is_accepted());
    assert_eq!(appraisal.reference().unwrap().as_str(), "base");
    assert_eq!(appraisal.paravisor(), None);
    assert_eq!(appraisal.cpu_gpu_binding().as_str(), "none");
    let above: Vec<_> = appraisal.failures_above().map(|f| f.code).collect();
    assert_eq!(above, ["tier.gpu_cc.no_evidence", "tier.gpu_tee_io.no_evidence"]);
    let holds: Vec<_> = appraisal.ladder().iter().map(|r| r.holds).collect();
    assert_eq!(
        holds,
        [true, false, true, false, false],
        "tier 1 has evidence of its own"
    );
}

#[test]
fn freshness_alone_separates_a_reading_from_a_result() {
    let (mut evidence, policy) = gpu_guest();
    evidence.link = Link::Keyset {
        config_digest: CONFIG,
        challenged: false,
    };
    let appraisal = evidence.appraise(&policy);
    assert_eq!(
        (appraisal.tier(), appraisal.tier_if_fresh()),
        (PrivacyTier::Open, PrivacyTier::GpuCc)
    );
}

#[test]
fn measurement_and_configuration_must_be_of_the_same_reference() {
    let (mut evidence, mut policy) = snp_guest();
    policy.snp.as_mut().unwrap().references.push(SnpReference {
        name: name("other"),
        measurement: Digest384([1; 48]),
        config_digest: Digest256([2; 32]),
    });
    evidence.link = Link::Keyset {
        config_digest: Digest256([2; 32]),
        challenged: true,
    };
    assert_eq!(evidence.codes(&policy, PrivacyTier::CpuTee), ["config.not_reference"]);
    evidence.report().measurement = [1; 48];
    assert_eq!(evidence.appraise(&policy).reference().unwrap().as_str(), "other");
}
