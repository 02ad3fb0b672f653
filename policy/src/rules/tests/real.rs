//! Real reports of real processors: authentic, and then judged. Their REPORT_DATA is not of our formats, so they cannot be
//! bound; the link is set by hand, everything else is what the processor signed.

use std::io::Write as _;

use hanzo_attestation::bundle::{Base64, SnpEvidence};
use hanzo_attestation::{Anchors, Collateral, RawEvidence};

use super::*;
use crate::policy::Admission;

mod gpu;
mod tdx;

/// A public vector; `None`, said loudly, without them.
fn vectors(name: &str) -> Option<Vec<u8>> {
    let found = ["/../../shared/vectors", "/../../../shared/vectors"]
        .iter()
        .find_map(|to| std::fs::read(format!("{}{to}/{name}", env!("CARGO_MANIFEST_DIR"))).ok());
    if found.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "VECTORS MISSING (shared/vectors beside the repository): {name} was NOT judged"
        );
    }
    found
}

/// 2025-11-01, inside the validity of every certificate used here.
const NOW: UnixTime = UnixTime(1_761_955_200);

fn real(report: &str, vek: &str) -> Option<Evidence> {
    let read = |name: &str| vectors(&format!("snp/{name}")).map(Base64);
    let (report, vek) = (read(report)?, read(vek)?);
    let raw = SnpEvidence {
        ask: None,
        crl: None,
        report,
        vek,
    };
    let authentic = RawEvidence::Snp(raw)
        .parse()
        .unwrap()
        .authenticate(&Anchors::vendor(), &Collateral::default(), NOW)
        .unwrap();
    assert!(!authentic.is_simulated());
    let mut evidence = Evidence::of(authentic.claims().clone());
    evidence.revocation = authentic.revocation();
    evidence.link = Link::Rcar;
    Some(evidence)
}

/// Asks for exactly what the report shows, and takes no CRL for an answer.
fn asking_for(evidence: &mut Evidence) -> AppraisalPolicy {
    let (_, mut policy) = snp_guest();
    policy.revocation = RevocationPolicy::AcceptMissing;
    let signing_key = evidence.snp().signing_key;
    let report = evidence.report();
    let all = [report.reported_tcb, report.committed_tcb, report.launch_tcb];
    let lowest = |component: fn(&TcbVersion) -> u8| all.iter().map(component).min().unwrap();
    let (bootloader, tee) = (lowest(|t| t.bootloader), lowest(|t| t.tee));
    let (snp, microcode) = (lowest(|t| t.snp), lowest(|t| t.microcode));
    let floor = Some(EpycTcb {
        bootloader,
        tee,
        snp,
        microcode,
    });
    let table = policy.snp.as_mut().unwrap();
    table.tcb_floor.milan = floor;
    table.tcb_floor.genoa = floor;
    table.tcb_floor.turin = report.launch_tcb.fmc.map(|fmc| TurinTcb {
        fmc,
        bootloader,
        tee,
        snp,
        microcode,
    });
    table.references[0].measurement = Digest384(report.measurement);
    table.hardware = match (signing_key, ChipId::new(report.chip_id)) {
        (SigningKey::Vcek, Some(id)) => AllowList::Listed(vec![id]),
        _ => AllowList::none(),
    };
    policy
}

fn table(policy: &mut AppraisalPolicy) -> &mut SnpPolicy {
    policy.snp.as_mut().unwrap()
}

fn codes(evidence: &Evidence, policy: &AppraisalPolicy) -> Vec<&'static str> {
    evidence.codes(policy, PrivacyTier::CpuTee)
}

#[test]
fn a_real_milan_report_is_authentic_and_refused_unless_the_policy_takes_the_risk() {
    let Some(mut evidence) = real("milan_v2_virtee.bin", "milan_v2_virtee.vcek.der") else {
        return;
    };
    let mut policy = asking_for(&mut evidence);
    assert_eq!(codes(&evidence, &policy), ["snp.product.milan"]);
    table(&mut policy).milan = MilanPolicy::Accept;
    assert_eq!(codes(&evidence, &policy), [""; 0]);
    policy.revocation = RevocationPolicy::Required;
    assert_eq!(codes(&evidence, &policy), ["revocation.missing"]);
}

#[test]
fn a_real_debug_guest_is_refused_for_its_debug_bit() {
    let Some(mut evidence) = real("milan_v2_debug_google.bin", "milan_v2_debug_google.vcek.der") else {
        return;
    };
    let mut policy = asking_for(&mut evidence);
    table(&mut policy).milan = MilanPolicy::Accept;
    assert_eq!(codes(&evidence, &policy), ["snp.debug"]);
}

#[test]
fn a_real_vlek_report_from_vmpl_1_names_no_chip() {
    let Some(mut evidence) = real("milan_v3_vlek_vmpl1_trustee.bin", "milan_v3.vlek.der") else {
        return;
    };
    let mut policy = asking_for(&mut evidence);
    table(&mut policy).milan = MilanPolicy::Accept;
    assert_eq!(
        codes(&evidence, &policy),
        ["snp.vlek.provider", "snp.firmware.provisional", "snp.vmpl"]
    );
    table(&mut policy).provisional_firmware = Admission::Accept;
    let provider = evidence.snp().provider.clone().unwrap();
    assert!(provider.contains("amazonaws.com"), "{provider}");
    table(&mut policy).vlek_providers = AllowList::Listed(vec![provider]);
    assert_eq!(codes(&evidence, &policy), ["snp.vmpl"]);
    table(&mut policy).vmpl = vec![1];
    let launch = evidence.report().launch_tcb.microcode;
    if launch > evidence.report().reported_tcb.microcode {
        let mut as_launched = policy.clone();
        table(&mut as_launched).tcb_floor.milan.as_mut().unwrap().microcode = launch;
        assert_eq!(
            codes(&evidence, &as_launched),
            ["snp.tcb.below_floor"],
            "the host lowered the reported TCB"
        );
    }
    assert_eq!(codes(&evidence, &policy), [""; 0]);
}

#[test]
fn a_real_turin_report_reaches_tier_2_and_its_twin_under_a_higher_floor_does_not() {
    let Some(mut evidence) = real("turin_v5_oak_oc.bin", "turin_oc_oak.vcek.der") else {
        return;
    };
    let mut policy = asking_for(&mut evidence);
    // Bit 6 is reserved in revision 1.58 of AMD's document and set by this machine's firmware.
    assert_eq!(codes(&evidence, &policy), ["snp.platform.unknown_bits"]);
    table(&mut policy).platform_info.unknown = Admission::Accept;
    assert_eq!(codes(&evidence, &policy), [""; 0]);
    assert_eq!(evidence.appraise(&policy).tier(), PrivacyTier::CpuTee);
    table(&mut policy).tcb_floor.turin.as_mut().unwrap().microcode += 1;
    assert_eq!(codes(&evidence, &policy), ["snp.tcb.below_floor"]);
}
