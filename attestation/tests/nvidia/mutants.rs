//! Simulated evidence with one thing wrong: each class of fault has its code.

use hanzo_attestation::bundle::{Base64, DEVICES_MAX, DeviceEvidence};
use hanzo_attestation::nvidia::{Fwid, NvidiaArch, OcspOutcome, RimOutcome, Topology};
use hanzo_attestation::{Anchors, UnixTime};
use hanzo_simulated_tee::{DeviceSpec, SimulatedNvidia};

use crate::{NOW, claims, judge, judge_list, simulator, verdict};

const NONCE: [u8; 32] = [7; 32];

fn specs() -> [DeviceSpec; 3] {
    [DeviceSpec::hopper(1), DeviceSpec::blackwell(1), DeviceSpec::ls10(1)]
}

#[test]
fn healthy_devices_are_authentic_simulated_and_say_what_they_are() {
    let (vendor, anchors) = simulator();
    for spec in specs() {
        let device = vendor.device(spec.clone());
        let authentic = judge(&device.evidence(&NONCE), &anchors, NOW).unwrap();
        assert!(authentic.is_simulated());
        assert_eq!(*authentic.claims().nonce(), NONCE);
        assert_eq!(authentic.claims().identity(), device.device_id());
        let claims = claims(&authentic);
        assert_eq!((claims.arch, &claims.driver_version), (spec.arch, &spec.driver_version));
        assert_eq!(claims.vbios_version, spec.vbios_text());
        assert_eq!(claims.own_pdi, Some(spec.pdi()));
        assert_eq!(claims.measurements, spec.measurements);
        assert_eq!(claims.feature_flag, spec.feature_flag.map(u32::from));
        assert_eq!(claims.protected_pcie, spec.protected_pcie);
        let switch = spec.arch == NvidiaArch::Ls10;
        assert_eq!(claims.fwid, if switch { Fwid::Absent } else { Fwid::Matched });
        assert_eq!(
            claims.rim,
            RimOutcome::Missing {
                ids: claims.rim_ids().to_vec()
            }
        );
        assert_eq!(claims.ocsp, OcspOutcome::NoAnswer);
    }
}

#[test]
fn without_the_simulators_root_its_devices_are_nobodys() {
    let (vendor, anchors) = simulator();
    let evidence = vendor.device(DeviceSpec::hopper(1)).evidence(&NONCE);
    assert_eq!(verdict(&evidence, &anchors, NOW), "accepted");
    assert_eq!(verdict(&evidence, &Anchors::vendor(), NOW), "nvidia.chain.root");
    // The same names over other keys.
    let forger = SimulatedNvidia::from_seed(&[1; 32]);
    let forged = forger.device(DeviceSpec::hopper(1)).evidence(&NONCE);
    assert_eq!(verdict(&forged, &anchors, NOW), "nvidia.chain.root");
    let mut with_our_root = forger.device(DeviceSpec::hopper(1)).certificates().clone();
    with_our_root[4] = vendor.device_root_der().to_vec();
    assert_eq!(
        verdict(&with_chain(&forged, &with_our_root), &anchors, NOW),
        "nvidia.chain.link"
    );
    // A root certificate of an earlier run of the same simulator: other bytes, same name and key.
    let again = SimulatedNvidia::for_tests();
    assert_ne!(again.device_root_der(), vendor.device_root_der());
    assert_eq!(
        verdict(&again.device(DeviceSpec::hopper(1)).evidence(&NONCE), &anchors, NOW),
        "accepted"
    );
}

#[test]
fn a_simulator_root_must_be_a_root_and_not_nvidias() {
    let (vendor, _) = simulator();
    let device = vendor.device(DeviceSpec::hopper(1));
    let evidence = device.evidence(&NONCE);
    for bad in [
        hanzo_attestation::nvidia::roots::DEVICE_ROOT.to_vec(),
        device.certificates()[3].clone(),
        vec![0x30; 80],
        Vec::new(),
    ] {
        let anchors = Anchors::vendor().with_simulator_nvidia_root(bad);
        assert_eq!(verdict(&evidence, &anchors, NOW), "nvidia.anchor.invalid");
    }
}

/// The evidence with these certificates in its PEM.
fn with_chain(evidence: &DeviceEvidence, ders: &[Vec<u8>]) -> DeviceEvidence {
    let mut evidence = evidence.clone();
    evidence.certificates = Base64(crate::pem(ders).into_bytes());
    evidence
}

#[test]
fn five_certificates_in_their_order_and_no_others() {
    let (vendor, anchors) = simulator();
    let device = vendor.device(DeviceSpec::hopper(1));
    let (evidence, ders) = (device.evidence(&NONCE), device.certificates());
    let code = |ders: &[Vec<u8>]| verdict(&with_chain(&evidence, ders), &anchors, NOW);
    assert_eq!(code(ders), "accepted");
    for missing in 0..5 {
        let mut fewer = ders.to_vec();
        fewer.remove(missing);
        assert_eq!(code(&fewer), "nvidia.chain.length", "without certificate {missing}");
    }
    assert_eq!(code(&[]), "nvidia.chain.length");
    assert_eq!(code(&[&ders[..], &ders[4..]].concat()), "nvidia.chain.length");
    // Root first: PEM is read leaf first.
    let reversed: Vec<_> = ders.iter().rev().cloned().collect();
    assert_eq!(code(&reversed), "nvidia.chain.order");
    for i in 0..4 {
        let mut swapped = ders.to_vec();
        swapped.swap(i, i + 1);
        assert_eq!(code(&swapped), "nvidia.chain.order", "certificates {i} and {}", i + 1);
    }
    // No leaf, and the root twice to make five: the BROM is an authority and signs no reports.
    let no_leaf = [&ders[1..], &ders[4..]].concat();
    assert_eq!(code(&no_leaf), "nvidia.chain.link");
    // Another product's authorities: same root, other names.
    let blackwell = vendor.device(DeviceSpec::blackwell(1));
    let mixed = [&ders[..2], &blackwell.certificates()[2..]].concat();
    assert_eq!(code(&mixed), "nvidia.chain.order");
}

#[test]
fn certificates_are_read_strictly() {
    let (vendor, anchors) = simulator();
    let device = vendor.device(DeviceSpec::hopper(1));
    let (evidence, ders) = (device.evidence(&NONCE), device.certificates());
    let code = |level: usize, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bad = ders.to_vec();
        edit(&mut bad[level]);
        verdict(&with_chain(&evidence, &bad), &anchors, NOW)
    };
    for level in 0..5 {
        assert_eq!(code(level, &Vec::clear), "nvidia.cert.malformed");
        assert_eq!(code(level, &|der| der.push(0)), "nvidia.cert.malformed");
        assert_eq!(code(level, &|der| der.truncate(der.len() - 1)), "nvidia.cert.malformed");
        assert_eq!(code(level, &|der| der.resize(5000, 0)), "nvidia.cert.malformed");
        // The last byte of the signature.
        let wanted = if level == 4 {
            "nvidia.chain.root"
        } else {
            "nvidia.chain.link"
        };
        assert_eq!(
            code(level, &|der| *der.last_mut().unwrap() ^= 1),
            wanted,
            "level {level}"
        );
        // ecdsa-with-SHA256 instead of SHA384, outside.
        assert_eq!(
            code(level, &|der| {
                let at = der
                    .windows(8)
                    .rposition(|w| w == [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3])
                    .unwrap();
                der[at + 7] = 2;
            }),
            "nvidia.cert.malformed"
        );
    }
    for (bad, what) in [
        (b"\xff\xfe".to_vec(), "no text"),
        (b"hello".to_vec(), "no armour"),
        (b"-----BEGIN CERTIFICATE-----\n".to_vec(), "no end"),
        (
            b"-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n".to_vec(),
            "no base64",
        ),
        ([&evidence.certificates.0[..], b"trailing"].concat(), "trailing text"),
    ] {
        let mut evidence = evidence.clone();
        evidence.certificates = Base64(bad);
        assert_eq!(verdict(&evidence, &anchors, NOW), "nvidia.cert.pem", "{what}");
    }
    let mut long = evidence.clone();
    long.certificates.0.resize(40_000, b'\n');
    assert_eq!(verdict(&long, &anchors, NOW), "nvidia.too_long");
    let mut spaced = evidence.clone();
    spaced.certificates.0 = String::from_utf8(evidence.certificates.0.clone())
        .unwrap()
        .replace('\n', "\r\n")
        .into();
    assert_eq!(verdict(&spaced, &anchors, NOW), "accepted");
}

#[test]
fn certificates_count_from_their_first_to_their_last_second() {
    let (vendor, anchors) = simulator();
    for level in 0..4 {
        let mut spec = DeviceSpec::hopper(1);
        let (first, last) = (NOW.0 - 100, NOW.0 + 100);
        spec.validity[level] = (first, last);
        let evidence = vendor.device(spec).evidence(&NONCE);
        for (now, expected) in [
            (first - 1, "nvidia.cert.not_yet_valid"),
            (first, "accepted"),
            (last, "accepted"),
            (last + 1, "nvidia.cert.expired"),
        ] {
            assert_eq!(
                verdict(&evidence, &anchors, UnixTime(now)),
                expected,
                "level {level} at {now}"
            );
        }
    }
}

#[test]
fn the_signature_covers_every_byte_before_it_and_is_this_devices() {
    let (vendor, anchors) = simulator();
    let device = vendor.device(DeviceSpec::hopper(1));
    let good = device.evidence(&NONCE);
    let flip = |at: usize| {
        let mut bad = good.clone();
        bad.report.0[at] ^= 1;
        verdict(&bad, &anchors, NOW)
    };
    let length = good.report.0.len();
    // The nonce, a measurement, the device's nonce, r, s.
    let after_blocks = 45 + 64 * 55;
    for at in [4, 35, 60, after_blocks, after_blocks + 31, length - 96, length - 1] {
        assert_eq!(flip(at), "nvidia.signature.invalid", "byte {at}");
    }
    // Another device's certificates, another firmware's.
    let other = vendor.device(DeviceSpec::hopper(2));
    let swapped = with_chain(&good, other.certificates());
    assert_eq!(verdict(&swapped, &anchors, NOW), "nvidia.signature.invalid");
    let updated = vendor.device(DeviceSpec {
        firmware: [9; 48],
        ..DeviceSpec::hopper(1)
    });
    assert_eq!(
        verdict(&with_chain(&good, updated.certificates()), &anchors, NOW),
        "nvidia.signature.invalid"
    );
    // Its leaf under its own BROM, with another device's report.
    let mut leaf_of_other = device.certificates().clone();
    leaf_of_other[0] = other.certificates()[0].clone();
    assert_eq!(
        verdict(&with_chain(&good, &leaf_of_other), &anchors, NOW),
        "nvidia.chain.link"
    );
}

#[test]
fn reports_are_read_strictly() {
    let (vendor, anchors) = simulator();
    let device = vendor.device(DeviceSpec::hopper(1));
    let signed = |edit: &dyn Fn(&mut Vec<u8>)| verdict(&device.evidence_edited(&NONCE, edit), &anchors, NOW);
    assert_eq!(signed(&|_| {}), "accepted");
    for (at, value) in [
        (0, 0x10),
        (0, 0x12),
        (1, 0xe1),
        (2, 0),
        (3, 0xfe),
        (36, 1),
        (37, 0x12),
        (38, 0x7f),
        (39, 1),
        (40, 1),
    ] {
        assert_eq!(
            signed(&|r| r[at] = value),
            "nvidia.report.field",
            "byte {at} = {value:#x}"
        );
    }
    const BLOCKS: usize = 45;
    const OPAQUE: usize = BLOCKS + 64 * 55 + 32;
    for (what, code, edit) in [
        ("index 0", "nvidia.measurement.malformed", &|r: &mut Vec<u8>| {
            r[BLOCKS] = 0
        }),
        ("index 65", "nvidia.measurement.malformed", &|r| r[BLOCKS] = 65),
        ("index twice", "nvidia.measurement.duplicate", &|r| r[BLOCKS + 55] = 1),
        ("not DMTF", "nvidia.measurement.malformed", &|r| r[BLOCKS + 1] = 2),
        ("block size", "nvidia.measurement.malformed", &|r| r[BLOCKS + 2] = 50),
        ("a raw bit stream", "nvidia.measurement.malformed", &|r| {
            r[BLOCKS + 4] |= 0x80
        }),
        ("value size", "nvidia.measurement.malformed", &|r| r[BLOCKS + 5] = 32),
        ("a block less", "nvidia.report.trailing", &|r| r[41] = 63),
        ("a block more", "nvidia.report.truncated", &|r| r[41] = 65),
        ("record one shorter", "nvidia.report.truncated", &|r| r[42] -= 1),
        ("record over the end", "nvidia.report.truncated", &|r| r[44] = 0xff),
        ("opaque data over the end", "nvidia.report.truncated", &|r| {
            r[OPAQUE + 1] = 0xff
        }),
        ("opaque data one shorter", "nvidia.opaque.overrun", &|r| {
            let length = u16::from_le_bytes([r[OPAQUE], r[OPAQUE + 1]]) - 1;
            r[OPAQUE..OPAQUE + 2].copy_from_slice(&length.to_le_bytes());
        }),
        ("field over the end", "nvidia.opaque.overrun", &|r| r[OPAQUE + 5] = 0x7f),
        ("field twice", "nvidia.opaque.duplicate", &|r| {
            append(r, OPAQUE, 17, b"1010\0")
        }),
        ("half a field", "nvidia.report.truncated", &|r| {
            append_raw(r, OPAQUE, &[1, 0])
        }),
        ("FWID of 47 bytes", "nvidia.opaque.malformed", &|r| {
            replace(r, OPAQUE, 20, &[0; 47])
        }),
        ("protected PCIe 0", "nvidia.opaque.malformed", &|r| {
            replace(r, OPAQUE, 21, &[0])
        }),
        ("VBIOS of 7 bytes", "nvidia.opaque.malformed", &|r| {
            replace(r, OPAQUE, 6, &[1; 7])
        }),
        ("VBIOS with a sixth part", "nvidia.opaque.malformed", &|r| {
            replace(r, OPAQUE, 6, &[1; 8])
        }),
        ("driver with a path", "nvidia.opaque.malformed", &|r| {
            replace(r, OPAQUE, 3, b"../../x\0")
        }),
        ("driver after zero", "nvidia.opaque.malformed", &|r| {
            replace(r, OPAQUE, 3, b"5\0x")
        }),
        ("no driver", "nvidia.opaque.malformed", &|r| replace(r, OPAQUE, 3, b"")),
        ("chip of another family", "nvidia.arch.mismatch", &|r| {
            append(r, OPAQUE, 35, b"GB100\0")
        }),
        ("chip of no family", "nvidia.arch.unknown", &|r| {
            append(r, OPAQUE, 35, b"GR100\0")
        }),
        ("17 links", "nvidia.opaque.malformed", &|r| {
            append(r, OPAQUE, 22, &[1; 136])
        }),
        ("3-byte feature flag", "nvidia.opaque.malformed", &|r| {
            append(r, OPAQUE, 36, &[0; 3])
        }),
        ("unknown field", "accepted", &|r| append(r, OPAQUE, 99, b"later")),
    ] as [(&str, &str, &dyn Fn(&mut Vec<u8>)); 28]
    {
        assert_eq!(signed(edit), code, "{what}");
    }
}

/// Grows the opaque data, its length with it.
fn append_raw(report: &mut Vec<u8>, opaque: usize, bytes: &[u8]) {
    report.extend(bytes);
    let length = (report.len() - opaque - 2) as u16;
    report[opaque..opaque + 2].copy_from_slice(&length.to_le_bytes());
}

fn append(report: &mut Vec<u8>, opaque: usize, id: u16, value: &[u8]) {
    let field = [&id.to_le_bytes(), &(value.len() as u16).to_le_bytes()[..], value].concat();
    append_raw(report, opaque, &field);
}

/// Takes field `id` out and puts it back with another value.
fn replace(report: &mut Vec<u8>, opaque: usize, id: u16, value: &[u8]) {
    let mut at = opaque + 2;
    while u16::from_le_bytes([report[at], report[at + 1]]) != id {
        at += 4 + usize::from(u16::from_le_bytes([report[at + 2], report[at + 3]]));
    }
    let length = usize::from(u16::from_le_bytes([report[at + 2], report[at + 3]]));
    report.drain(at..at + 4 + length);
    append(report, opaque, id, value);
}

#[test]
fn reports_end_with_their_signature() {
    let (vendor, anchors) = simulator();
    for spec in [DeviceSpec::hopper(1), DeviceSpec::ls10(1)] {
        let good = vendor.device(spec).evidence(&NONCE);
        // Every length short of the whole.
        for length in 0..good.report.0.len() {
            let mut cut = good.clone();
            cut.report.0.truncate(length);
            assert_eq!(
                verdict(&cut, &anchors, NOW),
                "nvidia.report.truncated",
                "{length} bytes"
            );
        }
        let mut padded = good.clone();
        padded.report.0.push(0);
        assert_eq!(verdict(&padded, &anchors, NOW), "nvidia.report.trailing");
        padded.report.0.resize(17_000, 0);
        assert_eq!(verdict(&padded, &anchors, NOW), "nvidia.too_long");
    }
}

#[test]
fn the_family_is_the_certificates_whatever_is_declared() {
    let (vendor, anchors) = simulator();
    for spec in specs() {
        let good = vendor.device(spec.clone()).evidence(&NONCE);
        for declared in ["hopper", "blackwell", "ls10"] {
            let mut evidence = good.clone();
            evidence.arch = declared.into();
            let wanted = if declared == spec.arch.word() {
                "accepted"
            } else {
                "nvidia.arch.mismatch"
            };
            assert_eq!(verdict(&evidence, &anchors, NOW), wanted);
        }
        for declared in ["", "HOPPER", "Hopper", "rubin", "gh100"] {
            let mut evidence = good.clone();
            evidence.arch = declared.into();
            assert_eq!(verdict(&evidence, &anchors, NOW), "nvidia.arch.unknown");
        }
        let mut evidence = good;
        evidence.kind = "amd".into();
        assert_eq!(verdict(&evidence, &anchors, NOW), "device.kind");
    }
    // Chips whose names are of no known family, and a leaf of one chip under the BROM of another.
    for chip in ["GR100", "GB1000", "GH200", "A100"] {
        let spec = DeviceSpec {
            certified_chip: chip.into(),
            ..DeviceSpec::hopper(1)
        };
        assert_eq!(
            verdict(&vendor.device(spec).evidence(&NONCE), &anchors, NOW),
            "nvidia.arch.unknown",
            "{chip}"
        );
    }
    let newer = DeviceSpec {
        certified_chip: "GB202".into(),
        chip_info: Some("GB202".into()),
        ..DeviceSpec::blackwell(1)
    };
    let device = judge(&vendor.device(newer).evidence(&NONCE), &anchors, NOW).unwrap();
    assert_eq!(
        claims(&device).rim_ids().driver.as_deref(),
        Some("NV_GPU_CC_DRIVER_GB202_590.48.01")
    );
}

#[test]
fn a_stated_firmware_id_is_the_certificates() {
    let (vendor, anchors) = simulator();
    for spec in specs() {
        let code = |stated_fwid| {
            let spec = DeviceSpec {
                stated_fwid,
                ..spec.clone()
            };
            verdict(&vendor.device(spec).evidence(&NONCE), &anchors, NOW)
        };
        assert_eq!(code(Some(spec.firmware)), "accepted");
        assert_eq!(code(None), "accepted");
        assert_eq!(code(Some([9; 48])), "nvidia.fwid.mismatch");
        assert_eq!(code(Some([0; 48])), "nvidia.fwid.mismatch");
        let mut one_off = spec.firmware;
        one_off[47] ^= 1;
        assert_eq!(code(Some(one_off)), "nvidia.fwid.mismatch");
        // A certificate that names none vouches for none.
        let uncertified = |stated_fwid| {
            let spec = DeviceSpec {
                fwid_is_certified: false,
                stated_fwid,
                ..spec.clone()
            };
            verdict(&vendor.device(spec).evidence(&NONCE), &anchors, NOW)
        };
        assert_eq!(uncertified(None), "accepted");
        assert_eq!(uncertified(Some(spec.firmware)), "nvidia.fwid.mismatch");
        assert_eq!(uncertified(Some([0; 48])), "nvidia.fwid.mismatch");
    }
    let device = vendor.device(DeviceSpec {
        stated_fwid: None,
        ..DeviceSpec::hopper(1)
    });
    let device = judge(&device.evidence(&NONCE), &anchors, NOW).unwrap();
    assert_eq!(claims(&device).fwid, Fwid::Absent);
}

#[test]
fn a_switch_states_the_id_of_its_certificates() {
    let (vendor, anchors) = simulator();
    let switch = vendor.device(DeviceSpec::ls10(1));
    let other = DeviceSpec::ls10(2).pdi();
    let swapped = switch.evidence_edited(&NONCE, |report| {
        let own = DeviceSpec::ls10(1).pdi();
        let at = report.windows(8).position(|w| w == own).unwrap();
        report[at..at + 8].copy_from_slice(&other);
    });
    assert_eq!(verdict(&swapped, &anchors, NOW), "nvidia.pdi.mismatch");
}

#[test]
fn one_device_cannot_stand_for_two() {
    let (vendor, anchors) = simulator();
    let evidence = |number, firmware| {
        let spec = DeviceSpec {
            firmware,
            stated_fwid: None,
            ..DeviceSpec::hopper(number)
        };
        vendor.device(spec).evidence(&NONCE)
    };
    let code = |list: &[DeviceEvidence]| judge_list(list, &anchors, NOW).map_or_else(|e| e.code(), |_| "accepted");
    assert_eq!(code(&[]), "accepted");
    assert_eq!(code(&[evidence(1, [1; 48]), evidence(2, [1; 48])]), "accepted");
    assert_eq!(code(&[evidence(1, [1; 48]), evidence(1, [1; 48])]), "device.duplicate");
    // Restarted with other firmware in between: another leaf, another UEID, the same device.
    assert_eq!(code(&[evidence(1, [1; 48]), evidence(1, [2; 48])]), "device.duplicate");
    let many: Vec<_> = (0..=DEVICES_MAX as u16).map(|_| evidence(1, [1; 48])).collect();
    assert_eq!(code(&many), "device.too_many");
    // A list is authentic as a whole or not at all.
    let mut bad = evidence(2, [1; 48]);
    bad.report.0[60] ^= 1;
    assert_eq!(code(&[evidence(1, [1; 48]), bad]), "nvidia.signature.invalid");
}

#[test]
fn simulated_machines_hang_together_as_real_ones_do() {
    let (vendor, anchors) = simulator();
    let list: Vec<_> = vendor.machine(0, 8, 4).iter().map(|d| d.evidence(&NONCE)).collect();
    let machine = judge_list(&list, &anchors, NOW).unwrap();
    let devices: Vec<_> = machine.devices().iter().map(claims).collect();
    let topology = Topology::of(&devices);
    assert_eq!((topology.gpus, topology.switches, topology.problems.len()), (8, 4, 0));
    assert!(
        devices[..8]
            .iter()
            .all(|d| d.protected_pcie == Some(true) && d.feature_flag == Some(2))
    );
    // A GPU of another machine in place of one of this.
    let stranger: Vec<_> = vendor
        .machine(100, 8, 4)
        .iter()
        .map(|d| d.evidence(&NONCE))
        .take(1)
        .collect();
    let stranger = judge_list(&stranger, &anchors, NOW).unwrap();
    let mixed: Vec<_> = devices[1..]
        .iter()
        .copied()
        .chain([claims(&stranger.devices()[0])])
        .collect();
    assert!(!Topology::of(&mixed).problems.is_empty());
}
