//! SEV-SNP.

use super::*;
use crate::policy::Admission;
use crate::policy::bits::{GuestPolicyBit, PlatformBit};

fn table(policy: &mut AppraisalPolicy) -> &mut SnpPolicy {
    policy.snp.as_mut().unwrap()
}

fn vlek(evidence: &mut Evidence) {
    let claims = evidence.snp();
    claims.signing_key = SigningKey::Vlek;
    claims.provider = Some("CN=cc-us-east-2.amazonaws.com".into());
}

fn milan(e: &mut Evidence, p: &mut AppraisalPolicy) {
    e.snp().product = Product::Milan;
    table(p).tcb_floor.milan = table(p).tcb_floor.genoa;
}

#[test]
fn every_rule_refuses_the_nearest_twin_of_the_base_case_and_no_other_rule_does() {
    each_refuses(
        snp_guest,
        PrivacyTier::CpuTee,
        PrivacyTier::Open,
        &[
            ("snp.product.milan", milan),
            ("snp.hardware", |e, _| e.report().chip_id = [10; 64]),
            ("snp.hardware", |e, _| e.report().chip_id = [0; 64]),
            ("snp.hardware", |_, p| table(p).hardware = AllowList::none()),
            ("snp.vlek.provider", |e, _| vlek(e)),
            ("snp.vlek.provider", |e, p| {
                vlek(e);
                table(p).hardware = AllowList::Any;
            }),
            ("snp.vlek.provider", |e, p| {
                vlek(e);
                table(p).vlek_providers = AllowList::Listed(vec!["CN=cc-us-east-1.amazonaws.com".into()]);
            }),
            ("snp.vlek.provider", |e, p| {
                vlek(e);
                e.snp().provider = None;
                table(p).vlek_providers = AllowList::Listed(vec!["CN=cc-us-east-2.amazonaws.com".into()]);
            }),
            ("snp.tcb.no_floor", |_, p| table(p).tcb_floor.genoa = None),
            ("snp.tcb.below_floor", |e, _| e.report().reported_tcb.snp = 4),
            ("snp.tcb.below_floor", |e, _| e.report().reported_tcb.bootloader = 4),
            ("snp.tcb.below_floor", |e, p| {
                e.report().committed_tcb.tee = 4;
                table(p).provisional_firmware = Admission::Accept;
            }),
            ("snp.tcb.below_floor", |e, _| e.report().launch_tcb.microcode = 4),
            ("snp.tcb.order", |e, p| {
                e.report().committed_tcb.tee = 6;
                table(p).provisional_firmware = Admission::Accept;
            }),
            ("snp.firmware.provisional", |e, _| e.report().current_tcb.snp = 6),
            ("snp.firmware.provisional", |e, _| {
                e.report().current_firmware.build = 22
            }),
            ("snp.firmware.provisional", |e, _| {
                e.report().current_firmware.minor = 56
            }),
            ("snp.firmware.below_minimum", |_, p| table(p).minimum_firmware.major = 2),
            ("snp.firmware.below_minimum", |e, p| {
                e.report().committed_firmware.build = 20;
                table(p).provisional_firmware = Admission::Accept;
                table(p).minimum_firmware = crate::policy::snp::FirmwareFloor {
                    major: 1,
                    minor: 55,
                    build: 21,
                };
            }),
            ("snp.mitigations", |_, p| table(p).mitigations = vec![0, 2]),
            ("snp.mitigations", |e, p| {
                e.report().launch_mitigations = Some(0);
                table(p).mitigations = vec![1];
            }),
            ("snp.mitigations", |e, p| {
                e.report().launch_mitigations = None;
                e.report().current_mitigations = None;
                table(p).mitigations = vec![1];
            }),
            ("snp.policy.reserved", |e, _| e.report().policy &= !(1 << 17)),
            ("snp.debug", |e, _| e.report().policy |= 1 << 19),
            ("snp.migratable", |e, _| e.report().policy |= 1 << 18),
            ("snp.policy.abi", |_, p| {
                table(p).minimum_abi.major = 1;
                table(p).minimum_abi.minor = 0x38;
            }),
            ("snp.policy.abi", |_, p| table(p).minimum_abi.major = 2),
            ("snp.policy.bits", |_, p| {
                table(p).guest_policy.forbidden = vec![GuestPolicyBit::Smt];
            }),
            ("snp.policy.bits", |_, p| {
                table(p).guest_policy.required = vec![GuestPolicyBit::PageSwapDisabled];
            }),
            ("snp.policy.unknown_bits", |e, _| e.report().policy |= 1 << 26),
            ("snp.platform.bits", |_, p| {
                table(p).platform_info.required = vec![PlatformBit::CiphertextHiding];
            }),
            ("snp.platform.bits", |_, p| {
                table(p).platform_info.forbidden = vec![PlatformBit::Ecc];
            }),
            ("snp.platform.unknown_bits", |e, _| e.report().platform_info |= 1 << 6),
            ("snp.vmpl", |e, _| e.report().vmpl = 1),
            ("snp.vmpl", |_, p| table(p).vmpl = vec![1, 2]),
            ("snp.id_key", |_, p| {
                table(p).id_keys = AllowList::Listed(vec![Digest384([5; 48])]);
            }),
            ("snp.author_key", |_, p| {
                table(p).author_keys = AllowList::Listed(vec![Digest384([5; 48])]);
            }),
            ("snp.author_key", |e, p| {
                e.report().author_key_digest = [5; 48];
                table(p).author_keys = AllowList::Listed(vec![Digest384([5; 48])]);
            }),
            ("snp.host_data", |_, p| table(p).host_data = AllowList::none()),
            ("snp.guest_svn", |_, p| table(p).guest_svn_minimum = 4),
        ],
    );
}

#[test]
fn the_accepted_twins() {
    each_accepts(
        snp_guest,
        PrivacyTier::CpuTee,
        &[
            ("the risk of Milan is taken", |e, p| {
                milan(e, p);
                table(p).milan = MilanPolicy::Accept;
            }),
            ("a listed provider's VLEK, whatever chips are listed", |e, p| {
                vlek(e);
                e.report().chip_id = [0; 64];
                table(p).vlek_providers = AllowList::Listed(vec!["CN=cc-us-east-2.amazonaws.com".into()]);
            }),
            ("any chip, masked or not", |e, p| {
                e.report().chip_id = [0; 64];
                table(p).hardware = AllowList::Any;
            }),
            ("provisional firmware above the floor", |e, p| {
                e.report().current_tcb.snp = 6;
                e.report().current_firmware.build = 22;
                table(p).provisional_firmware = Admission::Accept;
            }),
            ("the mitigations that are there", |_, p| {
                table(p).mitigations = vec![0, 1]
            }),
            ("the very firmware and ABI", |_, p| {
                table(p).minimum_abi.major = 1;
                table(p).minimum_abi.minor = 0x37;
                table(p).minimum_firmware.major = 1;
                table(p).minimum_firmware.minor = 55;
            }),
            ("bits as asked", |e, p| {
                e.report().policy |= 1 << 25 | 1 << 40;
                table(p).guest_policy.required = vec![GuestPolicyBit::Smt, GuestPolicyBit::PageSwapDisabled];
                table(p).guest_policy.forbidden = vec![GuestPolicyBit::CxlAllowed];
                table(p).guest_policy.unknown = Admission::Accept;
                e.report().platform_info |= 1 << 6;
                table(p).platform_info.required = vec![PlatformBit::AliasCheck];
                table(p).platform_info.forbidden = vec![PlatformBit::Smt];
                table(p).platform_info.unknown = Admission::Accept;
            }),
            ("listed keys and host data", |e, p| {
                e.report().author_key_enabled = true;
                e.report().author_key_digest = [5; 48];
                table(p).id_keys = AllowList::Listed(vec![Digest384([4; 48])]);
                table(p).author_keys = AllowList::Listed(vec![Digest384([5; 48])]);
                table(p).host_data = AllowList::Listed(vec![Digest256([6; 32])]);
                table(p).guest_svn_minimum = 3;
            }),
            ("no author key, and zero is listed", |_, p| {
                table(p).author_keys = AllowList::Listed(vec![Digest384([0; 48])]);
            }),
        ],
    );
}

#[test]
fn another_measurement_fails_the_configuration_too_and_both_are_reported() {
    let (mut evidence, policy) = snp_guest();
    evidence.report().measurement[47] ^= 1;
    let codes = |e: &Evidence| e.codes(&policy, PrivacyTier::CpuTee);
    assert_eq!(codes(&evidence), ["snp.measurement", "config.not_reference"]);
    evidence.report().policy |= 1 << 19;
    evidence.report().vmpl = 3;
    assert_eq!(
        codes(&evidence),
        ["snp.debug", "snp.vmpl", "snp.measurement", "config.not_reference"],
        "all failed rules, not the first"
    );
}

#[test]
fn turin_is_held_to_its_first_mutable_code() {
    let (mut evidence, mut policy) = snp_guest();
    evidence.snp().product = Product::Turin;
    let report = evidence.report();
    for tcb in [
        &mut report.reported_tcb,
        &mut report.current_tcb,
        &mut report.committed_tcb,
        &mut report.launch_tcb,
    ] {
        tcb.fmc = Some(1);
    }
    table(&mut policy).tcb_floor.turin = Some(TurinTcb {
        fmc: 1,
        bootloader: 5,
        tee: 5,
        snp: 5,
        microcode: 5,
    });
    assert_eq!(evidence.appraise(&policy).tier(), PrivacyTier::CpuTee);
    for fmc in [None, Some(0)] {
        evidence.report().launch_tcb.fmc = fmc;
        assert_eq!(evidence.codes(&policy, PrivacyTier::CpuTee), ["snp.tcb.below_floor"]);
    }
}

#[test]
fn texts_name_the_field_the_expected_and_the_got() {
    let text = |change: fn(&mut Evidence), code: &str| {
        let (mut evidence, policy) = snp_guest();
        change(&mut evidence);
        let appraisal = evidence.appraise(&policy);
        let failure = appraisal.failures().iter().find(|f| f.code == code).unwrap().clone();
        (failure.text, failure.help)
    };
    let (below, _) = text(
        |e| {
            e.report().reported_tcb.snp = 4;
            e.report().launch_tcb.microcode = 0;
        },
        "snp.tcb.below_floor",
    );
    assert_eq!(
        below,
        "REPORTED_TCB.snp: expected at least 5, got 4; LAUNCH_TCB.microcode: expected at least 5, got 0"
    );
    let (vmpl, _) = text(|e| e.report().vmpl = 2, "snp.vmpl");
    assert_eq!(vmpl, "VMPL: expected one of [0], got 2");
    let (milan, help) = text(|e| e.snp().product = Product::Milan, "snp.product.milan");
    assert!(milan.contains("arXiv 2605.12990") && help.contains("milan = \"accept\""));
}
