//! The same verdicts and values as crate `sev`, an implementation nobody here wrote.

use hanzo_attestation::bundle::SnpEvidence;
use hanzo_attestation::snp::{self, SnpReport};
use hanzo_attestation::{Anchors, Claims, Collateral};
use sev::certs::snp::{Chain, Verifiable, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;

use crate::{NOW, healthy, judge, real, simulator};

fn oracle(ark: &[u8], evidence: &SnpEvidence) -> Option<AttestationReport> {
    let ask = evidence.ask.as_ref()?;
    let chain = Chain {
        ca: ca::Chain::from_der(ark, &ask.0).ok()?,
        vek: sev::certs::snp::Certificate::from_der(&evidence.vek.0).ok()?,
    };
    let report = AttestationReport::from_bytes(&evidence.report.0).ok()?;
    (&chain, &report).verify().ok()?;
    Some(report)
}

fn same_values(ours: &SnpReport, theirs: &AttestationReport) {
    let tcb = |t: &sev::firmware::host::TcbVersion| snp::TcbVersion {
        fmc: t.fmc,
        bootloader: t.bootloader,
        tee: t.tee,
        snp: t.snp,
        microcode: t.microcode,
    };
    assert_eq!(ours.version, theirs.version);
    assert_eq!(ours.guest_svn, theirs.guest_svn);
    assert_eq!(ours.policy, u64::from(theirs.policy));
    assert_eq!(ours.vmpl, theirs.vmpl);
    assert_eq!(ours.report_data, theirs.report_data);
    assert_eq!(ours.measurement, theirs.measurement);
    assert_eq!(ours.host_data, theirs.host_data);
    assert_eq!(ours.report_id, theirs.report_id);
    assert_eq!(ours.chip_id, theirs.chip_id);
    assert_eq!(ours.reported_tcb, tcb(&theirs.reported_tcb));
    assert_eq!(ours.current_tcb, tcb(&theirs.current_tcb));
    assert_eq!(ours.committed_tcb, tcb(&theirs.committed_tcb));
    assert_eq!(ours.launch_tcb, tcb(&theirs.launch_tcb));
    assert_eq!(ours.cpuid.map(|c| c.family), theirs.cpuid_fam_id);
    assert_eq!(ours.cpuid.map(|c| c.model), theirs.cpuid_mod_id);
    assert_eq!(ours.launch_mitigations, theirs.launch_mit_vector);
    assert_eq!(ours.current_mitigations, theirs.current_mit_vector);
}

#[test]
fn real_reports_are_authentic_to_both_with_the_same_values() {
    for (name, evidence) in real::reports_with_certificates() {
        let authentic = judge(evidence.clone(), &Anchors::vendor(), &Collateral::default(), NOW).unwrap();
        let Claims::Snp(claims) = authentic.claims() else {
            panic!("SNP claims")
        };
        let theirs = oracle(snp::roots::ark(claims.product), &evidence);
        same_values(&claims.report, &theirs.unwrap_or_else(|| panic!("{name}: sev refuses")));
    }
}

#[test]
fn simulated_reports_are_authentic_to_both_and_changed_ones_to_neither() {
    let (processor, anchors) = simulator();
    let evidence = processor.launch(healthy()).evidence(&[3; 64]);
    let authentic = judge(evidence.clone(), &anchors, &Collateral::default(), NOW).unwrap();
    let Claims::Snp(claims) = authentic.claims() else {
        panic!("SNP claims")
    };
    same_values(&claims.report, &oracle(processor.ark_der(), &evidence).unwrap());
    for offset in [0x08, 0x50, 0x90, 0x180, 0x1a0, 0x2a0] {
        let mut changed = evidence.clone();
        changed.report.0[offset] ^= 1;
        assert!(judge(changed.clone(), &anchors, &Collateral::default(), NOW).is_err());
        assert!(oracle(processor.ark_der(), &changed).is_none());
    }
}
