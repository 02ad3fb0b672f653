//! GPUs and switches: tiers 3 and 4.

use super::*;
use crate::policy::gpu::Architecture;
use crate::policy::number::DottedVersion;
use crate::policy::{Admission, Count};

fn table(policy: &mut AppraisalPolicy) -> &mut GpuPolicy {
    policy.gpu.as_mut().unwrap()
}

fn mismatch() -> RimOutcome {
    RimOutcome::Mismatch {
        indexes: vec![9],
        ids: vec!["NV_GPU_DRIVER_GH100_570.86.15".into()],
    }
}

fn missing() -> RimOutcome {
    RimOutcome::Missing {
        ids: vec!["NV_GPU_DRIVER_GH100_570.86.15".into()],
    }
}

#[test]
fn every_rule_refuses_the_nearest_twin_of_one_gpu_and_leaves_tier_2() {
    each_refuses(
        gpu_guest,
        PrivacyTier::GpuCc,
        PrivacyTier::CpuTee,
        &[
            ("gpu.not_admitted", |_, p| p.gpu = None),
            ("gpu.binding.nonce_only", |e, _| e.list_is_signed = false),
            ("gpu.count", |_, p| table(p).gpus = Count::Exactly(2)),
            ("gpu.count", |_, p| table(p).gpus = Count::Exactly(0)),
            ("gpu.switch_count", |_, p| table(p).switches = Count::Exactly(4)),
            ("gpu.architecture", |_, p| {
                table(p).architectures = vec![Architecture::Blackwell, Architecture::Ls10];
            }),
            ("gpu.hardware", |_, p| {
                table(p).hardware = AllowList::Listed(vec![Ueid::from_hex("a2").unwrap()]);
            }),
            ("gpu.rim.missing", |e, _| e.devices[0].rim = missing()),
            ("gpu.rim.mismatch", |e, _| e.devices[0].rim = mismatch()),
            ("gpu.ocsp.missing", |e, _| e.devices[0].ocsp = OcspOutcome::NoAnswer),
            ("gpu.ocsp.on_hold", |e, _| e.devices[0].ocsp = OcspOutcome::OnHold),
            ("gpu.fwid", |e, _| e.devices[0].fwid = Fwid::Absent),
            ("gpu.feature_flag", |_, p| {
                table(p).feature_flags = AllowList::Listed(vec![1, 2]);
            }),
            ("gpu.feature_flag", |e, p| {
                e.devices[0].feature_flag = None;
                table(p).feature_flags = AllowList::Listed(vec![0]);
            }),
            ("gpu.driver", |_, p| {
                table(p).minimum_driver = DottedVersion::parse("570.86.16").unwrap();
            }),
            ("gpu.driver", |e, _| e.devices[0].driver_version = Some("r570".into())),
            ("gpu.driver", |e, _| e.devices[0].driver_version = None),
        ],
    );
}

#[test]
fn the_accepted_twins_of_one_gpu() {
    each_accepts(
        gpu_guest,
        PrivacyTier::GpuCc,
        &[
            ("any number", |_, p| {
                table(p).gpus = Count::Any;
                table(p).switches = Count::Any;
            }),
            ("by UEID", |_, p| {
                table(p).hardware = AllowList::Listed(vec![Ueid::from_hex("a1").unwrap()]);
            }),
            ("by the id that no update changes", |_, p| {
                table(p).hardware = AllowList::Listed(vec![Ueid::from_hex("d0a1").unwrap()]);
            }),
            ("no answer, and the policy accepts that", |e, p| {
                e.devices[0].ocsp = OcspOutcome::NoAnswer;
                table(p).ocsp = Presence::AcceptMissing;
            }),
            ("on hold, and the policy accepts that", |e, p| {
                e.devices[0].ocsp = OcspOutcome::OnHold;
                table(p).on_hold = Admission::Accept;
            }),
            ("an old driver, and the policy accepts that", |e, p| {
                e.devices[0].fwid = Fwid::Absent;
                e.devices[0].feature_flag = None;
                e.devices[0].driver_version = Some("535.104.05".into());
                table(p).fwid = Presence::AcceptMissing;
                table(p).minimum_driver = DottedVersion::parse("535.104.5").unwrap();
            }),
            ("a Blackwell GPU", |e, _| e.devices[0].arch = NvidiaArch::Blackwell),
            ("under an SNP guest", |e, p| {
                let (snp, policy) = snp_guest();
                e.claims = snp.claims;
                p.snp = policy.snp;
            }),
            ("under a paravisor", |e, p| {
                let (az, policy) = az_snp_guest();
                e.claims = az.claims;
                (p.snp, p.tpm) = (policy.snp, policy.tpm);
            }),
        ],
    );
}

#[test]
fn no_setting_lets_a_device_without_matching_rims_pass() {
    let (mut evidence, mut policy) = gpu_guest();
    policy.gpu = Some(GpuPolicy {
        gpus: Count::Any,
        switches: Count::Any,
        ocsp: Presence::AcceptMissing,
        on_hold: Admission::Accept,
        fwid: Presence::AcceptMissing,
        ..GpuPolicy::any_device(1, 0)
    });
    for rim in [missing(), mismatch()] {
        evidence.devices[0].rim = rim;
        assert_eq!(evidence.appraise(&policy).tier(), PrivacyTier::CpuTee);
    }
}

#[test]
fn without_a_gpu_nothing_is_above_tier_2_switches_or_not() {
    let (mut evidence, mut policy) = fabric_guest();
    (table(&mut policy).gpus, table(&mut policy).switches) = (Count::Any, Count::Any);
    for keep_switches in [true, false] {
        evidence.devices.retain(|d| keep_switches && !d.arch.is_gpu());
        let appraisal = evidence.appraise(&policy);
        assert_eq!(appraisal.tier(), PrivacyTier::CpuTee);
        let above: Vec<_> = appraisal.failures_above().map(|f| f.code).collect();
        assert!(above.contains(&"tier.gpu_cc.no_evidence"), "{above:?}");
        assert!(above.contains(&"tier.gpu_tee_io.no_evidence"), "{above:?}");
        assert_eq!(appraisal.cpu_gpu_binding().as_str(), "none");
    }
}

#[test]
fn a_failed_row_2_takes_row_3_along_and_the_reverse_does_not_hold() {
    let (mut evidence, policy) = gpu_guest();
    evidence.tdx().td_attributes |= 1;
    let appraisal = evidence.appraise(&policy);
    assert_eq!(appraisal.tier(), PrivacyTier::Open);
    assert_eq!(evidence.codes(&policy, PrivacyTier::GpuCc), ["tdx.debug"]);
}

#[test]
fn the_fabric_refuses_its_twins() {
    each_refuses(
        fabric_guest,
        PrivacyTier::GpuCc,
        PrivacyTier::CpuTee,
        &[
            ("gpu.multi.not_protected", |e, _| {
                e.devices[1].protected_pcie = Some(false)
            }),
            ("gpu.multi.not_protected", |e, _| e.devices[0].protected_pcie = None),
            ("gpu.multi.nvlink_unproven", |e, _| {
                for gpu in &mut e.devices[..2] {
                    gpu.arch = NvidiaArch::Blackwell;
                    gpu.protected_pcie = None;
                }
            }),
            ("gpu.topology", |e, _| e.devices[0].switch_pdis[1] = [0x53; 8]),
            ("gpu.topology", |e, _| _ = e.devices[1].switch_pdis.pop()),
            ("gpu.topology", |e, _| e.devices[2].gpu_pdis.push([3; 8])),
            ("gpu.topology", |e, _| _ = e.devices[3].gpu_pdis.pop()),
            ("gpu.topology", |e, _| e.devices[3].own_pdi = Some([0x51; 8])),
            ("gpu.topology", |e, p| {
                _ = e.devices.pop();
                table(p).switches = Count::Any;
            }),
            ("gpu.topology", |e, p| {
                e.devices.truncate(2);
                table(p).switches = Count::Any;
                for gpu in &mut e.devices {
                    gpu.switch_pdis.clear();
                }
            }),
            ("gpu.topology", |e, p| {
                _ = e.devices.remove(0);
                table(p).gpus = Count::Any;
            }),
            ("gpu.rim.missing", |e, _| e.devices[3].rim = missing()),
            ("gpu.ocsp.missing", |e, _| e.devices[2].ocsp = OcspOutcome::NoAnswer),
            ("gpu.architecture", |_, p| {
                table(p).architectures = vec![Architecture::Hopper];
            }),
        ],
    );
}

#[test]
fn several_hopper_gpus_without_protected_pcie_are_capped_at_tier_2_and_say_why() {
    let (mut evidence, mut policy) = gpu_guest();
    evidence.devices = vec![gpu("a1"), gpu("a2")];
    policy.gpu = Some(GpuPolicy::any_device(2, 0));
    let appraisal = evidence.appraise(&policy);
    assert_eq!(appraisal.tier(), PrivacyTier::CpuTee);
    let capped = appraisal
        .failures()
        .iter()
        .find(|f| f.code == "gpu.multi.not_protected")
        .unwrap();
    assert!(capped.text.contains("GPU a1, GPU a2") && capped.help.contains("capped at tier 2"));
    assert_eq!(capped.tier, PrivacyTier::GpuCc);
}

#[test]
fn tier_4_needs_the_processors_word_for_these_very_gpus() {
    each_refuses(
        tee_io_guest,
        PrivacyTier::GpuTeeIo,
        PrivacyTier::GpuCc,
        &[
            ("gpu.tee_io.no_dev_info", |e, _| e.tdx().td15_extended = None),
            ("gpu.tee_io.no_dev_info", |e, _| {
                e.tdx().td15_extended.as_mut().unwrap().dev_info = [0; 48];
            }),
            ("gpu.tee_io.dev_info", |e, _| {
                e.tdx().td15_extended.as_mut().unwrap().dev_info = [0xd2; 48];
            }),
            ("gpu.tee_io.dev_info", |_, p| table(p).tee_io.clear()),
            // The value of another GPU, which the policy knows as well.
            ("gpu.tee_io.dev_info", |e, p| {
                table(p).tee_io.push(TeeIoReference {
                    dev_info: Digest384([0xd2; 48]),
                    ueids: vec![Ueid::from_hex("a2").unwrap()],
                });
                e.tdx().td15_extended.as_mut().unwrap().dev_info = [0xd2; 48];
            }),
            ("gpu.tee_io.dev_info", |e, _| e.devices[0] = gpu("a2")),
            // Another GPU is bound besides, and it did not answer.
            ("gpu.tee_io.dev_info", |_, p| {
                table(p).tee_io[0].ueids.push(Ueid::from_hex("a2").unwrap());
            }),
            ("gpu.tee_io.sev_tio_not_verified", |e, p| {
                let (mut snp, policy) = snp_guest();
                snp.report().platform_info |= 1 << 7;
                e.claims = snp.claims;
                p.snp = policy.snp;
            }),
        ],
    );
    let (evidence, policy) = tee_io_guest();
    let appraisal = evidence.appraise(&policy);
    assert_eq!(appraisal.cpu_gpu_binding().as_str(), "tdisp");
    assert!(appraisal.ladder().iter().filter(|r| r.holds).count() == 4);
}

#[test]
fn the_binding_is_reported_as_what_it_is() {
    let (mut evidence, policy) = gpu_guest();
    let binding = |e: &Evidence| e.appraise(&policy).cpu_gpu_binding().as_str();
    assert_eq!(binding(&evidence), "hash");
    evidence.list_is_signed = false;
    assert_eq!(binding(&evidence), "nonce");
    evidence.devices.clear();
    assert_eq!(binding(&evidence), "none");
}
