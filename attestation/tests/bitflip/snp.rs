//! SEV-SNP: report, VEK certificate, intermediate and revocation list.

use hanzo_attestation::bundle::{Base64, SnpEvidence};
use hanzo_attestation::foreign::{ForeignEvidence, ForeignFormat, Supplied};
use hanzo_attestation::snp::{Product, SigningKey};
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, RawEvidence};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor};

use crate::harness::{Harness, Origin, Region, Verdict, bytes_of};
use crate::manifest::Vectors;
use crate::seen::of_evidence;
use crate::{NOW, pem};

/// None: every bit is signed, compared or required to be what it is.
const REGIONS: &[Region] = &[];

fn flip(harness: &mut Harness, name: &str, good: &SnpEvidence, anchors: &Anchors) {
    let judge = |evidence: SnpEvidence| -> Verdict {
        let parsed = RawEvidence::Snp(evidence).parse();
        let judged = parsed.and_then(|p| p.authenticate(anchors, &Collateral::default(), NOW));
        judged.map(|authentic| of_evidence(&authentic)).into()
    };
    harness.flip(
        name,
        &bytes_of("report", good, |e| &mut e.report.0, judge).with_head(0x2a0),
    );
    harness.flip(name, &bytes_of("VEK", good, |e| &mut e.vek.0, judge));
    if good.ask.is_some() {
        harness.flip(name, &bytes_of("ASK", good, |e| &mut e.ask.as_mut().unwrap().0, judge));
    }
    if good.crl.is_some() {
        harness.flip(name, &bytes_of("CRL", good, |e| &mut e.crl.as_mut().unwrap().0, judge));
    }
}

#[test]
fn every_flipped_bit_of_real_snp_evidence_is_refused() {
    let Some(vectors) = Vectors::load("snp/") else { return };
    let mut harness = Harness::new("SNP", Origin::Real, REGIONS);
    let mut seen = 0;
    for (path, row) in &vectors.rows {
        let authentic = row.expect.starts_with("authentic");
        let (Some(vek), true) = (row.values.get("vek"), authentic) else {
            continue;
        };
        let roots = &row.values["roots"];
        // A list of an ARK names intermediates of VCEKs and VLEKs alike.
        let list = ["milan", "genoa"].into_iter().find(|product| roots.contains(product));
        let good = SnpEvidence {
            ask: Some(Base64(
                pem(&vectors.read(&format!("snp/{roots}")), "CERTIFICATE").remove(0),
            )),
            crl: list.map(|product| Base64(vectors.read(&format!("snp/crl/{product}.crl.der")))),
            report: Base64(vectors.read(path)),
            vek: Base64(vectors.read(&format!("snp/{vek}"))),
        };
        flip(&mut harness, path, &good, &Anchors::vendor());
        seen += 1;
    }
    // The JSON form of a Genoa report, rebuilt.
    let path = "snp/trustee_evidence_v3_genoa.json";
    let read = ForeignEvidence::read(ForeignFormat::CocoSnp, &vectors.read(path), &Supplied::default()).unwrap();
    let Some(RawEvidence::Snp(good)) = read.primary() else {
        panic!("{path}: no SNP evidence")
    };
    flip(&mut harness, path, good, &Anchors::vendor());
    assert_eq!(seen, 6, "vectors were added or removed");
    harness.finish();
}

#[test]
fn every_flipped_bit_of_simulated_snp_evidence_is_refused() {
    let processor = SimulatedProcessor::for_tests();
    let anchors = Anchors::vendor().with_simulator_ark(processor.ark_der().to_vec());
    let mut harness = Harness::new("SNP", Origin::Simulator, REGIONS);
    for (name, version, product, signing_key) in [
        ("Genoa, version 2", 2, Product::Genoa, SigningKey::Vcek),
        ("Milan, version 3, VLEK", 3, Product::Milan, SigningKey::Vlek),
        ("Turin, version 5", 5, Product::Turin, SigningKey::Vcek),
    ] {
        let mut spec = LaunchSpec::new(Digest384([1; 48]), Digest256([2; 32]));
        (spec.version, spec.product, spec.signing_key) = (version, product, signing_key);
        let guest = processor.launch(spec).with_crl(processor.crl_der(NOW));
        flip(&mut harness, name, &guest.evidence(&[7; 64]), &anchors);
    }
    harness.finish();
}
