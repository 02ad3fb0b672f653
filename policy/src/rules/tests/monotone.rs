//! Appraisal is monotone: taking a claim away, or asking for more, never raises the tier.

use proptest::prelude::*;

use super::*;

/// Small value sets, so that a good share of the cases reaches tier 2.
fn facts() -> impl Strategy<Value = Facts> {
    let level = prop_oneof![40 => Just(5u8), 1 => 0u8..8];
    let tcb = (
        proptest::option::of(0u8..2),
        level.clone(),
        level.clone(),
        level.clone(),
        level,
    )
        .prop_map(|(fmc, bootloader, tee, snp, microcode)| TcbVersion {
            fmc,
            bootloader,
            tee,
            snp,
            microcode,
        });
    let product = prop_oneof![40 => Just(Product::Genoa), 1 => Just(Product::Milan), 1 => Just(Product::Turin)];
    let link = prop_oneof![
        40 => Just(Link::Keyset { config_digest: Digest256([8; 32]), challenged: true }),
        1 => Just(Link::Keyset { config_digest: Digest256([8; 32]), challenged: false }),
        1 => Just(Link::Keyset { config_digest: Digest256([1; 32]), challenged: true }),
        1 => Just(Link::Rcar),
        1 => Just(Link::Mismatch { bound: None, shown: None }),
    ];
    let policy_bits = prop_oneof![40 => Just(0x3_0000u64), 1 => any::<u64>()];
    let chip = prop_oneof![40 => Just(ChipId::new([9; 64])), 1 => Just(None)];
    let vmpl = prop_oneof![40 => Just(0u32), 1 => 0u32..4];
    let signing_key = prop_oneof![40 => Just(SigningKey::Vcek), 1 => Just(SigningKey::Vlek)];
    let revocation = prop_oneof![
        40 => Just(Revocation::Checked { next_update: UnixTime(10) }),
        1 => Just(Revocation::NoList),
    ];
    let measurement = prop_oneof![40 => Just(7u8), 1 => any::<u8>()];
    (
        (
            product,
            link,
            policy_bits,
            chip,
            vmpl,
            signing_key,
            revocation,
            measurement,
        ),
        [tcb.clone(), tcb.clone(), tcb],
    )
        .prop_map(
            |((product, link, guest_policy, chip, vmpl, signing_key, revocation, measurement), tcbs)| {
                // The first mutable code exists on Turin alone.
                let [reported_tcb, committed_tcb, launch_tcb] = tcbs.map(|t: TcbVersion| TcbVersion {
                    fmc: t.fmc.filter(|_| product == Product::Turin),
                    ..t
                });
                Facts {
                    product,
                    signing_key,
                    guest_policy,
                    vmpl,
                    measurement: Digest384([measurement; 48]),
                    chip,
                    reported_tcb,
                    committed_tcb,
                    launch_tcb,
                    revocation,
                    link,
                }
            },
        )
}

fn policies() -> impl Strategy<Value = AppraisalPolicy> {
    (4u8..7, any::<[bool; 5]>(), 0u8..2).prop_map(|(level, [any, milan, missing, vmpl, turin], fmc)| {
        let mut policy = asking();
        policy.tcb_floor.genoa = Some(EpycTcb {
            bootloader: level,
            tee: level,
            snp: 5,
            microcode: 5,
        });
        policy.tcb_floor.milan = policy.tcb_floor.genoa;
        policy.tcb_floor.turin = turin.then_some(TurinTcb {
            fmc,
            bootloader: level,
            tee: 5,
            snp: 5,
            microcode: level,
        });
        if any {
            policy.hardware = HardwareList::Any;
        }
        if milan {
            policy.milan = MilanPolicy::Accept;
        }
        if missing {
            policy.revocation = RevocationPolicy::AcceptMissing;
        }
        if vmpl {
            policy.vmpl = vec![0, 1, 2, 3];
        }
        policy
    })
}

/// Takes one claim away, or makes it say less.
fn weaken(facts: &mut Facts, which: u8) {
    let less = |tcb: &mut TcbVersion| {
        tcb.fmc = tcb.fmc.and_then(|v| v.checked_sub(1));
        tcb.bootloader = tcb.bootloader.saturating_sub(1);
        tcb.microcode = tcb.microcode.saturating_sub(1);
    };
    match which {
        0 => facts.chip = None,
        1 => facts.revocation = Revocation::NoList,
        2 => facts.guest_policy |= 1 << 19,
        3 => facts.guest_policy |= 1 << 18,
        4 => facts.guest_policy &= !(1 << 17),
        5 => less(&mut facts.reported_tcb),
        40 => less(&mut facts.committed_tcb),
        7 => less(&mut facts.launch_tcb),
        8 => {
            if let Link::Keyset { challenged, .. } = &mut facts.link {
                *challenged = false;
            }
        }
        9 => {
            facts.link = Link::Mismatch {
                bound: None,
                shown: None,
            }
        }
        10 => facts.measurement = Digest384([0; 48]),
        _ => {
            facts.signing_key = SigningKey::Vlek;
            facts.chip = None;
        }
    }
}

/// Asks for more, or says less.
fn tighten(policy: &mut AppraisalPolicy, which: u8) {
    let more = |floor: &mut Option<EpycTcb>| {
        if let Some(f) = floor {
            f.bootloader = f.bootloader.saturating_add(1);
            f.snp = f.snp.saturating_add(1);
        }
    };
    match which {
        0 => more(&mut policy.tcb_floor.genoa),
        1 => more(&mut policy.tcb_floor.milan),
        2 => {
            if let Some(f) = &mut policy.tcb_floor.turin {
                f.fmc = f.fmc.saturating_add(1);
            }
        }
        3 => policy.tcb_floor.turin = None,
        4 => policy.references.clear(),
        5 => policy.hardware = HardwareList::Listed(vec![]),
        40 => policy.milan = MilanPolicy::Refuse,
        7 => policy.revocation = RevocationPolicy::Required,
        8 => drop(policy.vmpl.pop()),
        9 => policy.version = 0,
        _ => policy.minimum_tier = PrivacyTier::GpuTeeIo,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn taking_a_claim_away_never_raises_the_tier(facts in facts(), policy in policies(), which in 0u8..12) {
        let mut less = facts.clone();
        weaken(&mut less, which);
        prop_assert!(run(&less, &policy).tier() <= run(&facts, &policy).tier());
    }

    #[test]
    fn asking_for_more_never_raises_the_tier_and_never_turns_no_into_yes(
        facts in facts(), policy in policies(), which in 0u8..11,
    ) {
        let mut more = policy.clone();
        tighten(&mut more, which);
        let (before, after) = (run(&facts, &policy), run(&facts, &more));
        prop_assert!(after.tier() <= before.tier());
        prop_assert!(before.is_accepted() || !after.is_accepted());
    }

    #[test]
    fn a_policy_that_says_nothing_grants_nothing(facts in facts()) {
        for minimum in PrivacyTier::ALL {
            let appraisal = run(&facts, &AppraisalPolicy::closed(minimum));
            prop_assert_eq!(appraisal.tier(), PrivacyTier::Open);
            prop_assert_eq!(appraisal.is_accepted(), minimum == PrivacyTier::Open);
        }
    }

    #[test]
    fn tier_2_means_that_no_rule_failed(facts in facts(), policy in policies()) {
        let appraisal = run(&facts, &policy);
        let failed = appraisal.failures_for(PrivacyTier::CpuTee).count();
        prop_assert_eq!(appraisal.tier() == PrivacyTier::CpuTee, failed == 0);
        prop_assert!(appraisal.tier() <= PrivacyTier::CpuTee);
        prop_assert!(appraisal.tier_if_fresh() >= appraisal.tier());
        for minimum in [PrivacyTier::AtRest, PrivacyTier::CpuTee, PrivacyTier::GpuCc, PrivacyTier::GpuTeeIo] {
            prop_assert!(appraisal.tier() >= minimum || appraisal.failures_for(minimum).count() > 0);
        }
    }
}

#[test]
fn the_strategies_reach_tier_2_often_enough_to_mean_something() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let reached = (0..512)
        .filter(|_| {
            let facts = facts().new_tree(&mut runner).unwrap().current();
            let policy = policies().new_tree(&mut runner).unwrap().current();
            run(&facts, &policy).tier() == PrivacyTier::CpuTee
        })
        .count();
    assert!(reached > 16, "only {reached} of 512");
}
