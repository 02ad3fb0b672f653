//! Guests under a paravisor: tier 2 by the processor's evidence and the vTPM's together, never by one of them.

use super::*;

type Base = fn() -> (Evidence, AppraisalPolicy);

#[test]
fn the_vtpm_must_be_the_one_that_the_processor_names() {
    for base in [az_snp_guest as Base, az_td_guest] {
        each_refuses(
            base,
            PrivacyTier::CpuTee,
            PrivacyTier::Open,
            &[
                ("tpm.ak.not_in_cpu_evidence", |e, _| {
                    e.tpm().ak_origin = AkOrigin::Unknown
                }),
                ("tpm.ak.not_in_cpu_evidence", |e, _| {
                    e.tpm().ak_origin = AkOrigin::Pinned
                }),
                ("tpm.event_log", |_, p| {
                    p.tpm.as_mut().unwrap().event_log = Presence::Required;
                }),
            ],
        );
        each_accepts(
            base,
            PrivacyTier::CpuTee,
            &[("whatever keys are listed for tier 1", |_, p| {
                p.tpm.as_mut().unwrap().hardware = AllowList::none();
            })],
        );
    }
}

#[test]
fn the_processors_rules_hold_for_the_paravisor() {
    each_refuses(
        az_snp_guest,
        PrivacyTier::CpuTee,
        PrivacyTier::Open,
        &[
            ("snp.debug", |e, _| e.report().policy |= 1 << 19),
            ("snp.tcb.below_floor", |e, _| e.report().reported_tcb.snp = 4),
            ("snp.hardware", |e, _| e.report().chip_id = [1; 64]),
            ("snp.paravisor", |e, _| e.report().measurement = [1; 48]),
            ("snp.paravisor", |_, p| p.snp.as_mut().unwrap().paravisors.clear()),
            // A level that the policy lists for guests is none for a paravisor.
            ("snp.vmpl", |e, p| {
                e.report().vmpl = 2;
                p.snp.as_mut().unwrap().vmpl = vec![0, 1, 2, 3];
            }),
        ],
    );
    each_refuses(
        az_td_guest,
        PrivacyTier::CpuTee,
        PrivacyTier::Open,
        &[
            ("tdx.debug", |e, _| e.tdx().td_attributes |= 1),
            ("tdx.tcb.status", |e, _| e.tdx().tcb_status = TcbStatus::OutOfDate),
            ("tdx.paravisor", |e, _| e.tdx().rtmr[1] = [0; 48]),
            ("tdx.paravisor", |_, p| p.tdx.as_mut().unwrap().paravisors.clear()),
        ],
    );
}

#[test]
fn a_known_paravisor_without_a_known_image_is_tier_0() {
    for base in [az_snp_guest as Base, az_td_guest] {
        let (mut evidence, mut policy) = base();
        evidence.tpm().pcrs.insert(4, [0; 32]);
        assert_eq!(
            evidence.codes(&policy, PrivacyTier::CpuTee),
            ["tpm.pcrs", "config.not_reference"]
        );
        policy.tpm.as_mut().unwrap().references.clear();
        let appraisal = evidence.appraise(&policy);
        assert_eq!(appraisal.tier(), PrivacyTier::Open);
        assert_eq!(appraisal.reference(), None);
        assert_eq!(appraisal.paravisor().unwrap().as_str(), "hcl");
        // A reference for guests of their own is none for a paravisor, and the reverse.
        let (mut guest, guests_policy) = if evidence.claims.snp().is_some() {
            snp_guest()
        } else {
            td_guest()
        };
        assert!(base().0.appraise(&guests_policy).tier() == PrivacyTier::Open);
        guest.link = Link::Rcar;
        let (_, paravisors_policy) = base();
        assert_eq!(guest.appraise(&paravisors_policy).tier(), PrivacyTier::Open);
    }
}

#[test]
fn both_names_are_reported() {
    let (evidence, policy) = az_td_guest();
    let appraisal = evidence.appraise(&policy);
    assert_eq!(appraisal.tier(), PrivacyTier::CpuTee);
    assert_eq!(appraisal.reference().unwrap().as_str(), "base");
    assert_eq!(appraisal.paravisor().unwrap().as_str(), "hcl");
}
