//! Real reports of real processors: authentic, and then judged. Their REPORT_DATA is not of our formats, so they cannot be
//! bound; the link is set by hand, everything else is what the processor signed.

use hanzo_attestation::bundle::{Base64, SnpEvidence};
use hanzo_attestation::{Anchors, Collateral, RawEvidence};
use std::io::Write as _;

use super::*;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors/snp");
/// 2025-11-01, inside the validity of every certificate used here.
const NOW: UnixTime = UnixTime(1_761_955_200);

fn real(report: &str, vek: &str) -> Option<Facts> {
    let read = |name: &str| std::fs::read(format!("{VECTORS}/{name}")).ok().map(Base64);
    let (Some(report), Some(vek)) = (read(report), read(vek)) else {
        let _ = writeln!(std::io::stderr(), "VECTORS MISSING {VECTORS}: not run");
        return None;
    };
    let evidence = SnpEvidence {
        ask: None,
        crl: None,
        report,
        vek,
    };
    let authentic = RawEvidence::Snp(evidence)
        .parse()
        .unwrap()
        .authenticate(&Anchors::vendor(), &Collateral::default(), NOW)
        .unwrap();
    assert!(!authentic.is_simulated());
    Facts::of_authentic(&authentic, Link::Rcar)
}

/// Asks for exactly what `facts` show, and takes no CRL for an answer.
fn asking_for(facts: &Facts) -> AppraisalPolicy {
    let mut policy = asking();
    let all = [facts.reported_tcb, facts.committed_tcb, facts.launch_tcb];
    let lowest = |component: fn(&TcbVersion) -> u8| all.iter().map(component).min().unwrap();
    let (bootloader, tee) = (lowest(|t| t.bootloader), lowest(|t| t.tee));
    let (snp, microcode) = (lowest(|t| t.snp), lowest(|t| t.microcode));
    let floor = Some(EpycTcb {
        bootloader,
        tee,
        snp,
        microcode,
    });
    policy.tcb_floor.milan = floor;
    policy.tcb_floor.genoa = floor;
    policy.tcb_floor.turin = facts.launch_tcb.fmc.map(|fmc| TurinTcb {
        fmc,
        bootloader,
        tee,
        snp,
        microcode,
    });
    policy.revocation = RevocationPolicy::AcceptMissing;
    policy.references[0].measurement = facts.measurement;
    policy.hardware = match facts.chip {
        Some(id) => HardwareList::Listed(vec![id]),
        None => HardwareList::Any,
    };
    policy
}

#[test]
fn a_real_milan_report_is_authentic_and_refused_unless_the_policy_takes_the_risk() {
    let Some(facts) = real("milan_v2_virtee.bin", "milan_v2_virtee.vcek.der") else {
        return;
    };
    let mut policy = asking_for(&facts);
    assert_eq!(codes(&facts, &policy), ["snp.product.milan"]);
    policy.milan = MilanPolicy::Accept;
    assert_eq!(codes(&facts, &policy), [""; 0]);
    policy.revocation = RevocationPolicy::Required;
    assert_eq!(codes(&facts, &policy), ["revocation.missing"]);
}

#[test]
fn a_real_debug_guest_is_refused_for_its_debug_bit() {
    let Some(facts) = real("milan_v2_debug_google.bin", "milan_v2_debug_google.vcek.der") else {
        return;
    };
    let mut policy = asking_for(&facts);
    policy.milan = MilanPolicy::Accept;
    assert_eq!(codes(&facts, &policy), ["snp.debug"]);
}

#[test]
fn a_real_vlek_report_from_vmpl_1_names_no_chip() {
    let Some(facts) = real("milan_v3_vlek_vmpl1_trustee.bin", "milan_v3.vlek.der") else {
        return;
    };
    assert_eq!(facts.chip, None);
    let mut policy = asking_for(&facts);
    policy.milan = MilanPolicy::Accept;
    assert_eq!(codes(&facts, &policy), ["snp.vmpl"]);
    policy.vmpl = vec![1];
    let launch = facts.launch_tcb.microcode;
    if launch > facts.reported_tcb.microcode {
        let mut as_launched = policy.clone();
        as_launched.tcb_floor.milan.as_mut().unwrap().microcode = launch;
        assert_eq!(
            codes(&facts, &as_launched),
            ["snp.tcb.below_floor"],
            "the host lowered the reported TCB"
        );
    }
    assert_eq!(codes(&facts, &policy), [""; 0]);
    policy.hardware = asking().hardware;
    assert_eq!(codes(&facts, &policy), ["snp.hardware"]);
}

#[test]
fn a_real_turin_report_reaches_tier_2_and_its_twin_under_a_higher_floor_does_not() {
    let Some(facts) = real("turin_v5_oak_oc.bin", "turin_oc_oak.vcek.der") else {
        return;
    };
    let mut policy = asking_for(&facts);
    assert_eq!(codes(&facts, &policy), [""; 0]);
    assert_eq!(run(&facts, &policy).tier(), PrivacyTier::CpuTee);
    policy.tcb_floor.turin.as_mut().unwrap().microcode += 1;
    assert_eq!(codes(&facts, &policy), ["snp.tcb.below_floor"]);
}
