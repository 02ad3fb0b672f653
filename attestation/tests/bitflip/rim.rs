//! RIM files and OCSP answers by themselves.

use hanzo_attestation::nvidia::ocsp;
use hanzo_attestation::nvidia::rim::check_rim;
use hanzo_attestation::{Anchors, UnixTime};
use hanzo_simulated_tee::{OcspHash, OcspSigner, OcspSpec, RimSpec, SimulatedRimIssuer};

use crate::NOW;
use crate::harness::{Bits, Harness, Origin, Part, Region, Verdict};
use crate::manifest::Vectors;
use crate::seen::{Seen, of_ocsp};

const REGIONS: &[Region] = &[Region {
    part: "OCSP answer",
    reason: CERT_ID,
    weaker: true,
    only: Some(Origin::Simulator),
    find: cert_id,
}];

pub const CERT_ID: &str = "CertID: an answer about another certificate is none about this one, as if it had not come; \
                           nobody can be asked to know the keys of all others";

/// From the hash algorithm to the end of the serial number.
pub fn cert_id(answer: &[u8]) -> Vec<Bits> {
    let sha1 = [0x06, 5, 0x2b, 0x0e, 3, 2, 0x1a];
    let sha384 = [0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
    let place = |oid: &[u8]| answer.windows(oid.len()).position(|w| w == oid);
    let (start, oid) = place(&sha1).map_or_else(|| (place(&sha384).unwrap(), 11), |at| (at, 7));
    let mut end = start + oid;
    // Parameters are NULL or missing; then the hashes of name and key, and the serial number.
    for tag in [0x05, 0x04, 0x04, 0x02] {
        if answer[end] == tag {
            end += 2 + usize::from(answer[end + 1]);
        }
    }
    vec![(start..end, 0xff)]
}

fn flip(harness: &mut Harness, name: &str, document: Vec<u8>, anchors: &Anchors, now: UnixTime) {
    let judge = |changed: &[u8]| -> Verdict { check_rim(changed, anchors, now).map(Seen::of).into() };
    let part = Part {
        name: "RIM",
        bytes: document,
        head: 0,
        judge: Box::new(judge),
    };
    harness.flip(name, &part);
}

#[test]
fn every_flipped_bit_of_a_real_rim_is_refused() {
    let Some(vectors) = Vectors::load("nvidia/rim/") else {
        return;
    };
    let mut harness = Harness::new("RIM", Origin::Real, REGIONS);
    let day = |days: u64| UnixTime(days * 86_400);
    for (name, now) in [
        ("1010_0200_882_96005E0001_PROD.swidtag", day(19_896)),
        ("1010_0200_882_96005E0001_test_no_gpu.swidtag", day(19_896)),
        ("Driver_RIM_test_no_gpu.swidtag", day(19_900)),
        ("NV_GPU_DRIVER_GH100_550.144.03.xml", day(20_452)),
        (
            "NV_GPU_VBIOS_1010_0200_882_96005E0001_measurement_mismatch.xml",
            day(20_069),
        ),
        ("g520_0202_885_9600740014_PROD.swidtag", day(19_959)),
        (
            "switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml",
            day(20_859),
        ),
    ] {
        let document = vectors.read(&format!("nvidia/rim/{name}"));
        flip(&mut harness, name, document, &Anchors::vendor(), now);
    }
    harness.finish();
}

#[test]
fn every_flipped_bit_of_a_simulated_rim_or_ocsp_answer_is_refused() {
    let issuer = SimulatedRimIssuer::for_tests();
    let anchors = Anchors::vendor().with_simulator_rim_root(issuer.root_der().to_vec());
    let mut harness = Harness::new("RIM", Origin::Simulator, REGIONS);
    let measured = (1..=64).map(|number| (number, vec![number; 48])).collect();
    let rim = issuer.sign(&RimSpec::of_measurements("GH100", "570.86.10", &measured, [8, 22, 23]));
    flip(&mut harness, "driver", rim, &anchors, NOW);

    let chain: Vec<&[u8]> = issuer.certificates()[..3].iter().map(Vec::as_slice).collect();
    for (name, hash, signer) in [
        ("by the issuer, SHA-1", OcspHash::Sha1, OcspSigner::Issuer),
        ("by a delegate, SHA-384", OcspHash::Sha384, OcspSigner::Delegate),
    ] {
        let mut spec = OcspSpec::good(NOW.0).with_signer(signer);
        spec.hash = hash;
        let judge = |changed: &[u8]| -> Verdict {
            let outcome = ocsp::check(&chain, &[changed.to_vec()], NOW);
            outcome.map(|outcome| of_ocsp(&outcome)).into()
        };
        let part = Part {
            name: "OCSP answer",
            bytes: issuer.ocsp(1, &spec),
            head: 0,
            judge: Box::new(judge),
        };
        harness.flip(name, &part);
    }
    harness.finish();
}
