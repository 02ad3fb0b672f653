//! NVIDIA devices: report, certificates and declared family; with RIMs and OCSP answers.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hanzo_attestation::bundle::{Base64, DeviceEvidence};
use hanzo_attestation::{Anchors, Collateral, ParsedDevice, UnixTime};
use hanzo_simulated_tee::{DeviceSpec, OcspSpec, RimSpec, SimulatedNvidia, SimulatedRimIssuer};
use serde_json::Value;

use crate::harness::{Bits, Harness, Origin, Region, Verdict, bytes_of, text_of};
use crate::manifest::Vectors;
use crate::seen::of_device;
use crate::{CLOCK, NOW, rim};

const REGIONS: &[Region] = &[
    Region {
        part: "OCSP answer beside a device",
        reason: rim::CERT_ID,
        weaker: true,
        only: Some(Origin::Simulator),
        find: rim::cert_id,
    },
    Region {
        part: "RIM beside a device",
        reason: "product and version: a RIM that says that it is for another device is left out, as if it had not come",
        weaker: true,
        only: Some(Origin::Simulator),
        find: named_device,
    },
];

/// Values of the attributes that say what a RIM is for.
fn named_device(rim: &[u8]) -> Vec<Bits> {
    let text = std::str::from_utf8(rim).unwrap();
    let value = |name: &str| {
        let start = text.find(name).unwrap() + name.len();
        (start..start + text[start..].find('"').unwrap(), 0xff)
    };
    vec![value(" colloquialVersion=\""), value(" product=\"")]
}

fn judge(evidence: &DeviceEvidence, anchors: &Anchors, collateral: &Collateral, now: UnixTime) -> Verdict {
    let parsed = ParsedDevice::parse(evidence);
    let judged = parsed.and_then(|p| p.authenticate(anchors, collateral, now));
    judged.map(|authentic| of_device(&authentic)).into()
}

fn flip(harness: &mut Harness, name: &str, good: &DeviceEvidence, anchors: &Anchors, now: UnixTime) {
    let judge = |evidence: DeviceEvidence| judge(&evidence, anchors, &Collateral::default(), now);
    let report = bytes_of("report", good, |e| &mut e.report.0, judge);
    harness.flip(name, &report.with_head(48));
    harness.flip(name, &bytes_of("certificates", good, |e| &mut e.certificates.0, judge));
    harness.flip(name, &text_of("arch", good, |e| &mut e.arch, judge));
    harness.flip(name, &text_of("kind", good, |e| &mut e.kind, judge));
}

fn real(vectors: &Vectors) -> Vec<(String, DeviceEvidence)> {
    let mut found = Vec::new();
    for (path, row) in &vectors.rows {
        let name = path.rsplit('/').next().unwrap();
        if !row.expect.starts_with("authentic") {
            continue;
        }
        if let Some(chain) = row.values.get("chain") {
            let arch = name.split('_').next().unwrap().replace("switch", "ls10");
            let evidence = DeviceEvidence {
                arch,
                certificates: Base64(vectors.read(&format!("nvidia/{chain}"))),
                kind: "nvidia".into(),
                report: Base64(vectors.read(path)),
            };
            found.push((name.to_owned(), evidence));
        } else {
            let list: Value = serde_json::from_slice(&vectors.read(path)).unwrap();
            for (number, entry) in list.as_array().unwrap().iter().enumerate() {
                let decode = |member: &str| STANDARD.decode(entry[member].as_str().unwrap()).unwrap();
                let evidence = DeviceEvidence {
                    arch: entry["arch"].as_str().unwrap().to_ascii_lowercase(),
                    certificates: Base64(decode("certificate")),
                    kind: "nvidia".into(),
                    report: Base64(decode("evidence")),
                };
                found.push((format!("{name}[{number}]"), evidence));
            }
        }
    }
    // Some lists repeat a device, and two files hold the same one.
    let mut seen = BTreeSet::new();
    found.retain(|(_, e)| seen.insert((e.report.0.clone(), e.certificates.0.clone())));
    found
}

#[test]
fn every_flipped_bit_of_real_devices_is_refused() {
    let Some(vectors) = Vectors::load("nvidia/") else {
        return;
    };
    let mut harness = Harness::new("NVIDIA", Origin::Real, REGIONS);
    for (name, good) in real(&vectors) {
        flip(&mut harness, &name, &good, &Anchors::vendor(), CLOCK);
    }
    harness.finish();
}

#[test]
fn every_flipped_bit_of_simulated_devices_is_refused() {
    let vendor = SimulatedNvidia::for_tests();
    let issuer = SimulatedRimIssuer::for_tests();
    let anchors = Anchors::vendor()
        .with_simulator_nvidia_root(vendor.device_root_der().to_vec())
        .with_simulator_rim_root(issuer.root_der().to_vec());
    let mut harness = Harness::new("NVIDIA", Origin::Simulator, REGIONS);
    for spec in [DeviceSpec::hopper(1), DeviceSpec::blackwell(1), DeviceSpec::ls10(1)] {
        let name = spec.arch.word();
        let device = vendor.device(spec.clone());
        let evidence = device.evidence(&[7; 32]);
        flip(&mut harness, name, &evidence, &anchors, NOW);
        let measured = RimSpec::of_measurements("GH100", "550.90.07", &spec.measurements, 21..=30);
        if name == "hopper" {
            let vbios = RimSpec::of_measurements("GH100", &spec.vbios_text(), &spec.measurements, 1..=20);
            let answers = (1..=3).map(|position| vendor.ocsp(&device, position, &OcspSpec::good(NOW.0)));
            let collateral = Collateral {
                rims: vec![issuer.sign(&measured), issuer.sign(&vbios)],
                ocsp: answers.collect(),
                ..Collateral::default()
            };
            flip_collateral(&mut harness, name, &collateral, &|c| judge(&evidence, &anchors, c, NOW));
        }
    }
    harness.finish();
}

fn flip_collateral(harness: &mut Harness, name: &str, good: &Collateral, judge: &dyn Fn(&Collateral) -> Verdict) {
    for (part, get) in [
        (
            "RIM beside a device",
            (|c| &mut c.rims[0]) as fn(&mut Collateral) -> &mut Vec<u8>,
        ),
        ("OCSP answer beside a device", |c| &mut c.ocsp[1]),
    ] {
        harness.flip(name, &bytes_of(part, good, get, |c| judge(&c)));
    }
}
