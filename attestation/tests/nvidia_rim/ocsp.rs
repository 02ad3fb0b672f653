//! OCSP answers, right and with one thing wrong. The chain is the RIM issuer's; position 0 is the leaf that no responder
//! serves, 1 and 2 need answers.

use hanzo_attestation::UnixTime;
use hanzo_attestation::nvidia::OcspOutcome;
use hanzo_attestation::nvidia::ocsp::check;
use hanzo_simulated_tee::{OcspHash, OcspSigner, OcspSpec, OcspStatus, SimulatedRimIssuer};

use crate::NOW;

fn judge(issuer: &SimulatedRimIssuer, answers: &[Vec<u8>], now: UnixTime) -> Result<OcspOutcome, &'static str> {
    let chain: Vec<&[u8]> = issuer.certificates().iter().map(Vec::as_slice).collect();
    check(&chain, answers, now).map_err(|e| e.code())
}

fn good() -> OcspSpec {
    OcspSpec::good(NOW.0)
}

fn until(next_update: u64) -> Result<OcspOutcome, &'static str> {
    Ok(OcspOutcome::Good {
        next_update: UnixTime(next_update),
    })
}

/// The verdict with one answer replaced: about the certificate at position 1.
fn with(spec: &OcspSpec) -> Result<OcspOutcome, &'static str> {
    let issuer = SimulatedRimIssuer::for_tests();
    judge(&issuer, &[issuer.ocsp(1, spec), issuer.ocsp(2, &good())], NOW)
}

fn revoked(reason: Option<u8>) -> OcspStatus {
    OcspStatus::Revoked { at: NOW.0 - 60, reason }
}

const DAY: u64 = 86_400;
const LAST: u64 = NOW.0 - 3600 + DAY;

#[test]
fn good_means_that_every_certificate_between_leaf_and_root_has_its_answer() {
    let issuer = SimulatedRimIssuer::for_tests();
    let answer = |position| issuer.ocsp(position, &good());
    assert_eq!(judge(&issuer, &[answer(1), answer(2)], NOW), until(LAST));
    assert_eq!(judge(&issuer, &[answer(2), answer(1), answer(0)], NOW), until(LAST));
    for incomplete in [vec![], vec![answer(1)], vec![answer(2)], vec![answer(0), answer(2)]] {
        assert_eq!(judge(&issuer, &incomplete, NOW), Ok(OcspOutcome::NoAnswer));
    }
    // Answers about another chain are none about this one, whatever they say.
    let other = SimulatedRimIssuer::from_seed(&[9; 32]);
    let theirs = good().with_status(revoked(Some(1)));
    let answers = [answer(1), other.ocsp(1, &theirs), other.ocsp(2, &good())];
    assert_eq!(judge(&issuer, &answers, NOW), Ok(OcspOutcome::NoAnswer));
    // A refusal to answer is no answer.
    for status in [1, 2, 3, 5, 6] {
        assert_eq!(
            judge(&issuer, &[answer(1), issuer.ocsp_refusal(status)], NOW),
            Ok(OcspOutcome::NoAnswer)
        );
    }
    for status in [0, 4, 7] {
        assert_eq!(
            judge(&issuer, &[answer(1), issuer.ocsp_refusal(status)], NOW),
            Err("nvidia.ocsp.malformed")
        );
    }
    // The earliest end counts.
    let mut short = good();
    short.next_update = Some(NOW.0 + 5);
    assert_eq!(with(&short), until(NOW.0 + 5));
}

#[test]
fn every_form_of_a_right_answer_is_accepted() {
    for hash in [OcspHash::Sha1, OcspHash::Sha256, OcspHash::Sha384] {
        for signer in [OcspSigner::Delegate, OcspSigner::Issuer] {
            for (by_key, nonce) in [(false, None), (true, Some(vec![7; 32]))] {
                let spec = OcspSpec {
                    hash,
                    signer,
                    by_key,
                    nonce,
                    ..good()
                };
                assert_eq!(with(&spec), until(LAST), "{spec:?}");
            }
        }
    }
}

#[test]
fn revoked_is_refused_on_hold_is_told_and_unknown_is_no_good() {
    let say = |status| with(&good().with_status(status));
    assert_eq!(say(OcspStatus::Good), until(LAST));
    assert_eq!(say(revoked(None)), Err("nvidia.ocsp.revoked"));
    for reason in [0, 1, 2, 3, 4, 5, 8, 9, 10] {
        assert_eq!(say(revoked(Some(reason))), Err("nvidia.ocsp.revoked"));
    }
    assert_eq!(say(revoked(Some(6))), Ok(OcspOutcome::OnHold));
    assert_eq!(say(OcspStatus::Unknown), Err("nvidia.ocsp.unknown"));
    // On hold with another certificate's answer missing is neither.
    let issuer = SimulatedRimIssuer::for_tests();
    let hold = issuer.ocsp(1, &good().with_status(revoked(Some(6))));
    assert_eq!(judge(&issuer, &[hold], NOW), Err("nvidia.ocsp.incomplete"));
    // The leaf needs no answer; one that revokes it counts all the same.
    let leaf = issuer.ocsp(0, &good().with_status(revoked(Some(1))));
    let answers = [leaf, issuer.ocsp(1, &good()), issuer.ocsp(2, &good())];
    assert_eq!(judge(&issuer, &answers, NOW), Err("nvidia.ocsp.revoked"));
}

#[test]
fn an_answer_holds_from_thisupdate_to_nextupdate() {
    let issuer = SimulatedRimIssuer::for_tests();
    let answers = [issuer.ocsp(1, &good()), issuer.ocsp(2, &good())];
    for (now, expected) in [
        (NOW.0 - 3601, Err("nvidia.ocsp.not_yet_valid")),
        (NOW.0 - 3600, until(LAST)),
        (LAST, until(LAST)),
        (LAST + 1, Err("nvidia.ocsp.stale")),
    ] {
        assert_eq!(judge(&issuer, &answers, UnixTime(now)), expected, "{now}");
    }
    let endless = OcspSpec {
        next_update: None,
        ..good()
    };
    assert_eq!(with(&endless), Err("nvidia.ocsp.malformed"));
}

#[test]
fn only_the_issuer_and_its_delegate_answer() {
    for (signer, expected) in [
        (OcspSigner::Delegate, until(LAST)),
        (OcspSigner::Issuer, until(LAST)),
        (OcspSigner::DelegateWithoutUsage, Err("nvidia.ocsp.responder")),
        (OcspSigner::ExpiredDelegate, Err("nvidia.ocsp.responder")),
        (OcspSigner::Stranger, Err("nvidia.ocsp.responder")),
    ] {
        assert_eq!(with(&good().with_signer(signer)), expected, "{signer:?}");
    }
    // The delegate of one authority does not answer for the certificates of another: same serial, wrong issuer.
    let (issuer, other) = (SimulatedRimIssuer::for_tests(), SimulatedRimIssuer::from_seed(&[9; 32]));
    let answers = [other.ocsp(1, &good()), issuer.ocsp(2, &good())];
    assert_eq!(judge(&issuer, &answers, NOW), Ok(OcspOutcome::NoAnswer));
}

#[test]
fn of_several_answers_the_latest_counts_and_revoked_is_final() {
    let issuer = SimulatedRimIssuer::for_tests();
    let rest = issuer.ocsp(2, &good());
    let at = |this_update, status| {
        let spec = OcspSpec { this_update, ..good() };
        issuer.ocsp(1, &spec.with_status(status))
    };
    let both = |a: &Vec<u8>, b: &Vec<u8>| {
        let found = judge(&issuer, &[a.clone(), b.clone(), rest.clone()], NOW);
        assert_eq!(found, judge(&issuer, &[b.clone(), rest.clone(), a.clone()], NOW));
        found
    };
    let (old_good, new_good) = (at(NOW.0 - 50, OcspStatus::Good), at(NOW.0 - 10, OcspStatus::Good));
    let (old_hold, new_hold) = (at(NOW.0 - 50, revoked(Some(6))), at(NOW.0 - 10, revoked(Some(6))));
    assert_eq!(both(&old_good, &new_hold), Ok(OcspOutcome::OnHold));
    assert_eq!(both(&old_hold, &new_good), until(LAST));
    assert_eq!(
        both(&at(NOW.0 - 50, revoked(Some(4))), &new_good),
        Err("nvidia.ocsp.revoked")
    );
    assert_eq!(both(&at(NOW.0 - 10, OcspStatus::Unknown), &old_good), until(LAST));
    // A bad one beside a good one is passed over; more than eight are not tried.
    let stranger = issuer.ocsp(1, &good().with_signer(OcspSigner::Stranger));
    assert_eq!(both(&stranger, &old_good), until(LAST));
    assert_eq!(both(&b"noise".to_vec(), &old_good), until(LAST));
    let many: Vec<Vec<u8>> = (0..9)
        .map(|i| at(NOW.0 - i, OcspStatus::Good))
        .chain([rest.clone()])
        .collect();
    assert_eq!(judge(&issuer, &many, NOW), Err("nvidia.ocsp.too_many"));
    assert_eq!(judge(&issuer, &many[1..], NOW), until(LAST));
}

#[test]
fn every_changed_byte_of_an_answer_costs_its_authenticity() {
    let issuer = SimulatedRimIssuer::for_tests();
    let answer = issuer.ocsp(1, &good());
    // Up to the second authority, so that one answer is enough.
    let chain: Vec<&[u8]> = issuer.certificates()[..3].iter().map(Vec::as_slice).collect();
    let judge = |answer: Vec<u8>| check(&chain, &[answer], NOW).map_err(|e| e.code());
    assert_eq!(judge(answer.clone()), until(LAST));
    let mut codes = std::collections::BTreeMap::<_, usize>::new();
    for i in 0..answer.len() {
        let mut changed = answer.clone();
        changed[i] ^= 1;
        let found = judge(changed);
        // A change of CertID makes it an answer about another certificate.
        let code = match found {
            Err(code) => code,
            Ok(OcspOutcome::NoAnswer) => "none",
            Ok(other) => panic!("byte {i}: {other:?}"),
        };
        *codes.entry(code).or_default() += 1;
    }
    let seen: Vec<_> = codes.keys().copied().collect();
    assert_eq!(
        seen,
        [
            "none",
            "nvidia.ocsp.malformed",
            "nvidia.ocsp.responder",
            "nvidia.ocsp.signature"
        ]
    );
    for cut in [0, 1, 5, answer.len() / 2, answer.len() - 1] {
        let short = answer[..cut].to_vec();
        assert_eq!(judge(short), Err("nvidia.ocsp.malformed"), "{cut}");
    }
    let long = [answer.as_slice(), &[0]].concat();
    assert_eq!(judge(long), Err("nvidia.ocsp.malformed"));
    assert_eq!(judge(vec![0x30; 16_385]), Err("nvidia.ocsp.malformed"));
}

#[test]
fn a_chain_that_is_no_chain_has_no_answers() {
    let issuer = SimulatedRimIssuer::for_tests();
    let answers = [issuer.ocsp(1, &good())];
    assert_eq!(check(&[], &answers, NOW), Ok(OcspOutcome::NoAnswer));
    assert_eq!(check(&[issuer.root_der()], &answers, NOW), Ok(OcspOutcome::NoAnswer));
    let found = check(&[b"noise", issuer.root_der()], &answers, NOW);
    assert_eq!(found.unwrap_err().code(), "nvidia.ocsp.chain");
}
