//! Forms of attestation keys.

use hanzo_attestation::bundle::Base64;
use hanzo_attestation::tpm::{spki_of_jwk, spki_of_public};
use hanzo_simulated_tee::SimulatedTpm;

use crate::{VTPM, pin, verdict};

#[test]
fn a_public_area_and_its_subject_public_key_info_are_the_same_key() {
    for simulated in [&SimulatedTpm::for_tests(), &*VTPM] {
        let sized = simulated.tpm2b_public();
        assert_eq!(spki_of_public(&sized).unwrap(), simulated.ak_public());
        assert_eq!(
            spki_of_public(&sized[2..]).unwrap(),
            simulated.ak_public(),
            "TPMT_PUBLIC"
        );
        assert_eq!(
            spki_of_public(&[&sized[..], &[0]].concat()).map_err(|e| e.class()),
            Err(hanzo_attestation::evidence::Class::NotAuthentic),
            "a size that lies is read as a type"
        );
        assert_eq!(
            spki_of_public(&[&sized[2..], &[0]].concat()).unwrap_err().code(),
            "tpm.key.trailing"
        );
        for length in 0..sized.len() {
            assert!(spki_of_public(&sized[..length]).is_err(), "{length}");
        }
    }
}

/// A key that is not restricted signs what it is given, a TPMS_ATTEST of the host's making among it.
#[test]
fn an_attestation_key_is_restricted_to_what_the_tpm_made_and_never_leaves_it() {
    let simulated = SimulatedTpm::for_tests();
    let good = 0x0005_0072_u32;
    let code =
        |attributes| spki_of_public(&simulated.tpm2b_public_with(attributes)).map_or_else(|e| e.code(), |_| "accepted");
    assert_eq!(code(good), "accepted");
    for bit in [1, 4, 5, 16, 18] {
        assert_eq!(code(good & !(1 << bit)), "tpm.key.attributes", "bit {bit}");
    }
    assert_eq!(code(good | 1 << 17), "tpm.key.attributes", "decrypt");
}

#[test]
fn public_areas_are_read_strictly() {
    let rsa = VTPM.tpm2b_public();
    let with = |at: usize, value: u8| {
        let mut bytes = rsa[2..].to_vec();
        bytes[at] = value;
        spki_of_public(&bytes).map_or_else(|e| e.code(), |_| "accepted")
    };
    assert_eq!(with(1, 1), "accepted");
    // Keyed hash; AES; ECDSA of an RSA key; SHA-1; 1024 bits; exponent 3; an even leading byte too small.
    for (at, value) in [(1, 8), (11, 6), (13, 0x18), (15, 4), (16, 4), (21, 3), (24, 0)] {
        assert_eq!(with(at, value), "tpm.key.malformed", "byte {at}");
    }
}

#[test]
fn keys_have_one_encoding_and_enough_bits() {
    let simulated = SimulatedTpm::for_tests();
    let with = |spki: Vec<u8>| {
        let mut evidence = simulated.evidence(&[1; 32]);
        evidence.ak_certificates.clear();
        evidence.ak_public = Base64(spki.clone());
        verdict(evidence, &pin(&spki))
    };
    let good = simulated.ak_public();
    assert_eq!(with(good.clone()), "accepted");
    assert_eq!(with([&good[..], &[0]].concat()), "tpm.key.malformed");
    assert_eq!(with(good[..good.len() - 1].to_vec()), "tpm.key.malformed");
    assert_eq!(with(Vec::new()), "tpm.key.malformed");
    // A point that is not on the curve is no key for any signature.
    let mut off = good.clone();
    *off.last_mut().unwrap() ^= 1;
    assert_eq!(with(off), "tpm.signature.invalid");
    // A compressed point, another curve.
    let mut compressed = good.clone();
    compressed[26] = 2;
    assert_eq!(with(compressed), "tpm.key.malformed");
    let mut curve = good;
    curve[22] ^= 1;
    assert_eq!(with(curve), "tpm.key.malformed");
}

#[test]
fn a_jwk_is_read_strictly() {
    let long = "_".repeat(341);
    let n = |text: &str| spki_of_jwk(text, "AQAB").map_or_else(|e| e.code(), |_| "accepted");
    assert_eq!(n(&long), "tpm.key.malformed");
    assert_eq!(n("AQAB"), "tpm.key.malformed", "17 bits");
    assert_eq!(n("A+B/"), "tpm.key.malformed", "base64, not base64url");
    let modulus = format!("{}w", "_".repeat(341));
    assert_eq!(n(&modulus), "accepted");
    assert_eq!(n(&format!("{modulus}==")), "tpm.key.malformed", "padding");
    assert_eq!(
        spki_of_jwk(&modulus, "Aw").unwrap_err().code(),
        "tpm.key.malformed",
        "exponent 3"
    );
}
