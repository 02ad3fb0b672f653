//! What may be a simulator root: never a vendor's, never an unsigned one.

use hanzo_attestation::snp::{Product, roots};
use hanzo_attestation::{Anchors, Collateral};

use crate::{NOW, healthy, judge, simulator, verdict};

#[test]
fn a_vendors_root_cannot_be_given_as_a_simulators() {
    let (processor, anchors) = simulator();
    let evidence = processor.launch(healthy()).evidence(&[0; 64]);
    for product in Product::ALL {
        let shadowed = Anchors::vendor().with_simulator_ark(roots::ark(product).to_vec());
        let refused = judge(evidence.clone(), &shadowed, &Collateral::default(), NOW).unwrap_err();
        assert_eq!(refused.code(), "snp.anchor.invalid");
        assert!(refused.to_string().contains("AMD"), "{refused}");
    }
    assert_eq!(verdict(evidence, &anchors), "accepted");
}

#[test]
fn a_simulator_root_must_be_a_self_signed_certificate() {
    let (processor, _) = simulator();
    let evidence = processor.launch(healthy()).evidence(&[0; 64]);
    let mut flipped = processor.ark_der().to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    for bad in [
        vec![],
        vec![0x30, 0x00],
        flipped,
        processor.ask_der().to_vec(),
        evidence.vek.0.clone(),
    ] {
        let anchors = Anchors::vendor().with_simulator_ark(bad);
        assert_eq!(verdict(evidence.clone(), &anchors), "snp.anchor.invalid");
    }
}

#[test]
fn several_simulator_roots_may_stand_beside_each_other() {
    let (processor, _) = simulator();
    let other = crate::mutants::forged_processor();
    let anchors = Anchors::vendor()
        .with_simulator_ark(other.ark_der().to_vec())
        .with_simulator_ark(processor.ark_der().to_vec());
    for p in [&processor, &other] {
        let authentic = judge(
            p.launch(healthy()).evidence(&[0; 64]),
            &anchors,
            &Collateral::default(),
            NOW,
        )
        .unwrap();
        assert!(authentic.is_simulated());
    }
}
