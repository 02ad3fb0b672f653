//! Each rule against an accepted base case and its nearest refused twin; then the properties of the whole ladder.

use hanzo_attestation::snp::{Product, SigningKey, TcbVersion};
use hanzo_attestation::{Digest256, Digest384, Revocation, UnixTime};

use crate::appraisal::{Appraisal, of_facts};
use crate::facts::{Facts, Link};
use crate::hardware::{ChipId, HardwareList};
use crate::policy::{AppraisalPolicy, EpycTcb, MilanPolicy, Reference, RevocationPolicy, TurinTcb};
use crate::tier::PrivacyTier;

mod monotone;
mod real;

fn tcb(level: u8) -> TcbVersion {
    TcbVersion {
        fmc: None,
        bootloader: level,
        tee: level,
        snp: level,
        microcode: level,
    }
}

fn healthy() -> Facts {
    Facts {
        product: Product::Genoa,
        signing_key: SigningKey::Vcek,
        guest_policy: 0x3_0000,
        vmpl: 0,
        measurement: Digest384([7; 48]),
        chip: ChipId::new([9; 64]),
        reported_tcb: tcb(5),
        committed_tcb: tcb(5),
        launch_tcb: tcb(5),
        revocation: Revocation::Checked {
            next_update: UnixTime(10),
        },
        link: Link::Keyset {
            config_digest: Digest256([8; 32]),
            challenged: true,
        },
    }
}

fn asking() -> AppraisalPolicy {
    let mut policy = AppraisalPolicy::closed(PrivacyTier::CpuTee);
    policy.hardware = HardwareList::Listed(vec![ChipId::new([9; 64]).unwrap()]);
    policy.vmpl = vec![0];
    policy.tcb_floor.genoa = Some(EpycTcb {
        bootloader: 5,
        tee: 5,
        snp: 5,
        microcode: 5,
    });
    policy.references = vec![Reference {
        name: hanzo_attestation::name::Name::new("base").unwrap(),
        measurement: Digest384([7; 48]),
        config_digest: Digest256([8; 32]),
    }];
    policy
}

fn run(facts: &Facts, policy: &AppraisalPolicy) -> Appraisal {
    of_facts(facts, false, policy)
}

fn codes(facts: &Facts, policy: &AppraisalPolicy) -> Vec<&'static str> {
    run(facts, policy)
        .failures_for(PrivacyTier::CpuTee)
        .map(|f| f.code)
        .collect()
}

#[test]
fn the_base_case_reaches_tier_2_and_says_why_not_more() {
    let appraisal = run(&healthy(), &asking());
    assert_eq!(appraisal.tier(), PrivacyTier::CpuTee);
    assert!(appraisal.is_accepted());
    assert_eq!(appraisal.reference().unwrap().as_str(), "base");
    let above: Vec<_> = appraisal.failures_above().map(|f| f.code).collect();
    assert_eq!(above, ["tier.gpu_cc.not_verified", "tier.gpu_tee_io.not_verified"]);
    let holds: Vec<_> = appraisal.ladder().iter().map(|r| r.holds).collect();
    assert_eq!(
        holds,
        [true, false, true, false, false],
        "tier 1 has evidence of its own"
    );
}

type Change = fn(&mut Facts, &mut AppraisalPolicy);

#[test]
fn every_rule_refuses_the_nearest_twin_of_the_base_case_and_no_other_rule_does() {
    let cases: &[(&str, Change)] = &[
        ("policy.value", |_, p| p.version = 2),
        ("binding.keyset", |f, _| {
            f.link = Link::Mismatch {
                bound: Some(Digest384([1; 48])),
                shown: Some(Digest384([2; 48])),
            }
        }),
        ("freshness.none", |f, _| {
            f.link = Link::Keyset {
                config_digest: Digest256([8; 32]),
                challenged: false,
            }
        }),
        ("revocation.missing", |f, _| f.revocation = Revocation::NoList),
        ("snp.product.milan", |f, p| {
            f.product = Product::Milan;
            p.tcb_floor.milan = p.tcb_floor.genoa;
        }),
        ("snp.hardware", |f, _| f.chip = ChipId::new([10; 64])),
        ("snp.hardware", |f, _| f.chip = None),
        ("snp.hardware", |f, _| f.signing_key = SigningKey::Vlek),
        ("snp.hardware", |_, p| p.hardware = HardwareList::Listed(vec![])),
        ("snp.tcb.no_floor", |_, p| p.tcb_floor.genoa = None),
        ("snp.tcb.below_floor", |f, _| f.reported_tcb.snp = 4),
        ("snp.tcb.below_floor", |f, _| f.reported_tcb.bootloader = 4),
        ("snp.tcb.below_floor", |f, _| f.committed_tcb.tee = 4),
        ("snp.tcb.below_floor", |f, _| f.launch_tcb.microcode = 4),
        ("snp.policy.reserved", |f, _| f.guest_policy &= !(1 << 17)),
        ("snp.debug", |f, _| f.guest_policy |= 1 << 19),
        ("snp.migratable", |f, _| f.guest_policy |= 1 << 18),
        ("snp.vmpl", |f, _| f.vmpl = 1),
        ("snp.vmpl", |_, p| p.vmpl = vec![1, 2]),
        ("config.not_reference", |f, _| {
            f.link = Link::Keyset {
                config_digest: Digest256([9; 32]),
                challenged: true,
            }
        }),
    ];
    for (code, change) in cases {
        let (mut facts, mut policy) = (healthy(), asking());
        change(&mut facts, &mut policy);
        assert_eq!(codes(&facts, &policy), [*code]);
        let appraisal = run(&facts, &policy);
        assert_eq!(
            appraisal.tier(),
            PrivacyTier::Open,
            "{code}: SNP evidence never falls to tier 1"
        );
        assert!(!appraisal.is_accepted());
    }
}

#[test]
fn another_measurement_fails_the_configuration_too_and_both_are_reported() {
    let mut facts = healthy();
    facts.measurement.0[47] ^= 1;
    assert_eq!(codes(&facts, &asking()), ["snp.measurement", "config.not_reference"]);
    facts.guest_policy |= 1 << 19;
    facts.vmpl = 3;
    assert_eq!(
        codes(&facts, &asking()),
        ["snp.debug", "snp.vmpl", "snp.measurement", "config.not_reference"],
        "all failed rules, not the first"
    );
}

#[test]
fn measurement_and_configuration_must_be_of_the_same_reference() {
    let (mut facts, mut policy) = (healthy(), asking());
    policy.references.push(Reference {
        name: hanzo_attestation::name::Name::new("other").unwrap(),
        measurement: Digest384([1; 48]),
        config_digest: Digest256([2; 32]),
    });
    facts.link = Link::Keyset {
        config_digest: Digest256([2; 32]),
        challenged: true,
    };
    assert_eq!(codes(&facts, &policy), ["config.not_reference"]);
    facts.measurement = Digest384([1; 48]);
    assert_eq!(run(&facts, &policy).reference().unwrap().as_str(), "other");
}

#[test]
fn a_broker_session_is_judged_by_the_measurement_alone() {
    let mut facts = healthy();
    facts.link = Link::Rcar;
    assert_eq!(codes(&facts, &asking()), [""; 0]);
    facts.measurement = Digest384([1; 48]);
    assert_eq!(codes(&facts, &asking()), ["snp.measurement"]);
}

#[test]
fn switches_open_what_they_name_and_nothing_else() {
    let (mut facts, mut policy) = (healthy(), asking());
    facts.product = Product::Milan;
    policy.tcb_floor.milan = policy.tcb_floor.genoa;
    policy.milan = MilanPolicy::Accept;
    facts.revocation = Revocation::NoList;
    policy.revocation = RevocationPolicy::AcceptMissing;
    facts.signing_key = SigningKey::Vlek;
    facts.chip = None;
    policy.hardware = HardwareList::Any;
    assert_eq!(run(&facts, &policy).tier(), PrivacyTier::CpuTee);
}

#[test]
fn turin_is_held_to_its_first_mutable_code() {
    let (mut facts, mut policy) = (healthy(), asking());
    facts.product = Product::Turin;
    for tcb in [&mut facts.reported_tcb, &mut facts.committed_tcb, &mut facts.launch_tcb] {
        tcb.fmc = Some(1);
    }
    policy.tcb_floor.turin = Some(TurinTcb {
        fmc: 1,
        bootloader: 5,
        tee: 5,
        snp: 5,
        microcode: 5,
    });
    assert_eq!(run(&facts, &policy).tier(), PrivacyTier::CpuTee);
    for fmc in [None, Some(0)] {
        facts.launch_tcb.fmc = fmc;
        assert_eq!(codes(&facts, &policy), ["snp.tcb.below_floor"]);
    }
}

#[test]
fn texts_name_the_field_the_expected_and_the_got() {
    let (mut facts, policy) = (healthy(), asking());
    facts.reported_tcb.snp = 4;
    facts.launch_tcb.microcode = 0;
    let appraisal = run(&facts, &policy);
    let failure = appraisal.failures_for(PrivacyTier::CpuTee).next().unwrap();
    assert_eq!(
        failure.text,
        "REPORTED_TCB.snp: expected at least 5, got 4; LAUNCH_TCB.microcode: expected at least 5, got 0"
    );
    facts = healthy();
    facts.vmpl = 2;
    let appraisal = run(&facts, &policy);
    assert_eq!(
        appraisal.failures_for(PrivacyTier::CpuTee).next().unwrap().text,
        "VMPL: expected one of [0], got 2"
    );
    facts = healthy();
    facts.product = Product::Milan;
    let appraisal = run(&facts, &policy);
    let milan = appraisal
        .failures()
        .iter()
        .find(|f| f.code == "snp.product.milan")
        .unwrap();
    assert!(milan.text.contains("arXiv 2605.12990") && milan.help.contains("milan = \"accept\""));
}
