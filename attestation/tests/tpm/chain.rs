//! What stands behind a key: pins, chains, and chains that do not hold.

use hanzo_attestation::bundle::{Base64, TpmEvidence};
use hanzo_attestation::tpm::AkOrigin;
use hanzo_attestation::{Anchors, Digest256};
use hanzo_simulated_tee::{SimulatedTpm, TpmSpec};

use crate::{NOW, VTPM, judge, pin, tpm, verdict};

const SEED: &[u8; 32] = b"tests of the tpm module, seed 02";

fn made(edit: impl FnOnce(&mut TpmSpec)) -> SimulatedTpm {
    let mut spec = TpmSpec::new("chained");
    edit(&mut spec);
    SimulatedTpm::from_seed(SEED, &spec).unwrap()
}

fn rooted(simulated: &SimulatedTpm) -> Anchors {
    Anchors::vendor().with_tpm_root(simulated.root_der().to_vec())
}

fn evidence(simulated: &SimulatedTpm) -> TpmEvidence {
    simulated.evidence(&[1; 32])
}

#[test]
fn a_chain_to_a_pinned_root_counts() {
    let simulated = made(|_| {});
    let authentic = judge(evidence(&simulated), &rooted(&simulated)).unwrap();
    let root = Digest256::of(simulated.root_der());
    assert_eq!(tpm(&authentic).ak_origin, AkOrigin::Chained { root });
    // Beside other roots, of other names and of the same name.
    let namesake = SimulatedTpm::for_tests();
    let anchors = rooted(&namesake).with_tpm_root(simulated.root_der().to_vec());
    assert_eq!(verdict(evidence(&simulated), &anchors), "accepted");
    // Google's certificates do not say what the key is for.
    let silent = made(|s| s.purpose = None);
    assert_eq!(verdict(evidence(&silent), &rooted(&silent)), "accepted");
}

#[test]
fn a_chain_to_a_root_that_is_not_pinned_is_an_error_and_not_an_unknown_key() {
    let simulated = made(|_| {});
    assert_eq!(verdict(evidence(&simulated), &Anchors::vendor()), "tpm.chain.root");
    // A root of the same name with another key: whose key verifies is what counts.
    assert_eq!(
        verdict(evidence(&simulated), &rooted(&SimulatedTpm::for_tests())),
        "tpm.chain.link"
    );
    // A pinned key needs no chain, and a foreign chain takes nothing from it.
    let anchors = pin(&simulated.ak_public());
    let authentic = judge(evidence(&simulated), &anchors).unwrap();
    assert_eq!(tpm(&authentic).ak_origin, AkOrigin::Pinned);
}

#[test]
fn each_link_is_checked() {
    let simulated = made(|_| {});
    let with = |edit: &dyn Fn(&mut Vec<Base64>)| {
        let mut evidence = evidence(&simulated);
        edit(&mut evidence.ak_certificates);
        verdict(evidence, &rooted(&simulated))
    };
    let other = SimulatedTpm::for_tests();
    assert_eq!(with(&|_| {}), "accepted");
    assert_eq!(
        with(&|c| c.push(Base64(simulated.root_der().to_vec()))),
        "tpm.chain.link",
        "path length 1"
    );
    assert_eq!(with(&|c| drop(c.pop())), "tpm.chain.root", "the intermediate left out");
    assert_eq!(with(&|c| c.swap(0, 1)), "tpm.chain.key");
    assert_eq!(
        with(&|c| drop(c.remove(0))),
        "tpm.chain.key",
        "an authority's key is no attestation key"
    );
    assert_eq!(
        with(&|c| c[1] = Base64(other.ak_certificates()[1].clone())),
        "tpm.chain.link"
    );
    assert_eq!(
        with(&|c| c[0] = Base64(other.ak_certificates()[0].clone())),
        "tpm.chain.key"
    );
    assert_eq!(with(&|c| c[0].0[0] = 0), "tpm.cert.malformed");
    assert_eq!(with(&|c| *c[0].0.last_mut().unwrap() ^= 1), "tpm.chain.link");
    assert_eq!(with(&|c| *c[1].0.last_mut().unwrap() ^= 1), "tpm.chain.link");
    // What an NV index is filled up with does not belong to the certificate in it.
    assert_eq!(with(&|c| c[0].0.push(0)), "tpm.cert.malformed");
    assert_eq!(with(&|c| c[0].0.extend([0; 8192])), "tpm.cert.malformed");
    assert_eq!(with(&|c| c.extend(vec![c[1].clone(); 5])), "tpm.chain.length");
}

#[test]
fn only_an_authority_issues_and_only_an_attestation_key_attests() {
    let no_ca = made(|s| s.intermediate_is_ca = false);
    assert_eq!(verdict(evidence(&no_ca), &rooted(&no_ca)), "tpm.chain.link");
    // An endorsement key's certificate (tcg-kp-EKCertificate).
    let endorsement = made(|s| s.purpose = Some(vec![2, 23, 133, 8, 1]));
    assert_eq!(verdict(evidence(&endorsement), &rooted(&endorsement)), "tpm.chain.link");
    // An attestation key cannot be pinned as a root.
    let simulated = made(|_| {});
    let mut evidence = evidence(&simulated);
    evidence.ak_certificates.truncate(1);
    let leaf = Anchors::vendor().with_tpm_root(simulated.ak_certificates()[0].clone());
    assert_eq!(verdict(evidence.clone(), &leaf), "tpm.chain.root");
    // An intermediate can be pinned: then it is the root.
    let intermediate = Anchors::vendor().with_tpm_root(simulated.ak_certificates()[1].clone());
    assert_eq!(verdict(evidence, &intermediate), "accepted");
}

#[test]
fn certificates_count_from_their_first_to_their_last_second() {
    let now = NOW.0;
    for (validity, code) in [
        ((now, now), "accepted"),
        ((now - 9, now - 1), "tpm.cert.expired"),
        ((now + 1, now + 9), "tpm.cert.not_yet_valid"),
    ] {
        let leaf = made(|s| s.ak_validity = validity);
        assert_eq!(verdict(evidence(&leaf), &rooted(&leaf)), code);
        let intermediate = made(|s| s.intermediate_validity = validity);
        assert_eq!(verdict(evidence(&intermediate), &rooted(&intermediate)), code);
    }
}

#[test]
fn a_pinned_root_that_is_no_certificate_is_told_apart_from_a_bad_chain() {
    let simulated = made(|_| {});
    let anchors = Anchors::vendor().with_tpm_root(vec![0x30, 0]);
    assert_eq!(verdict(evidence(&simulated), &anchors), "tpm.anchor.invalid");
}

#[test]
fn the_certificate_of_one_tpm_does_not_stand_for_anothers_quote() {
    let simulated = made(|_| {});
    let mut stolen = evidence(&simulated);
    stolen.quote = VTPM.quote(&[0], &[1; 32]);
    // The certified key, another TPM's quote.
    assert_eq!(verdict(stolen.clone(), &rooted(&simulated)), "tpm.signature.algorithm");
    // The quote's key, the certified one's certificate.
    stolen.ak_public = Base64(VTPM.ak_public());
    assert_eq!(verdict(stolen, &rooted(&simulated)), "tpm.chain.key");
}
