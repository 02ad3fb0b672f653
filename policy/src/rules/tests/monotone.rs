//! Appraisal is monotone: making a claim worse, or asking for more, never raises the tier.
//!
//! A step that makes evidence worse or a policy stricter is an index into a list. A random case starts at a base case, takes
//! some steps, and then one more: that one must not raise the tier.

use proptest::prelude::*;

use super::*;
use crate::policy::bits::{GuestPolicyBit, PlatformBit, TdAttribute};
use crate::policy::number::{DottedVersion, Hex64, Svn};
use crate::policy::tdx::AcceptedStatus;
use crate::policy::{Admission, Count};

type Base = fn() -> (Evidence, AppraisalPolicy);

const BASES: &[Base] = &[
    snp_guest,
    td_guest,
    tpm_machine,
    az_snp_guest,
    az_td_guest,
    gpu_guest,
    fabric_guest,
    tee_io_guest,
];

fn on_snp(e: &mut Evidence, change: fn(&mut SnpClaims)) {
    match &mut e.claims {
        Claims::Snp(c) => change(c),
        Claims::AzSnp(c) => change(&mut c.snp),
        _ => {}
    }
}

fn on_tdx(e: &mut Evidence, change: fn(&mut TdxClaims)) {
    match &mut e.claims {
        Claims::Tdx(c) => change(c),
        Claims::AzTdx(c) => change(&mut c.tdx),
        _ => {}
    }
}

fn on_tpm(e: &mut Evidence, change: fn(&mut TpmClaims)) {
    match &mut e.claims {
        Claims::Tpm(c) => change(c),
        Claims::AzSnp(c) => change(&mut c.tpm),
        Claims::AzTdx(c) => change(&mut c.tpm),
        _ => {}
    }
}

fn on_last_gpu(e: &mut Evidence, change: fn(&mut NvidiaClaims)) {
    if let Some(device) = e.devices.iter_mut().rev().find(|d| d.arch.is_gpu()) {
        change(device);
    }
}

/// Each takes a claim away, or makes it say less.
const WORSEN: &[fn(&mut Evidence)] = &[
    |e| e.revocation = Revocation::NoList,
    |e| {
        if let Link::Keyset { challenged, .. } = &mut e.link {
            *challenged = false;
        }
    },
    |e| {
        e.link = Link::Mismatch {
            bound: None,
            shown: None,
        }
    },
    |e| {
        e.link = Link::Keyset {
            config_digest: Digest256([0; 32]),
            challenged: true,
        }
    },
    |e| e.list_is_signed = false,
    |e| e.td_log = false,
    |e| e.tpm_log = false,
    |e| e.devices.clear(),
    |e| on_snp(e, |c| c.report.chip_id = [0; 64]),
    |e| on_snp(e, |c| c.report.policy |= 1 << 19),
    |e| on_snp(e, |c| c.report.policy |= 1 << 18),
    |e| on_snp(e, |c| c.report.policy |= 1 << 33),
    |e| on_snp(e, |c| c.report.policy &= !(1 << 17)),
    |e| on_snp(e, |c| c.report.policy &= !0xffff),
    |e| on_snp(e, |c| c.report.platform_info |= 1 << 33),
    |e| on_snp(e, |c| c.report.reported_tcb.bootloader = 0),
    |e| on_snp(e, |c| c.report.launch_tcb.microcode = 0),
    |e| on_snp(e, |c| c.report.committed_tcb.snp = 0),
    |e| on_snp(e, |c| c.report.committed_firmware.minor = 0),
    |e| on_snp(e, |c| c.report.launch_mitigations = None),
    |e| on_snp(e, |c| c.report.measurement = [0; 48]),
    |e| on_snp(e, |c| c.report.guest_svn = 0),
    |e| on_snp(e, |c| c.report.vmpl = 3),
    |e| on_snp(e, |c| c.product = Product::Milan),
    |e| {
        on_snp(e, |c| {
            c.signing_key = SigningKey::Vlek;
            c.provider = None;
        });
    },
    |e| on_tdx(e, |c| c.td_attributes |= 1),
    |e| on_tdx(e, |c| c.td_attributes |= 1 << 29),
    |e| on_tdx(e, |c| c.td_attributes |= 1 << 40),
    |e| on_tdx(e, |c| c.td_attributes &= !(1 << 28)),
    |e| on_tdx(e, |c| c.xfam |= 1 << 60),
    |e| on_tdx(e, |c| c.xfam &= !1),
    |e| on_tdx(e, |c| c.mr_signer_seam = [1; 48]),
    |e| on_tdx(e, |c| c.seam_attributes = 1),
    |e| on_tdx(e, |c| c.tcb_status = TcbStatus::Revoked),
    |e| on_tdx(e, |c| c.tcb_status = TcbStatus::OutOfDate),
    |e| on_tdx(e, |c| c.advisories.push("INTEL-SA-09999".into())),
    |e| on_tdx(e, |c| c.tcb_evaluation_data_number = 0),
    |e| on_tdx(e, |c| c.tee_tcb_svn = [0; 16]),
    |e| on_tdx(e, |c| c.ppid = [0; 16]),
    |e| on_tdx(e, |c| c.rtmr[2] = [0; 48]),
    |e| on_tdx(e, |c| c.td15_extended = None),
    |e| {
        on_tdx(e, |c| {
            if let Some(extended) = &mut c.td15_extended {
                extended.dev_info = [0x55; 48];
            }
        });
    },
    |e| {
        on_tdx(e, |c| {
            if let Some(td15) = &mut c.td15 {
                td15.mr_service_td = [1; 48];
            }
        });
    },
    |e| on_tpm(e, |c| c.ak_origin = AkOrigin::Unknown),
    |e| on_tpm(e, |c| _ = c.pcrs.remove(&4)),
    |e| on_tpm(e, |c| _ = c.pcrs.insert(7, [0; 32])),
    |e| on_tpm(e, |c| c.pcrs_sha384.clear()),
    |e| on_tpm(e, |c| _ = c.pcrs_sha384.insert(4, [0; 48])),
    |e| {
        on_last_gpu(e, |d| {
            d.rim = RimOutcome::Missing {
                ids: vec!["NV_X".into()],
            }
        })
    },
    |e| {
        on_last_gpu(e, |d| {
            d.rim = RimOutcome::Mismatch {
                indexes: vec![9],
                ids: vec!["NV_X".into()],
            }
        });
    },
    |e| on_last_gpu(e, |d| d.ocsp = OcspOutcome::NoAnswer),
    |e| on_last_gpu(e, |d| d.ocsp = OcspOutcome::OnHold),
    |e| on_last_gpu(e, |d| d.fwid = Fwid::Absent),
    |e| on_last_gpu(e, |d| d.driver_version = None),
    |e| on_last_gpu(e, |d| d.feature_flag = None),
    |e| on_last_gpu(e, |d| d.ueid = "ffff".into()),
    |e| on_last_gpu(e, |d| d.protected_pcie = None),
    |e| on_last_gpu(e, |d| _ = d.switch_pdis.pop()),
];

fn on<T>(table: &mut Option<T>, change: impl FnOnce(&mut T)) {
    if let Some(table) = table {
        change(table);
    }
}

/// Each asks for more, or accepts less.
const TIGHTEN: &[fn(&mut AppraisalPolicy)] = &[
    |p| p.version = 0,
    |p| p.minimum_tier = PrivacyTier::GpuTeeIo,
    |p| p.revocation = RevocationPolicy::Required,
    |p| p.snp = None,
    |p| p.tdx = None,
    |p| p.tpm = None,
    |p| p.gpu = None,
    // Both: a report under a provider's key names no chip, so with providers alone left it is the better one.
    |p| {
        on(&mut p.snp, |t| {
            t.hardware = AllowList::none();
            t.vlek_providers = AllowList::none();
        });
    },
    |p| on(&mut p.snp, |t| t.vlek_providers = AllowList::none()),
    |p| on(&mut p.snp, |t| t.milan = MilanPolicy::Refuse),
    |p| on(&mut p.snp, |t| _ = t.vmpl.pop()),
    |p| on(&mut p.snp, |t| t.provisional_firmware = Admission::Refuse),
    |p| on(&mut p.snp, |t| t.mitigations = vec![0, 5]),
    |p| on(&mut p.snp, |t| t.id_keys = AllowList::none()),
    |p| on(&mut p.snp, |t| t.author_keys = AllowList::none()),
    |p| on(&mut p.snp, |t| t.host_data = AllowList::none()),
    |p| on(&mut p.snp, |t| t.guest_svn_minimum = 9),
    |p| on(&mut p.snp, |t| t.minimum_abi.major = 9),
    |p| on(&mut p.snp, |t| t.minimum_firmware.major = 9),
    |p| on(&mut p.snp, |t| t.tcb_floor.genoa = Some(epyc(6))),
    |p| on(&mut p.snp, |t| t.tcb_floor = TcbFloors::default()),
    |p| {
        on(&mut p.snp, |t| {
            t.guest_policy.required = vec![GuestPolicyBit::SingleSocket]
        })
    },
    |p| on(&mut p.snp, |t| t.guest_policy.unknown = Admission::Refuse),
    |p| on(&mut p.snp, |t| t.platform_info.forbidden = vec![PlatformBit::Ecc]),
    |p| on(&mut p.snp, |t| t.platform_info.unknown = Admission::Refuse),
    |p| on(&mut p.snp, |t| _ = t.references.pop()),
    |p| on(&mut p.snp, |t| _ = t.paravisors.pop()),
    |p| on(&mut p.tdx, |t| t.hardware = AllowList::none()),
    |p| on(&mut p.tdx, |t| _ = t.tcb_statuses.pop()),
    |p| on(&mut p.tdx, |t| _ = t.advisories.pop()),
    |p| on(&mut p.tdx, |t| t.minimum_tcb_evaluation_data_number = 99),
    |p| on(&mut p.tdx, |t| t.tee_tcb_svn_floor = Svn([9; 16])),
    |p| on(&mut p.tdx, |t| t.xfam_allowed = Hex64(3)),
    |p| on(&mut p.tdx, |t| t.mr_seam = AllowList::none()),
    |p| on(&mut p.tdx, |t| t.mr_config_id = AllowList::none()),
    |p| on(&mut p.tdx, |t| t.mr_owner = AllowList::none()),
    |p| on(&mut p.tdx, |t| t.mr_owner_config = AllowList::none()),
    |p| on(&mut p.tdx, |t| _ = t.service_tds.pop()),
    |p| on(&mut p.tdx, |t| t.event_log = Presence::Required),
    |p| on(&mut p.tdx, |t| t.attributes.required.push(TdAttribute::Perfmon)),
    |p| on(&mut p.tdx, |t| t.attributes.unknown = Admission::Refuse),
    |p| on(&mut p.tdx, |t| _ = t.references.pop()),
    |p| on(&mut p.tdx, |t| _ = t.paravisors.pop()),
    |p| on(&mut p.tpm, |t| t.hardware = AllowList::none()),
    |p| on(&mut p.tpm, |t| t.event_log = Presence::Required),
    |p| on(&mut p.tpm, |t| _ = t.references.pop()),
    |p| on(&mut p.gpu, |t| t.hardware = AllowList::none()),
    |p| on(&mut p.gpu, |t| _ = t.architectures.pop()),
    |p| on(&mut p.gpu, |t| t.architectures.clear()),
    |p| on(&mut p.gpu, |t| t.gpus = Count::Exactly(31)),
    |p| on(&mut p.gpu, |t| t.switches = Count::Exactly(31)),
    |p| on(&mut p.gpu, |t| t.minimum_driver = DottedVersion::parse("999").unwrap()),
    |p| on(&mut p.gpu, |t| t.ocsp = Presence::Required),
    |p| on(&mut p.gpu, |t| t.on_hold = Admission::Refuse),
    |p| on(&mut p.gpu, |t| t.fwid = Presence::Required),
    |p| on(&mut p.gpu, |t| t.feature_flags = AllowList::none()),
    |p| on(&mut p.gpu, |t| _ = t.tee_io.pop()),
];

/// Each accepts more: so that a later step has something to lose. Twice the same is the same once: no policy gets out of its
/// ranges.
const LOOSEN: &[fn(&mut AppraisalPolicy)] = &[
    |p| p.revocation = RevocationPolicy::AcceptMissing,
    |p| {
        on(&mut p.snp, |t| {
            t.hardware = AllowList::Any;
            t.vlek_providers = AllowList::Any;
        });
    },
    |p| {
        on(&mut p.snp, |t| {
            t.milan = MilanPolicy::Accept;
            t.tcb_floor.milan = Some(epyc(0));
        });
    },
    |p| on(&mut p.snp, |t| t.vmpl = vec![0, 1, 2, 3]),
    |p| on(&mut p.snp, |t| t.provisional_firmware = Admission::Accept),
    |p| on(&mut p.snp, |t| t.guest_policy.unknown = Admission::Accept),
    |p| on(&mut p.snp, |t| t.platform_info.unknown = Admission::Accept),
    |p| on(&mut p.tdx, |t| t.hardware = AllowList::Any),
    |p| {
        on(&mut p.tdx, |t| {
            t.tcb_statuses = vec![AcceptedStatus::UpToDate, AcceptedStatus::OutOfDate];
        });
    },
    |p| on(&mut p.tdx, |t| t.advisories = vec!["INTEL-SA-09999".into()]),
    |p| on(&mut p.tdx, |t| t.xfam_allowed = Hex64(u64::MAX)),
    |p| on(&mut p.tdx, |t| t.service_tds = vec![Digest384([1; 48])]),
    |p| {
        on(&mut p.tdx, |t| {
            t.attributes = crate::policy::bits::BitRules::known_bits()
        })
    },
    |p| on(&mut p.tdx, |t| t.attributes.unknown = Admission::Accept),
    |p| on(&mut p.gpu, |t| t.ocsp = Presence::AcceptMissing),
    |p| on(&mut p.gpu, |t| t.on_hold = Admission::Accept),
    |p| on(&mut p.gpu, |t| t.fwid = Presence::AcceptMissing),
    |p| on(&mut p.gpu, |t| (t.gpus, t.switches) = (Count::Any, Count::Any)),
];

/// A base case after a few random steps: mostly none or one of each, so that many cases reach something.
fn cases() -> impl Strategy<Value = (Evidence, AppraisalPolicy)> {
    let few = |n: usize, most: usize| proptest::collection::vec(0..n, 0..=most);
    (
        0..BASES.len(),
        few(LOOSEN.len(), 6),
        proptest::option::weighted(0.3, 0..WORSEN.len()),
        proptest::option::weighted(0.1, 0..TIGHTEN.len()),
    )
        .prop_map(|(base, loosen, worsen, tighten)| {
            let (mut evidence, mut policy) = BASES[base]();
            for i in loosen {
                LOOSEN[i](&mut policy);
            }
            if let Some(i) = worsen {
                WORSEN[i](&mut evidence);
            }
            if let Some(i) = tighten {
                TIGHTEN[i](&mut policy);
            }
            (evidence, policy)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

    #[test]
    fn making_a_claim_worse_never_raises_the_tier((evidence, policy) in cases(), which in 0..WORSEN.len()) {
        let mut worse = evidence.clone();
        WORSEN[which](&mut worse);
        prop_assert!(worse.appraise(&policy).tier() <= evidence.appraise(&policy).tier());
    }

    #[test]
    fn asking_for_more_never_raises_the_tier_and_never_turns_no_into_yes(
        (evidence, policy) in cases(), which in 0..TIGHTEN.len(),
    ) {
        let mut stricter = policy.clone();
        TIGHTEN[which](&mut stricter);
        let (before, after) = (evidence.appraise(&policy), evidence.appraise(&stricter));
        prop_assert!(after.tier() <= before.tier());
        prop_assert!(before.is_accepted() || !after.is_accepted());
    }

    /// The directions that `diff` tells are true: without a wider or changed key nothing gets a higher tier.
    #[test]
    fn a_policy_that_is_only_narrower_never_grants_more((evidence, policy) in cases(), (_, other) in cases()) {
        for (from, to) in [(&policy, &other), (&other, &policy)] {
            let differences = crate::diff::diff(from, to);
            // A policy out of its ranges grants nothing, whatever it says.
            let valid = from.check().is_ok();
            if valid && differences.iter().all(|d| d.direction == crate::diff::Direction::Narrower) {
                prop_assert!(evidence.appraise(to).tier() <= evidence.appraise(from).tier());
            }
        }
    }

    /// A device that is missing from as many as the policy names never helps, and without the last GPU nothing is above 2.
    #[test]
    fn taking_a_device_away_never_raises_the_tier((evidence, mut policy) in cases(), which in 0usize..4) {
        let gpus = evidence.facts().gpus.len();
        let switches = evidence.facts().switches.len();
        on(&mut policy.gpu, |t| (t.gpus, t.switches) = (count(gpus), count(switches)));
        let mut fewer = evidence.clone();
        if which < fewer.devices.len() {
            fewer.devices.remove(which);
        }
        let (before, after) = (evidence.appraise(&policy), fewer.appraise(&policy));
        prop_assert!(after.tier() <= before.tier());
        fewer.devices.retain(|d| !d.arch.is_gpu());
        on(&mut policy.gpu, |t| (t.gpus, t.switches) = (Count::Any, Count::Any));
        prop_assert!(fewer.appraise(&policy).tier() <= PrivacyTier::CpuTee);
        prop_assert_eq!(fewer.appraise(&policy).cpu_gpu_binding().as_str(), "none");
    }

    #[test]
    fn a_policy_that_says_nothing_grants_nothing((evidence, _) in cases()) {
        for minimum in PrivacyTier::ALL {
            let closed = AppraisalPolicy::closed(minimum);
            let with_tables = closed
                .clone()
                .with_snp(SnpPolicy::closed())
                .with_tdx(TdxPolicy::closed())
                .with_tpm(TpmPolicy::closed())
                .with_gpu(GpuPolicy::closed());
            for policy in [closed, with_tables] {
                let appraisal = evidence.appraise(&policy);
                prop_assert_eq!(appraisal.tier(), PrivacyTier::Open);
                prop_assert_eq!(appraisal.is_accepted(), minimum == PrivacyTier::Open);
            }
        }
    }

    #[test]
    fn a_tier_means_that_no_rule_of_it_failed((evidence, policy) in cases()) {
        let appraisal = evidence.appraise(&policy);
        let failed = |tier| appraisal.failures().iter().filter(|f| f.tier == tier).count();
        match appraisal.tier() {
            PrivacyTier::Open => prop_assert!(failed(PrivacyTier::AtRest) > 0 && failed(PrivacyTier::CpuTee) > 0),
            tier @ (PrivacyTier::AtRest | PrivacyTier::CpuTee) => prop_assert_eq!(failed(tier), 0),
            PrivacyTier::GpuCc => prop_assert_eq!(failed(PrivacyTier::CpuTee) + failed(PrivacyTier::GpuCc), 0),
            PrivacyTier::GpuTeeIo => prop_assert_eq!(
                failed(PrivacyTier::CpuTee) + failed(PrivacyTier::GpuCc) + failed(PrivacyTier::GpuTeeIo), 0),
        }
        prop_assert!(appraisal.tier_if_fresh() >= appraisal.tier());
        for minimum in [PrivacyTier::AtRest, PrivacyTier::CpuTee, PrivacyTier::GpuCc, PrivacyTier::GpuTeeIo] {
            prop_assert!(appraisal.tier() >= minimum || appraisal.failures_for(minimum).count() > 0);
        }
    }
}

fn count(n: usize) -> Count {
    Count::Exactly(n.try_into().unwrap())
}

#[test]
fn each_step_of_these_tests_is_what_diff_says_it_is() {
    use crate::diff::{Direction, diff};
    let (mut narrower, mut wider) = (0, 0);
    for base in BASES {
        let (_, policy) = base();
        for tighten in TIGHTEN {
            let mut stricter = policy.clone();
            tighten(&mut stricter);
            for d in diff(&policy, &stricter) {
                assert!(d.direction != Direction::Wider, "{d:?}");
                narrower += 1;
            }
        }
        for loosen in LOOSEN {
            let mut looser = policy.clone();
            loosen(&mut looser);
            for d in diff(&policy, &looser) {
                assert_eq!(d.direction, Direction::Wider, "{d:?}");
                wider += 1;
            }
        }
    }
    assert!(narrower > 100 && wider > 50, "{narrower} {wider}");
}

#[test]
fn the_cases_reach_every_tier_often_enough_to_mean_something() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut reached = BTreeMap::new();
    for _ in 0..512 {
        let (evidence, policy) = cases().new_tree(&mut runner).unwrap().current();
        *reached.entry(evidence.appraise(&policy).tier()).or_insert(0) += 1;
    }
    assert!(
        PrivacyTier::ALL.iter().all(|t| reached.get(t).is_some_and(|n| *n > 16)),
        "{reached:?}"
    );
}
