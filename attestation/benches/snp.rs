//! Full verification of one SNP report, ours and crate `sev`'s, in one run.
//!
//! `cargo bench -p hanzo-attestation --bench snp`; with `-- --smoke` a few rounds, to see that both sides work.
//!
//! Both start from the same bytes (report, ASK, VCEK and ARK) and end with a verdict. Ours does more: it checks the
//! extensions, dates and names besides the signatures. The evidence is a real Turin report where the shared vectors are
//! there, else the simulator's. The floor is the bare signature verifications that our verdict rests on: of a real
//! report, the VCEK's (RSA-4096-PSS; the ASK is compiled in like the root) and the report's (ECDSA P-384); the
//! simulator's ASK and root add two RSA ones.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, RSA_PSS_2048_8192_SHA384, UnparsedPublicKey};
use hanzo_attestation::bundle::{Base64, SnpEvidence};
use hanzo_attestation::snp;
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, RawEvidence, UnixTime};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};
use sev::certs::snp::{Certificate, Chain, Verifiable, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;

const NOW: UnixTime = UnixTime(1_756_684_800);

fn ours(evidence: &SnpEvidence, anchors: &Anchors, now: UnixTime) -> bool {
    let parsed = RawEvidence::Snp(evidence.clone()).parse();
    parsed
        .and_then(|p| p.authenticate(anchors, &Collateral::default(), now))
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

fn sample(f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}

/// What both sides verify.
struct Case {
    name: &'static str,
    evidence: SnpEvidence,
    ark: Vec<u8>,
    anchors: Anchors,
    now: UnixTime,
}

fn simulated() -> Case {
    let processor = SimulatedProcessor::for_tests();
    let guest = processor.launch(LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32])));
    Case {
        name: "simulated Genoa report",
        evidence: guest.evidence(&[7; 64]),
        ark: processor.ark_der().to_vec(),
        anchors: Anchors::vendor().with_simulator_ark(processor.ark_der().to_vec()),
        now: NOW,
    }
}

fn real() -> Option<Case> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors/snp/");
    let read = |name: &str| std::fs::read(format!("{folder}{name}")).ok();
    let (ark, ask) = (
        snp::roots::ark(snp::Product::Turin),
        snp::roots::intermediate(snp::Product::Turin, snp::SigningKey::Vcek),
    );
    Some(Case {
        name: "real Turin report",
        evidence: SnpEvidence {
            ask: Some(Base64(ask.to_vec())),
            crl: None,
            report: Base64(read("turin_v5_oak_oc.bin")?),
            vek: Base64(read("turin_oc_oak.vcek.der")?),
        },
        ark: ark.to_vec(),
        anchors: Anchors::vendor(),
        now: NOW,
    })
}

/// The bare signatures, as (algorithm, key, message, signature), taken out of the evidence once.
fn floor(case: &Case) -> impl Fn() {
    use x509_cert::der::{Decode as _, Encode as _};
    let certificate = |der: &[u8]| x509_cert::Certificate::from_der(der).expect("a certificate");
    let vek = certificate(&case.evidence.vek.0);
    let ask = certificate(&case.evidence.ask.as_ref().expect("an ASK").0);
    let ark = certificate(&case.ark);
    let key = |c: &x509_cert::Certificate| {
        let spki = c.tbs_certificate().subject_public_key_info();
        spki.subject_public_key.as_bytes().expect("whole bytes").to_vec()
    };
    let rsa = |signed: &x509_cert::Certificate, by: &x509_cert::Certificate| {
        (
            key(by),
            signed.tbs_certificate().to_der().expect("DER"),
            signed.signature().as_bytes().expect("whole bytes").to_vec(),
        )
    };
    let mut by_rsa = vec![rsa(&vek, &ask)];
    if case.name.starts_with("simulated") {
        by_rsa.extend([rsa(&ask, &ark), rsa(&ark, &ark)]);
    }
    let report = case.evidence.report.0.clone();
    let mut signature = Vec::new();
    for at in [0x2a0, 0x2a0 + 72] {
        signature.extend(report[at..at + 48].iter().rev());
    }
    let point = key(&vek);
    move || {
        for (key, message, signature) in &by_rsa {
            let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA384, key);
            key.verify(black_box(message), signature).expect("an RSA signature");
        }
        let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, &point);
        key.verify(black_box(&report[..0x2a0]), &signature)
            .expect("the report's signature");
    }
}

fn main() {
    let smoke = std::env::args().any(|a| a == "--smoke");
    let rounds = if smoke { 5 } else { 300 };
    for case in [real(), Some(simulated())].into_iter().flatten() {
        compare(&case, rounds);
    }
}

fn compare(case: &Case, rounds: usize) {
    let (evidence, anchors, ark) = (&case.evidence, &case.anchors, &case.ark);
    assert!(ours(evidence, anchors, case.now) && theirs(evidence, ark).is_some());
    let mut forged = evidence.clone();
    forged.report.0[0x90] ^= 1;
    assert!(!ours(&forged, anchors, case.now) && theirs(&forged, ark).is_none());

    let floor = floor(case);
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..rounds {
        times[0].push(sample(|| assert!(ours(black_box(evidence), anchors, case.now))));
        times[1].push(sample(|| assert!(theirs(black_box(evidence), ark).is_some())));
        times[2].push(sample(&floor));
    }
    times.iter_mut().for_each(|t| t.sort());
    let us = |d: Duration| d.as_secs_f64() * 1e6;
    println!(
        "{}: verification, {rounds} rounds each, interleaved, microseconds",
        case.name
    );
    let names = [
        "hanzo-attestation",
        "sev 8.0.0, crypto_nossl",
        "bare signatures (floor)",
    ];
    for (name, sorted) in names.iter().zip(&times) {
        println!(
            "  {name:<24} min {:>8.1}  median {:>8.1}",
            us(sorted[0]),
            us(sorted[rounds / 2])
        );
    }
    let [ours, theirs, floor] = &times;
    for (name, above, below) in [
        ("sev / hanzo-attestation", theirs, ours),
        ("hanzo-attestation / floor", ours, floor),
    ] {
        let ratio = |i: usize| us(above[i]) / us(below[i]);
        println!(
            "  {name:<26} min {:>6.2}x  median {:>6.2}x",
            ratio(0),
            ratio(rounds / 2)
        );
    }
}
