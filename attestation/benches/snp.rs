//! Full verification of one SNP report, ours and crate `sev`'s, in one run.
//!
//! `cargo bench -p hanzo-attestation --bench snp`; with `-- --smoke` a few rounds, to see that both sides work.
//!
//! Both start from the same bytes (report, ASK, VCEK and simulator's ARK) and end with a verdict. Ours does more: it
//! checks the extensions, dates and names besides the four signatures.

use std::hint::black_box;
use std::time::{Duration, Instant};

use hanzo_attestation::bundle::SnpEvidence;
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, RawEvidence, UnixTime};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};
use sev::certs::snp::{Certificate, Chain, Verifiable, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;

const NOW: UnixTime = UnixTime(1_756_684_800);

fn ours(evidence: &SnpEvidence, anchors: &Anchors) -> bool {
    let parsed = RawEvidence::Snp(evidence.clone()).parse();
    parsed
        .and_then(|p| p.authenticate(anchors, &Collateral::default(), NOW))
        .is_ok()
}

fn theirs(evidence: &SnpEvidence, ark: &[u8]) -> Option<()> {
    let chain = Chain {
        ca: ca::Chain::from_der(ark, &evidence.ask.as_ref()?.0).ok()?,
        vek: Certificate::from_der(&evidence.vek.0).ok()?,
    };
    let report = AttestationReport::from_bytes(&evidence.report.0).ok()?;
    (&chain, &report).verify().ok()
}

fn sample(mut f: impl FnMut()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}

fn main() {
    let rounds = if std::env::args().any(|a| a == "--smoke") {
        5
    } else {
        300
    };
    let processor = SimulatedProcessor::for_tests();
    let anchors = Anchors::vendor().with_simulator_ark(processor.ark_der().to_vec());
    let guest = processor.launch(LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32])));
    let evidence = guest.evidence(&[7; 64]);

    assert!(ours(&evidence, &anchors) && theirs(&evidence, processor.ark_der()).is_some());
    let mut forged = evidence.clone();
    forged.report.0[0x90] ^= 1;
    assert!(!ours(&forged, &anchors) && theirs(&forged, processor.ark_der()).is_none());

    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        a.push(sample(|| assert!(ours(black_box(&evidence), &anchors))));
        b.push(sample(|| {
            assert!(theirs(black_box(&evidence), processor.ark_der()).is_some())
        }));
    }
    a.sort();
    b.sort();
    let us = |d: Duration| d.as_secs_f64() * 1e6;
    println!("SNP report verification, {rounds} rounds each, interleaved, microseconds");
    for (name, sorted) in [("hanzo-attestation", &a), ("sev 8.0.0, crypto_nossl", &b)] {
        println!(
            "  {name:<24} min {:>8.1}  median {:>8.1}",
            us(sorted[0]),
            us(sorted[rounds / 2])
        );
    }
    let ratio = |i: usize| us(b[i]) / us(a[i]);
    println!(
        "  sev / hanzo-attestation  min {:>7.1}x  median {:>7.1}x",
        ratio(0),
        ratio(rounds / 2)
    );
}
