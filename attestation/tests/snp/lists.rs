//! Revocation lists: authentic, of the right root, fresh, and obeyed.

use hanzo_attestation::bundle::{Base64, SnpEvidence};
use hanzo_attestation::{Anchors, Collateral, Revocation, UnixTime};
use hanzo_simulated_tee::LaunchSpec;

use crate::mutants::forged_processor;
use crate::{NOW, healthy, judge, simulator};

fn outcome(evidence: SnpEvidence, anchors: &Anchors, crls: Vec<Vec<u8>>, now: UnixTime) -> String {
    match judge(
        evidence,
        anchors,
        &Collateral {
            crls,
            ..Collateral::default()
        },
        now,
    ) {
        Ok(authentic) => match authentic.revocation() {
            Revocation::Checked { next_update } => format!("checked until {}", next_update.0),
            Revocation::NoList => "no list".into(),
        },
        Err(e) => e.code().into(),
    }
}

#[test]
fn a_list_is_used_wherever_it_comes_from() {
    let (processor, anchors) = simulator();
    let list = processor.crl_der(NOW);
    let until = format!("checked until {}", NOW.0 + 30 * 86_400);
    let bare = processor.launch(healthy()).evidence(&[0; 64]);
    let stapled = SnpEvidence {
        crl: Some(Base64(list.clone())),
        ..bare.clone()
    };
    assert_eq!(outcome(bare.clone(), &anchors, vec![], NOW), "no list");
    assert_eq!(outcome(stapled.clone(), &anchors, vec![], NOW), until);
    assert_eq!(outcome(bare, &anchors, vec![list], NOW), until);
    for late in [NOW.0 + 30 * 86_400 + 1, NOW.0 - 3601] {
        assert_eq!(
            outcome(stapled.clone(), &anchors, vec![], UnixTime(late)),
            "snp.crl.stale"
        );
    }
}

#[test]
fn a_revoked_intermediate_is_refused_even_behind_a_clean_stapled_list() {
    let (processor, anchors) = simulator();
    // The ASK of Genoa is the third that the simulator issues.
    let clean = processor.crl_der(NOW);
    let naming = |serial: &[u8]| processor.crl_naming(NOW, &[&[9, 9], serial]);
    let evidence = processor.launch(healthy()).with_crl(clean).evidence(&[0; 64]);
    assert!(outcome(evidence.clone(), &anchors, vec![], NOW).starts_with("checked"));
    assert_eq!(
        outcome(evidence.clone(), &anchors, vec![naming(&[1, 0, 3])], NOW),
        "snp.crl.revoked"
    );
    assert_eq!(
        outcome(evidence.clone(), &anchors, vec![naming(&[1, 0, 0])], NOW),
        "snp.crl.revoked",
        "the ARK"
    );
    assert!(
        outcome(evidence, &anchors, vec![naming(&[1, 0, 4])], NOW).starts_with("checked"),
        "the ASVK"
    );
}

#[test]
fn serial_number_zero_on_a_list_does_not_revoke_every_chip() {
    let (processor, anchors) = simulator();
    let lists = |serial: u8| vec![processor.crl_naming(NOW, &[&[serial]])];
    let zero = processor.launch(healthy()).evidence(&[0; 64]);
    assert!(outcome(zero, &anchors, lists(0), NOW).starts_with("checked"));
    let own = processor
        .launch(LaunchSpec {
            vek_serial: 7,
            ..healthy()
        })
        .evidence(&[0; 64]);
    assert_eq!(outcome(own.clone(), &anchors, lists(7), NOW), "snp.crl.revoked");
    assert!(outcome(own, &anchors, lists(8), NOW).starts_with("checked"));
}

#[test]
fn forged_foreign_and_broken_lists_are_refused() {
    let (processor, anchors) = simulator();
    let bare = processor.launch(healthy()).evidence(&[0; 64]);
    let stapled = |list: Vec<u8>| SnpEvidence {
        crl: Some(Base64(list)),
        ..bare.clone()
    };
    let good = processor.crl_der(NOW);
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(
        outcome(stapled(flipped.clone()), &anchors, vec![], NOW),
        "snp.crl.signature"
    );
    assert_eq!(outcome(bare.clone(), &anchors, vec![flipped], NOW), "snp.crl.signature");
    let forged = forged_processor().crl_der(NOW);
    assert_eq!(outcome(stapled(forged), &anchors, vec![], NOW), "snp.crl.signature");
    for broken in [
        vec![],
        vec![0x30; 99],
        good[..good.len() - 1].to_vec(),
        [&good[..], &[0]].concat(),
    ] {
        assert_eq!(outcome(stapled(broken), &anchors, vec![], NOW), "snp.crl.malformed");
    }
    // It says nothing of intermediates, whatever it is taken for.
    let part = processor.crl_of_one_part(NOW);
    assert_eq!(
        outcome(stapled(part.clone()), &anchors, vec![], NOW),
        "snp.crl.malformed"
    );
    assert_eq!(outcome(bare.clone(), &anchors, vec![part], NOW), "snp.crl.malformed");
    let huge = vec![0; hanzo_attestation::snp::CRL_BYTES_MAX + 1];
    assert_eq!(outcome(stapled(huge), &anchors, vec![], NOW), "snp.crl.malformed");
    assert_eq!(
        hanzo_attestation::snp::check_crl(&good, NOW).unwrap_err().code(),
        "snp.crl.issuer"
    );
}
