//! Every rule of the policy against signed evidence: the nearest refused twin of the healthy guest, exit code 40.

use hanzo_attestation::Digest256;
use hanzo_attestation::snp::{Product, SigningKey};
use hanzo_policy::{Admission, AllowList, ChipId, MilanPolicy, PrivacyTier, SnpPolicy};
use hanzo_simulated_tee::LaunchSpec;
use hanzo_verifier::{VerifierContext, VerifyError};

use crate::fixture::*;

type Sick = fn(&mut LaunchSpec);
type Twist = fn(&mut Signed);
type Ask = fn(&mut VerifierContext);

fn snp(context: &mut VerifierContext) -> &mut SnpPolicy {
    context.policy.snp.as_mut().unwrap()
}

#[test]
fn each_rule_refuses_its_twin_and_names_itself_alone() {
    let keep: (Sick, Twist, Ask) = (|_| {}, |_| {}, |_| {});
    let cases: &[(&str, Sick, Twist, Ask)] = &[
        ("snp.debug", |s| s.debug = true, keep.1, keep.2),
        ("snp.migratable", |s| s.migrate_ma = true, keep.1, keep.2),
        ("snp.vmpl", |s| s.vmpl = 1, keep.1, keep.2),
        ("snp.policy.reserved", keep.0, |r| r[0x0a] &= !0x02, keep.2),
        ("snp.tcb.below_floor", |s| s.tcb.snp -= 1, keep.1, keep.2),
        ("snp.tcb.below_floor", |s| s.tcb.microcode -= 1, keep.1, keep.2),
        (
            "snp.tcb.below_floor",
            keep.0,
            |r| r[0x1e0] -= 1,
            |c| {
                snp(c).provisional_firmware = Admission::Accept;
            },
        ),
        ("snp.firmware.provisional", keep.0, |r| r[0x1e8] += 1, keep.2),
        ("snp.tcb.below_floor", keep.0, |r| r[0x1f0] -= 1, keep.2),
        ("snp.tcb.no_floor", keep.0, keep.1, |c| {
            snp(c).tcb_floor.genoa = None;
        }),
        (
            "snp.product.milan",
            |s| s.product = Product::Milan,
            keep.1,
            |c| snp(c).tcb_floor.milan = snp(c).tcb_floor.genoa,
        ),
        ("snp.hardware", keep.0, keep.1, |c| {
            let mut other = healthy().chip;
            other[0] ^= 1;
            snp(c).hardware = AllowList::Listed(vec![ChipId::new(other).unwrap()]);
        }),
        (
            "snp.vlek.provider",
            |s| s.signing_key = SigningKey::Vlek,
            keep.1,
            |c| {
                snp(c).hardware = AllowList::Listed(vec![ChipId::new(healthy().chip).unwrap()]);
            },
        ),
        ("config.not_reference", keep.0, keep.1, |c| {
            snp(c).references[0].config_digest = Digest256([0; 32])
        }),
    ];
    for (code, sick, twist, ask) in cases {
        let (mut spec, mut context) = (healthy(), context());
        sick(&mut spec);
        ask(&mut context);
        let bundle = answer_edited(&launch(spec), keyset(), twist);
        let e = verify(&bundle, &context).unwrap_err();
        let codes: Vec<_> = e.failures().iter().map(|f| f.code).collect();
        assert_eq!(codes, [*code]);
        assert_eq!((e.code(), e.exit_code()), (*code, 40));
        let VerifyError::Refused(refusal) = &e else {
            panic!("{e}")
        };
        assert_eq!(refusal.reached(), PrivacyTier::Open);
        assert!(refusal.view().simulated && !refusal.view().accepted);
    }
}

#[test]
fn the_switches_open_the_milan_and_the_hardware_rule() {
    let mut spec = healthy();
    spec.product = Product::Milan;
    let mut context = context();
    snp(&mut context).tcb_floor.milan = snp(&mut context).tcb_floor.genoa;
    snp(&mut context).milan = MilanPolicy::Accept;
    snp(&mut context).hardware = AllowList::Listed(vec![ChipId::new(spec.chip).unwrap()]);
    verify(&answer(&launch(spec)), &context).unwrap();
}

#[test]
fn without_a_revocation_list_tier_2_is_refused_unless_the_policy_says_otherwise() {
    let bundle = answer(&processor().launch(healthy()));
    let mut context = context();
    assert_eq!(refusal(verify(&bundle, &context)), ("revocation.missing", 40));
    context.policy.revocation = hanzo_policy::RevocationPolicy::AcceptMissing;
    assert_eq!(verify(&bundle, &context).unwrap().view().revocation, "no-list");
    context.policy.revocation = hanzo_policy::RevocationPolicy::Required;
    context.collateral.crls.push(processor().crl_der(NOW));
    verify(&bundle, &context).unwrap();
}

#[test]
fn another_image_and_every_other_failed_rule_are_reported_together() {
    let mut spec = healthy();
    spec.image_digest.0[0] ^= 1;
    spec.debug = true;
    spec.vmpl = 2;
    let e = verify(&answer(&launch(spec)), &context()).unwrap_err();
    let codes: Vec<_> = e.failures().iter().map(|f| f.code).collect();
    assert_eq!(
        codes,
        ["snp.debug", "snp.vmpl", "snp.measurement", "config.not_reference"]
    );
    assert_eq!(e.exit_code(), 40);
    let text = e.to_string();
    assert!(
        text.starts_with(
            "refused by policy: expected at least tier 2 (CpuTee), got tier 0 (Open); snp.debug: POLICY bit 19 (DEBUG): \
             expected 0, got 1: the host can decrypt this guest's memory; snp.vmpl: VMPL: expected one of [0], got 2"
        ),
        "{text}"
    );
}

#[test]
fn tiers_3_and_4_are_never_reached_without_a_gpu_and_say_so() {
    let bundle = healthy_bundle();
    let mut context = context();
    for (minimum, expected) in [
        (PrivacyTier::GpuCc, &["tier.gpu_cc.no_evidence"][..]),
        (
            PrivacyTier::GpuTeeIo,
            &["tier.gpu_cc.no_evidence", "tier.gpu_tee_io.no_evidence"],
        ),
    ] {
        context.policy.minimum_tier = minimum;
        let e = verify(&bundle, &context).unwrap_err();
        let codes: Vec<_> = e.failures().iter().map(|f| f.code).collect();
        assert_eq!(codes, expected);
        assert!(e.to_string().contains("expected at least one attested GPU, got none"));
    }
    context.policy.minimum_tier = PrivacyTier::AtRest;
    assert_eq!(verify(&bundle, &context).unwrap().tier(), PrivacyTier::CpuTee);
}

#[test]
fn a_policy_that_says_nothing_accepts_a_healthy_guest_at_tier_0_alone() {
    let bundle = healthy_bundle();
    let mut context = context();
    context.policy = hanzo_policy::AppraisalPolicy::closed(PrivacyTier::CpuTee);
    assert_eq!(refusal(verify(&bundle, &context)).1, 40);
    context.policy = hanzo_policy::AppraisalPolicy::closed(PrivacyTier::Open);
    let result = verify(&bundle, &context).unwrap();
    assert_eq!((result.tier(), result.reference_name()), (PrivacyTier::Open, None));
}
