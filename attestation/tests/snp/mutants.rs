//! Simulated evidence with one thing wrong: each class of fault has its code.

use hanzo_attestation::bundle::Base64;
use hanzo_attestation::snp::{Product, REPORT_BYTES, SigningKey};
use hanzo_attestation::{Anchors, Collateral, Digest256, Digest384, Revocation, UnixTime};
use hanzo_simulated_tee::{LaunchSpec, SimulatedProcessor, simulated_measurement};

use crate::{NOW, healthy, judge, simulator, verdict, verdict_at};

#[test]
fn healthy_evidence_is_authentic_simulated_and_says_what_was_launched() {
    let (processor, anchors) = simulator();
    for product in Product::ALL {
        for version in 2..=5 {
            let spec = LaunchSpec {
                product,
                version,
                vmpl: 3,
                debug: true,
                ..healthy()
            };
            let guest = processor.launch(spec).with_crl(processor.crl_der(NOW));
            let evidence = guest.evidence(&[9; 64]);
            assert_eq!(evidence.report.0.len(), REPORT_BYTES);
            let authentic = judge(evidence, &anchors, &Collateral::default(), NOW).unwrap();
            assert!(authentic.is_simulated());
            assert!(matches!(authentic.revocation(), Revocation::Checked { next_update } if next_update > NOW));
            let hanzo_attestation::Claims::Snp(claims) = authentic.claims() else {
                panic!("SNP claims")
            };
            let report = &claims.report;
            assert_eq!((claims.product, report.version, report.vmpl), (product, version, 3));
            assert!(report.guest_policy().debug() && !report.guest_policy().migrate_ma());
            assert!(report.guest_policy().reserved_one());
            assert_eq!(report.report_data, [9; 64]);
            let expected = simulated_measurement(&Digest384([1; 48]), &Digest256([2; 32]));
            assert_eq!(report.measurement, expected.0);
            assert_eq!(report.reported_tcb.fmc.is_some(), product == Product::Turin);
            assert_eq!(report.cpuid.is_some(), version >= 3);
            assert_eq!(report.current_mitigations.is_some(), version >= 5);
        }
    }
}

#[test]
fn without_the_simulators_root_its_evidence_is_nobodys() {
    let (processor, _) = simulator();
    let evidence = processor.launch(healthy()).evidence(&[0; 64]);
    assert_eq!(verdict(evidence.clone(), &Anchors::vendor()), "snp.chain.root");
    let mut bare = evidence;
    bare.ask = None;
    assert_eq!(verdict(bare, &Anchors::vendor()), "snp.chain.vek");
}

#[test]
fn one_flipped_bit_in_any_signed_field_breaks_the_signature_or_the_layout() {
    let (processor, anchors) = simulator();
    let good = processor.launch(healthy()).evidence(&[0; 64]);
    assert_eq!(verdict(good.clone(), &anchors), "accepted");
    for (offset, code) in [
        (0x000, "snp.signature.invalid"), // version 5 becomes 4
        (0x004, "snp.signature.invalid"),
        (0x008, "snp.signature.invalid"),
        (0x00a, "snp.signature.invalid"),
        (0x010, "snp.signature.invalid"),
        (0x020, "snp.signature.invalid"),
        (0x030, "snp.signature.invalid"),
        (0x034, "snp.report.signature_algorithm"),
        (0x038, "snp.signature.invalid"),
        (0x03a, "snp.report.reserved"),
        (0x040, "snp.signature.invalid"),
        (0x048, "snp.signature.invalid"),
        (0x04c, "snp.report.reserved"),
        (0x050, "snp.signature.invalid"),
        (0x08f, "snp.signature.invalid"),
        (0x090, "snp.signature.invalid"),
        (0x0bf, "snp.signature.invalid"),
        (0x0c0, "snp.signature.invalid"),
        (0x0e0, "snp.signature.invalid"),
        (0x110, "snp.signature.invalid"),
        (0x140, "snp.signature.invalid"),
        (0x160, "snp.signature.invalid"),
        (0x180, "snp.signature.invalid"),
        (0x188, "snp.product.unknown"),
        (0x189, "snp.signature.invalid"),
        (0x18a, "snp.signature.invalid"),
        (0x18b, "snp.report.reserved"),
        (0x19f, "snp.report.reserved"),
        (0x1a0, "snp.signature.invalid"),
        (0x1df, "snp.signature.invalid"),
        (0x1e0, "snp.signature.invalid"),
        (0x1e8, "snp.signature.invalid"),
        (0x1eb, "snp.report.reserved"),
        (0x1ec, "snp.signature.invalid"),
        (0x1ef, "snp.report.reserved"),
        (0x1f0, "snp.signature.invalid"),
        (0x1f8, "snp.signature.invalid"),
        (0x200, "snp.signature.invalid"),
        (0x208, "snp.report.reserved"),
        (0x29f, "snp.report.reserved"),
        (0x2a0, "snp.signature.invalid"),
        (0x2cf, "snp.signature.invalid"),
        (0x2d0, "snp.report.reserved"),
        (0x2e8, "snp.signature.invalid"),
        (0x318, "snp.report.reserved"),
        (0x330, "snp.report.reserved"),
        (0x49f, "snp.report.reserved"),
    ] {
        let mut bad = good.clone();
        bad.report.0[offset] ^= 1;
        assert_eq!(verdict(bad, &anchors), code, "byte {offset:#x}");
    }
}

#[test]
fn a_correct_signature_does_not_excuse_a_wrong_layout() {
    let (processor, anchors) = simulator();
    let guest = processor.launch(healthy());
    for (offset, value, code) in [
        (0x000, 0, "snp.report.version"),
        (0x000, 1, "snp.report.version"),
        (0x000, 6, "snp.report.version"),
        (0x003, 1, "snp.report.version"),
        (0x034, 2, "snp.report.signature_algorithm"),
        (0x048, 1 << 1, "snp.key.masked"),
        (0x048, 1 << 2, "snp.key.kind"),
        (0x048, 2 << 2, "snp.report.signing_key"),
        (0x048, 7 << 2, "snp.report.signing_key"),
        (0x048, 1 << 5, "snp.report.reserved"),
        (0x04f, 1, "snp.report.reserved"),
        (0x180, 11, "snp.tcb.mismatch"),
        (0x182, 1, "snp.report.reserved"),
        (0x187, 83, "snp.tcb.mismatch"),
        (0x188, 0x1b, "snp.product.unknown"),
        (0x188, 0x1a, "snp.product.mismatch"),
        (0x189, 0x01, "snp.product.mismatch"),
        (0x189, 0x21, "snp.product.unknown"),
        (0x18b, 1, "snp.report.reserved"),
        (0x1a0, 0xff, "snp.chip_id.mismatch"),
        (0x1df, 0xff, "snp.chip_id.mismatch"),
        (0x250, 1, "snp.report.reserved"),
    ] {
        let evidence = guest.evidence_edited(&[0; 64], |report| report[offset] = value);
        assert_eq!(verdict(evidence, &anchors), code, "byte {offset:#x} = {value:#x}");
    }
    let old = processor.launch(LaunchSpec {
        version: 2,
        ..healthy()
    });
    assert_eq!(verdict(old.evidence(&[0; 64]), &anchors), "accepted");
    let with_cpuid = old.evidence_edited(&[0; 64], |report| report[0x188] = 0x19);
    assert_eq!(verdict(with_cpuid, &anchors), "snp.report.reserved");
    let fourth = processor.launch(LaunchSpec {
        version: 4,
        ..healthy()
    });
    let with_vector = fourth.evidence_edited(&[0; 64], |report| report[0x1f8] = 1);
    assert_eq!(verdict(with_vector, &anchors), "snp.report.reserved");
}

#[test]
fn a_masked_chip_id_does_not_pass_for_the_chip_of_the_certificate() {
    let (processor, anchors) = simulator();
    let masked = processor
        .launch(healthy())
        .evidence_edited(&[0; 64], |report| report[0x1a0..0x1e0].fill(0));
    let refused = judge(masked, &anchors, &Collateral::default(), NOW).unwrap_err();
    assert_eq!(refused.code(), "snp.chip_id.mismatch");
    assert!(refused.to_string().contains("masked"), "{refused}");
}

#[test]
fn turin_is_read_in_its_own_order_and_names_eight_bytes_of_chip() {
    let (processor, anchors) = simulator();
    let mut spec = LaunchSpec {
        product: Product::Turin,
        ..healthy()
    };
    spec.tcb.fmc = Some(3);
    let guest = processor.launch(spec);
    assert_eq!(verdict(guest.evidence(&[0; 64]), &anchors), "accepted");
    // The same versions in the order of Genoa: 10 0 . . . . 23 84.
    let other_order = guest.evidence_edited(&[0; 64], |report| {
        report[0x180..0x188].copy_from_slice(&[10, 0, 0, 0, 0, 0, 23, 84])
    });
    assert_eq!(verdict(other_order, &anchors), "snp.report.reserved");
    let swapped = guest.evidence_edited(&[0; 64], |report| report.swap(0x180, 0x181));
    assert_eq!(verdict(swapped, &anchors), "snp.tcb.mismatch");
    let ninth = guest.evidence_edited(&[0; 64], |report| report[0x1a8] = 1);
    assert_eq!(verdict(ninth, &anchors), "snp.chip_id.mismatch");
}

#[test]
fn vcek_and_vlek_do_not_stand_in_for_each_other() {
    let (processor, anchors) = simulator();
    let vlek_spec = LaunchSpec {
        signing_key: SigningKey::Vlek,
        ..healthy()
    };
    let (vcek, vlek) = (processor.launch(healthy()), processor.launch(vlek_spec));
    let accepted = judge(vlek.evidence(&[0; 64]), &anchors, &Collateral::default(), NOW).unwrap();
    let hanzo_attestation::Claims::Snp(claims) = accepted.claims() else {
        panic!("SNP claims")
    };
    assert_eq!(claims.provider.as_deref(), Some("CN=simulated.invalid"));
    assert!(claims.report.chip_id_masked());

    // SIGNING_KEY says the other kind.
    let as_vcek = vlek.evidence_edited(&[0; 64], |report| report[0x48] = 0);
    assert_eq!(verdict(as_vcek, &anchors), "snp.key.kind");
    let as_vlek = vcek.evidence_edited(&[0; 64], |report| report[0x48] = 1 << 2);
    assert_eq!(verdict(as_vlek, &anchors), "snp.key.kind");
    // The other kind's intermediate.
    let mut evidence = vcek.evidence(&[0; 64]);
    evidence.ask = vlek.evidence(&[0; 64]).ask;
    assert_eq!(verdict(evidence, &anchors), "snp.chain.vek");
    let mut evidence = vlek.evidence(&[0; 64]);
    evidence.ask = vcek.evidence(&[0; 64]).ask;
    assert_eq!(verdict(evidence, &anchors), "snp.chain.vek");
}

#[test]
fn the_intermediate_of_another_product_is_refused() {
    let (processor, anchors) = simulator();
    let guest = processor.launch(healthy());
    for product in [Product::Milan, Product::Turin] {
        let mut evidence = guest.evidence(&[0; 64]);
        evidence.ask = Some(Base64(processor.intermediate_der(product, SigningKey::Vcek).to_vec()));
        assert_eq!(verdict(evidence, &anchors), "snp.chain.vek");
    }
    // A leaf in the place of an intermediate, a root in the place of an intermediate.
    let mut evidence = guest.evidence(&[0; 64]);
    evidence.ask = Some(evidence.vek.clone());
    assert_eq!(verdict(evidence, &anchors), "snp.cert.malformed");
    let mut evidence = guest.evidence(&[0; 64]);
    evidence.ask = Some(Base64(processor.ark_der().to_vec()));
    assert_eq!(verdict(evidence, &anchors), "snp.chain.vek");
}

#[test]
fn another_chips_certificate_does_not_verify_this_chips_report() {
    let (processor, anchors) = simulator();
    let one = processor.launch(healthy());
    let other = processor.launch(LaunchSpec {
        chip: [8; 64],
        ..healthy()
    });
    let mut swapped = one.evidence(&[0; 64]);
    swapped.vek = other.evidence(&[0; 64]).vek;
    assert_eq!(verdict(swapped, &anchors), "snp.signature.invalid");
    // Chip id copied as well: now only the signature tells.
    let mut swapped = one.evidence_edited(&[0; 64], |report| report[0x1a0..0x1e0].fill(8));
    swapped.vek = other.evidence(&[0; 64]).vek;
    assert_eq!(verdict(swapped, &anchors), "snp.signature.invalid");
}

#[test]
fn certificates_count_from_their_first_to_their_last_second() {
    let (processor, anchors) = simulator();
    let (first, last) = (NOW.0 - 100, NOW.0 + 100);
    let guest = processor.launch(LaunchSpec {
        vek_validity: (first, last),
        ..healthy()
    });
    for (now, expected) in [
        (first - 1, "snp.cert.not_yet_valid"),
        (first, "accepted"),
        (last, "accepted"),
        (last + 1, "snp.cert.expired"),
        (0, "snp.anchor.invalid"), // the simulator's root itself is not valid yet
        (u64::MAX, "snp.anchor.invalid"),
    ] {
        assert_eq!(
            verdict_at(guest.evidence(&[0; 64]), &anchors, UnixTime(now)),
            expected,
            "{now}"
        );
    }
}

#[test]
fn certificates_are_read_strictly() {
    let (processor, anchors) = simulator();
    let good = processor.launch(healthy()).evidence(&[0; 64]);
    let with_vek = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bad = good.clone();
        edit(&mut bad.vek.0);
        verdict(bad, &anchors)
    };
    assert_eq!(with_vek(&|_| {}), "accepted");
    assert_eq!(with_vek(&Vec::clear), "snp.cert.malformed");
    assert_eq!(with_vek(&|der| der.push(0)), "snp.cert.malformed");
    assert_eq!(with_vek(&|der| der.truncate(der.len() - 1)), "snp.cert.malformed");
    assert_eq!(with_vek(&|der| der.resize(5000, 0)), "snp.cert.malformed");
    assert_eq!(with_vek(&|der| der[0] ^= 1), "snp.cert.malformed");
    assert_eq!(with_vek(&|der| *der = vec![0x30; 300]), "snp.cert.malformed");
    // The last byte of the signature; a byte of the subject's key.
    assert_eq!(with_vek(&|der| *der.last_mut().unwrap() ^= 1), "snp.chain.vek");
    let point = good
        .vek
        .0
        .windows(4)
        .position(|w| w == [0x03, 0x62, 0x00, 0x04])
        .unwrap();
    assert_eq!(with_vek(&|der| der[point + 20] ^= 1), "snp.chain.vek");
    // Salt length 32, SHA-256: another algorithm than AMD's is no certificate of AMD's.
    let salt = good
        .vek
        .0
        .windows(5)
        .position(|w| w == [0xa2, 0x03, 0x02, 0x01, 0x30])
        .unwrap();
    assert_eq!(with_vek(&|der| der[salt + 4] = 0x20), "snp.cert.malformed");
    // AMD's common name spelt as some verifiers did.
    let name = good.vek.0.windows(8).position(|w| w == b"SEV-VCEK").unwrap();
    assert_eq!(
        with_vek(&|der| der[name..name + 8].copy_from_slice(b"SEV_VCEK")),
        "snp.key.kind"
    );
}

/// The bytes of AMD's object identifier 1.3.6.1.4.1.3704.1 and these arcs.
fn amd_oid(arcs: &[u8]) -> Vec<u8> {
    let oid = [&[0x2b, 6, 1, 4, 1, 0x9c, 0x78, 1], arcs].concat();
    [&[0x06, oid.len() as u8], &oid[..]].concat()
}

#[test]
fn a_certificate_without_one_of_amds_extensions_endorses_nothing() {
    let (processor, anchors) = simulator();
    let renamed = |spec: LaunchSpec, from: &[u8], to: &[u8]| {
        let mut evidence = processor.launch(spec).evidence(&[0; 64]);
        let oid = amd_oid(from);
        let at = evidence.vek.0.windows(oid.len()).position(|w| w == oid).unwrap();
        evidence.vek.0[at..at + oid.len()].copy_from_slice(&amd_oid(to));
        verdict(evidence, &anchors)
    };
    // Found before the signature is looked at: hwID, productName and the SPLs of loader, TEE, SNP and microcode.
    for (what, arcs, elsewhere) in [
        ("hwID", &[4][..], &[0x44][..]),
        ("productName", &[2], &[0x42]),
        ("blSPL", &[3, 1], &[3, 0x41]),
        ("teeSPL", &[3, 2], &[3, 0x42]),
        ("snpSPL", &[3, 3], &[3, 0x43]),
        ("ucodeSPL", &[3, 8], &[3, 0x48]),
        ("two of blSPL, none of teeSPL", &[3, 2], &[3, 1]),
    ] {
        assert_eq!(renamed(healthy(), arcs, elsewhere), "snp.cert.malformed", "{what}");
    }
    let vlek = LaunchSpec {
        signing_key: SigningKey::Vlek,
        ..healthy()
    };
    assert_eq!(renamed(vlek.clone(), &[5], &[0x45]), "snp.cert.malformed", "cspID");
    assert_eq!(renamed(vlek, &[5], &[4]), "snp.cert.malformed", "hwID in a VLEK");
    // Any other byte of the certificate is its issuer's word.
    assert_eq!(renamed(healthy(), &[1], &[0x41]), "snp.chain.vek", "structVersion");
}

#[test]
fn a_certificate_of_no_known_product_has_no_root() {
    let (processor, anchors) = simulator();
    for version in [2, 5] {
        let spec = LaunchSpec { version, ..healthy() };
        let mut evidence = processor.launch(spec).evidence(&[0; 64]);
        let at = evidence.vek.0.windows(8).position(|w| w == b"Genoa-B1").unwrap();
        evidence.vek.0[at..at + 5].copy_from_slice(b"Naple");
        assert_eq!(verdict(evidence, &anchors), "snp.product.unknown", "version {version}");
    }
}

#[test]
fn a_forged_root_with_the_right_names_is_not_the_root() {
    let (processor, anchors) = simulator();
    let forger = forged_processor();
    let evidence = forger.launch(healthy()).evidence(&[0; 64]);
    // Same names as the accepted simulator's chain, other keys.
    assert_eq!(verdict(evidence.clone(), &anchors), "snp.chain.ask");
    assert_eq!(verdict(evidence, &Anchors::vendor()), "snp.chain.root");
    let mut mixed = processor.launch(healthy()).evidence(&[0; 64]);
    mixed.ask = Some(Base64(forger.ask_der().to_vec()));
    assert_eq!(verdict(mixed, &anchors), "snp.chain.vek");
}

/// Another processor with the names of the first: its ARK and ASK keys are swapped and its certificates made anew.
pub fn forged_processor() -> SimulatedProcessor {
    SimulatedProcessor::for_tests().with_swapped_keys()
}
