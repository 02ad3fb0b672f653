//! Quotes of a simulated TPM, each with one thing wrong.

use hanzo_attestation::bundle::{Base64, Pcr, TpmEvidence, TpmQuote};
use hanzo_attestation::tpm::{AkOrigin, Attest};
use hanzo_attestation::{Anchors, Digest256, Digest384, jcs};
use hanzo_simulated_tee::{LogBuilder, SimulatedTpm};

use crate::{VTPM, judge, pin, tpm, verdict};

const DATA: &[u8] = &[7; 32];

fn bare(tpm: &SimulatedTpm, quote: TpmQuote) -> TpmEvidence {
    TpmEvidence {
        ak_certificates: Vec::new(),
        ak_public: Base64(tpm.ak_public()),
        event_log: None,
        quote,
    }
}

/// A quote whose TPMS_ATTEST was changed before it was signed, under a pinned key.
fn edited(edit: impl FnOnce(&mut Vec<u8>)) -> &'static str {
    let tpm = SimulatedTpm::for_tests();
    let quote = tpm.quote_edited(&[0, 4, 9], DATA, edit);
    verdict(bare(&tpm, quote), &pin(&tpm.ak_public()))
}

#[test]
fn both_kinds_of_key_quote() {
    for simulated in [&SimulatedTpm::for_tests(), &*VTPM] {
        let evidence = bare(simulated, simulated.quote(&[0, 4, 9], DATA));
        let authentic = judge(evidence, &pin(&simulated.ak_public())).unwrap();
        let claims = tpm(&authentic);
        assert_eq!(claims.qualifying_data, DATA);
        assert_eq!(claims.pcrs.keys().copied().collect::<Vec<_>>(), [0, 4, 9]);
        assert_eq!(claims.ak, Digest256::of(&simulated.ak_public()));
        assert_eq!(claims.ak_origin, AkOrigin::Pinned);
        assert_eq!((claims.resets, claims.clock_safe), ((7, 2), true));
        assert!(claims.event_log.is_none());
        assert!(
            !authentic.is_simulated(),
            "what a TPM's key is worth is the caller's pin"
        );
        assert_eq!(authentic.claims().kind(), "tpm");
    }
}

/// A software TPM that nobody pinned is authentic and stands for nothing.
#[test]
fn an_unpinned_key_without_certificates_is_of_unknown_origin() {
    let simulated = SimulatedTpm::for_tests();
    let evidence = bare(&simulated, simulated.quote(&[0], DATA));
    let authentic = judge(evidence, &Anchors::vendor()).unwrap();
    assert_eq!(tpm(&authentic).ak_origin, AkOrigin::Unknown);
}

#[test]
fn only_what_a_tpm_made_itself_and_only_a_quote_counts() {
    assert_eq!(edited(|_| {}), "accepted");
    assert_eq!(edited(|m| m[0] = 0xfe), "tpm.attest.magic");
    // TPM_ST_ATTEST_CERTIFY.
    assert_eq!(edited(|m| m[5] = 0x17), "tpm.attest.type");
    assert_eq!(edited(|m| m.push(0)), "tpm.attest.trailing");
    assert_eq!(edited(|m| m.truncate(m.len() - 1)), "tpm.attest.malformed");
    assert_eq!(edited(|m| m.extend([0; 512])), "tpm.attest.malformed");
    // clockInfo.safe is a TPMI_YES_NO.
    let safe = 6 + 36 + 34 + 16;
    assert_eq!(edited(|m| m[safe] = 2), "tpm.attest.malformed");
    assert_eq!(edited(|m| m[safe] = 0), "accepted");
}

#[test]
fn a_quote_cut_anywhere_is_refused() {
    let simulated = SimulatedTpm::for_tests();
    let whole = simulated.attest(&[0], DATA);
    for length in 0..whole.len() {
        let e = Attest::read_unauthenticated(&whole[..length]).unwrap_err();
        assert_eq!(e.code(), "tpm.attest.malformed", "{length}");
    }
}

/// Qualifying data are bounded here and compared whole where they are bound.
#[test]
fn qualifying_data_are_bounded_and_kept_whole() {
    let simulated = SimulatedTpm::for_tests();
    let anchors = pin(&simulated.ak_public());
    for length in [0, 1, 48, 64] {
        let data = vec![9; length];
        let authentic = judge(bare(&simulated, simulated.quote(&[0], &data)), &anchors).unwrap();
        assert_eq!(tpm(&authentic).qualifying_data, data);
    }
    let long = bare(&simulated, simulated.quote(&[0], &[9; 65]));
    assert_eq!(verdict(long, &anchors), "tpm.attest.malformed");
}

#[test]
fn a_selection_of_the_sha256_bank_comes_first() {
    let selection = 6 + 36 + 34 + 25;
    assert_eq!(edited(|m| m[selection + 3] = 0), "tpm.quote.selection");
    assert_eq!(edited(|m| m[selection + 3] = 2), "tpm.quote.selection");
    assert_eq!(edited(|m| m[selection + 5] = 0x04), "tpm.quote.selection");
    assert_eq!(edited(|m| m[selection + 5] = 0x0c), "tpm.quote.selection");
    assert_eq!(edited(|m| m[selection + 6] = 2), "tpm.quote.selection");
    assert_eq!(
        edited(|m| m[selection + 7..selection + 10].fill(0)),
        "tpm.quote.selection"
    );
    // Another register than those whose values came.
    assert_eq!(edited(|m| m[selection + 7] ^= 2), "tpm.quote.pcrs");
}

#[test]
fn the_registers_given_are_exactly_those_selected() {
    let simulated = SimulatedTpm::for_tests();
    let anchors = pin(&simulated.ak_public());
    let with = |edit: &dyn Fn(&mut Vec<Pcr>)| {
        let mut quote = simulated.quote(&[0, 4, 9], DATA);
        edit(&mut quote.pcrs);
        verdict(bare(&simulated, quote), &anchors)
    };
    let extra = |index| Pcr {
        index,
        value: Digest256([0; 32]),
    };
    assert_eq!(with(&|_| {}), "accepted");
    assert_eq!(with(&|p| p.clear()), "tpm.quote.pcrs");
    assert_eq!(
        with(&|p| {
            p.pop();
        }),
        "tpm.quote.pcrs"
    );
    assert_eq!(
        with(&|p| {
            p.remove(0);
        }),
        "tpm.quote.pcrs"
    );
    assert_eq!(with(&|p| p.push(extra(10))), "tpm.quote.pcrs");
    assert_eq!(with(&|p| p.insert(1, extra(1))), "tpm.quote.pcrs");
    assert_eq!(with(&|p| p.swap(0, 1)), "tpm.quote.pcrs");
    assert_eq!(with(&|p| p.push(p[2].clone())), "tpm.quote.pcrs");
    assert_eq!(with(&|p| p[2].index = 24), "tpm.quote.pcrs");
    for i in 0..3 {
        assert_eq!(with(&|p| p[i].value.0[31] ^= 1), "tpm.quote.pcr_digest");
    }
    // Two values exchanged: the digest covers their order.
    assert_eq!(
        with(&|p| {
            p[0].value = Digest256([1; 32]);
            p[1].value = Digest256([2; 32]);
        }),
        "tpm.quote.pcr_digest"
    );
}

#[test]
fn another_keys_quote_is_not_this_keys() {
    let (one, other) = (SimulatedTpm::for_tests(), &*VTPM);
    let anchors = pin(&one.ak_public()).with_tpm_ak(Digest256::of(&other.ak_public()));
    let mut evidence = bare(&one, one.quote(&[0], DATA));
    evidence.ak_public = Base64(other.ak_public());
    assert_eq!(verdict(evidence, &anchors), "tpm.signature.algorithm");
    let mut evidence = bare(other, other.quote(&[0], DATA));
    evidence.ak_public = Base64(crate::OTHER_VTPM.ak_public());
    assert_eq!(verdict(evidence, &anchors), "tpm.signature.invalid");
}

#[test]
fn signatures_are_read_strictly() {
    let with = |simulated: &SimulatedTpm, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut quote = simulated.quote(&[0], DATA);
        edit(&mut quote.signature.0);
        verdict(bare(simulated, quote), &pin(&simulated.ak_public()))
    };
    let ecdsa = SimulatedTpm::for_tests();
    for simulated in [&ecdsa, &*VTPM] {
        assert_eq!(with(simulated, &|_| {}), "accepted");
        assert_eq!(
            with(simulated, &|s| *s.last_mut().unwrap() ^= 1),
            "tpm.signature.invalid"
        );
        assert_eq!(with(simulated, &|s| s.push(0)), "tpm.signature.trailing");
        assert_eq!(with(simulated, &|s| s.truncate(s.len() - 1)), "tpm.signature.malformed");
        assert_eq!(with(simulated, &|s| s.clear()), "tpm.signature.malformed");
        // SHA-1, and HMAC.
        assert_eq!(with(simulated, &|s| s[3] = 4), "tpm.signature.algorithm");
        assert_eq!(with(simulated, &|s| s[1] = 5), "tpm.signature.algorithm");
        // SHA-384 over a P-256 key, and the wrong hash under RSA.
        assert!(["tpm.signature.algorithm", "tpm.signature.invalid"].contains(&with(simulated, &|s| s[3] = 0x0c)));
    }
    // RSAPSS of what is RSASSA.
    assert_eq!(with(&VTPM, &|s| s[1] = 0x16), "tpm.signature.invalid");
    // r of zero.
    assert_eq!(
        with(&ecdsa, &|s| *s =
            [&[0, 0x18, 0, 0x0b, 0, 0, 0, 32][..], &[1; 32]].concat()),
        "tpm.signature.invalid"
    );
    // Azure's agents store the bare signature.
    assert_eq!(with(&VTPM, &|s| drop(s.drain(..6))), "accepted");
    assert_eq!(with(&VTPM, &|s| drop(s.drain(..7))), "tpm.signature.algorithm");
}

#[test]
fn the_log_that_comes_along_explains_the_quoted_registers_or_is_refused() {
    let log = LogBuilder::tcg().boot("quiet");
    let simulated = SimulatedTpm::for_tests().booted(&log);
    let anchors = pin(&simulated.ak_public());
    let evidence = simulated.evidence(DATA);
    let authentic = judge(evidence.clone(), &anchors).unwrap();
    let replayed = tpm(&authentic).event_log.as_ref().unwrap();
    assert_eq!(replayed.events().len(), 14);

    let mut other = evidence.clone();
    other.event_log = Some(Base64(LogBuilder::tcg().boot("debug").bytes().to_vec()));
    assert_eq!(verdict(other, &anchors), "eventlog.replay.mismatch");
    let mut twice = evidence.clone();
    twice.event_log = Some(Base64(log.clone().separator(0).bytes().to_vec()));
    assert_eq!(verdict(twice, &anchors), "eventlog.separator.twice");
    let mut cut = evidence.clone();
    cut.event_log.as_mut().unwrap().0.pop();
    assert_eq!(verdict(cut, &anchors), "eventlog.truncated");
    let mut empty = evidence.clone();
    empty.event_log = Some(Base64(Vec::new()));
    assert_eq!(verdict(empty, &anchors), "eventlog.truncated");

    // Without a log there are no events to judge: what rests on them must say so.
    let mut without = evidence;
    without.event_log = None;
    assert!(tpm(&judge(without, &anchors).unwrap()).event_log.is_none());
}

/// A TPM with both banks after a boot.
fn two_banks() -> (SimulatedTpm, LogBuilder) {
    let log = LogBuilder::tcg_both().boot("quiet");
    (SimulatedTpm::for_tests().booted(&log), log)
}

#[test]
fn one_quote_covers_both_banks_and_one_log_explains_both() {
    let (simulated, log) = two_banks();
    let anchors = pin(&simulated.ak_public());
    let authentic = judge(simulated.evidence(DATA), &anchors).unwrap();
    let claims = tpm(&authentic);
    let registers = log.pcrs_sha384().unwrap();
    assert_eq!(claims.pcrs_sha384.len(), 24);
    assert!(
        claims
            .pcrs_sha384
            .iter()
            .all(|(i, value)| registers[usize::from(*i)] == *value)
    );
    assert_ne!(claims.pcrs_sha384[&4], [0; 48]);
    assert_eq!(claims.event_log.as_ref().unwrap().events().len(), 14);
    // Not the same registers of both.
    let some = bare(&simulated, simulated.quote_banks(&[0, 4, 9], &[4], DATA, |_| {}));
    let authentic = judge(some, &anchors).unwrap();
    assert_eq!(tpm(&authentic).pcrs_sha384.keys().copied().collect::<Vec<_>>(), [4]);
}

#[test]
fn the_second_selection_is_of_the_sha384_bank_and_not_empty() {
    let (simulated, _) = two_banks();
    let anchors = pin(&simulated.ak_public());
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let quote = simulated.quote_banks(&[0, 4, 9], &[0, 4, 9], DATA, edit);
        verdict(bare(&simulated, quote), &anchors)
    };
    let second = 6 + 36 + 34 + 25 + 4 + 6;
    assert_eq!(edited(&|_| {}), "accepted");
    // SHA-256 again, SHA-512; SHA-384 first; a third; only one counted.
    assert_eq!(edited(&|m| m[second + 1] = 0x0b), "tpm.quote.selection");
    assert_eq!(edited(&|m| m[second + 1] = 0x0d), "tpm.quote.selection");
    assert_eq!(edited(&|m| m.swap(second + 1, second - 5)), "tpm.quote.selection");
    assert_eq!(edited(&|m| m[second - 7] = 3), "tpm.quote.selection");
    assert_eq!(edited(&|m| m[second - 7] = 1), "tpm.attest.trailing");
    assert_eq!(edited(&|m| m[second + 2] = 2), "tpm.quote.selection");
    // A bank that the TPM does not keep: its bits are cleared.
    assert_eq!(edited(&|m| m[second + 3..second + 6].fill(0)), "tpm.quote.selection");
    assert_eq!(edited(&|m| m[second + 3] ^= 2), "tpm.quote.pcrs");
}

#[test]
fn values_of_the_sha384_bank_are_those_that_were_quoted() {
    let (simulated, _) = two_banks();
    let anchors = pin(&simulated.ak_public());
    let with = |edit: &dyn Fn(&mut Vec<Pcr<Digest384>>)| {
        let mut quote = simulated.quote_banks(&[0, 4, 9], &[0, 4, 9], DATA, |_| {});
        edit(&mut quote.pcrs_sha384);
        verdict(bare(&simulated, quote), &anchors)
    };
    assert_eq!(with(&|_| {}), "accepted");
    for i in 0..3 {
        assert_eq!(with(&|p| p[i].value.0[47] ^= 1), "tpm.quote.pcr_digest");
    }
    assert_eq!(with(&|p| p.clear()), "tpm.quote.pcrs");
    assert_eq!(with(&|p| p.swap(0, 1)), "tpm.quote.pcrs");
    assert_eq!(with(&|p| p.push(p[2].clone())), "tpm.quote.pcrs");
    assert_eq!(with(&|p| p[2].index = 10), "tpm.quote.pcrs");
    // Values of a bank that the quote does not select.
    let mut quote = simulated.quote(&[0, 4, 9], DATA);
    quote.pcrs_sha384 = simulated.quote_banks(&[0], &[4], DATA, |_| {}).pcrs_sha384;
    assert_eq!(verdict(bare(&simulated, quote), &anchors), "tpm.quote.pcrs");
}

/// Firmware that lies in one bank alone: what the log tells of the other is no help to it.
#[test]
fn a_log_explains_every_bank_that_is_quoted() {
    let (simulated, log) = two_banks();
    let anchors = pin(&simulated.ak_public());
    let evidence = simulated.evidence(DATA);
    let with = |log: &[u8]| {
        let mut other = evidence.clone();
        other.event_log = Some(Base64(log.to_vec()));
        verdict(other, &anchors)
    };
    assert_eq!(with(log.bytes()), "accepted");
    // The last event's SHA-384 digest, which stands in front of its size and data.
    let mut one_bank_alone = log.bytes().to_vec();
    let data = 4 + 26 + 8 + 2 * "quiet".len();
    let last = one_bank_alone.len() - data - 4;
    one_bank_alone[last] ^= 1;
    assert_eq!(with(&one_bank_alone), "eventlog.replay.mismatch");
    // A log without that bank.
    let without = LogBuilder::tcg().boot("quiet");
    assert_eq!(with(without.bytes()), "eventlog.bank");
    // The same log does for a quote of the SHA-256 bank alone.
    let mut alone = evidence.clone();
    alone.quote = simulated.quote(&[0, 4, 9], DATA);
    alone.event_log = Some(Base64(without.bytes().to_vec()));
    assert_eq!(verdict(alone, &anchors), "accepted");
}

/// One spelling: a quote of one bank has no list of the other, not an empty one.
#[test]
fn the_second_list_is_written_only_if_there_is_one() {
    let (simulated, _) = two_banks();
    let one = serde_json::to_value(simulated.quote(&[0], DATA)).unwrap();
    assert!(one.get("pcrs_sha384").is_none());
    let both = serde_json::to_value(simulated.quote_banks(&[0], &[0], DATA, |_| {})).unwrap();
    assert_eq!(both["pcrs_sha384"][0]["index"], 0);
    let text = |extra: &str| format!("{{\"message\":\"\",\"pcrs\":[],{extra}\"signature\":\"\"}}");
    let read = |text: String| jcs::from_slice_bounded::<TpmQuote>("quote", text.as_bytes(), 1000).map(drop);
    assert_eq!(read(text("")), Ok(()));
    assert!(matches!(
        read(text("\"pcrs_sha384\":[],")),
        Err(jcs::JcsError::NotCanonical { .. })
    ));
}
