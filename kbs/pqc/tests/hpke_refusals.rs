//! HPKE: for what is opened, the nearest things that must not be.

use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use hanzo_pqc::hpke::{self, KemSuite, PrivateKey, PublicKey};
use hanzo_pqc::{Domain, PqcError, SignatureSuite, suites_for_tier};

const OPEN: PqcError = PqcError::Open { what: "HPKE message" };

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out[at] ^= 1;
    out
}

#[test]
fn every_input_of_open_is_bound() {
    for suite in KemSuite::ALL {
        let key = PrivateKey::generate(suite).unwrap();
        let other = PrivateKey::generate(suite).unwrap();
        let sealed = hpke::seal(key.public_key(), b"info", b"aad", b"plaintext").unwrap();
        let (enc, ct) = (&sealed.enc, &sealed.ciphertext);
        let open = |enc: &[u8], info: &[u8], aad: &[u8], ct: &[u8]| hpke::open(&key, enc, info, aad, ct);

        assert_eq!(open(enc, b"info", b"aad", ct).unwrap().as_slice(), b"plaintext");
        assert_eq!(open(enc, b"infp", b"aad", ct), Err(OPEN));
        assert_eq!(open(enc, b"info", b"aae", ct), Err(OPEN));
        assert_eq!(open(enc, b"infoa", b"ad", ct), Err(OPEN));
        for at in [0, ct.len() - 1] {
            assert_eq!(open(enc, b"info", b"aad", &flipped(ct, at)), Err(OPEN));
        }
        assert_eq!(open(enc, b"info", b"aad", &ct[..ct.len() - 1]), Err(OPEN));
        assert_eq!(open(enc, b"info", b"aad", &[]), Err(OPEN));
        // The ML-KEM half: implicit rejection gives another secret, so the message does not open.
        assert_eq!(open(&flipped(enc, 0), b"info", b"aad", ct), Err(OPEN));
        assert_eq!(hpke::open(&other, enc, b"info", b"aad", ct), Err(OPEN));
        for len in [0, enc.len() - 1] {
            let expected = PqcError::Length {
                what: "HPKE enc",
                expected: suite.enc_len(),
                got: len,
            };
            assert_eq!(open(&enc[..len], b"info", b"aad", ct), Err(expected));
        }
        // Two seals of one message share nothing.
        let again = hpke::seal(key.public_key(), b"info", b"aad", b"plaintext").unwrap();
        assert_ne!(again.enc, sealed.enc);
        assert_ne!(again.ciphertext, sealed.ciphertext);
    }
}

#[test]
fn the_group_half_of_enc_is_bound() {
    let key = PrivateKey::generate(KemSuite::Xwing).unwrap();
    let sealed = hpke::seal(key.public_key(), b"", b"", b"x").unwrap();
    let bad = flipped(&sealed.enc, 1100);
    assert_eq!(hpke::open(&key, &bad, b"", b"", &sealed.ciphertext), Err(OPEN));

    let key = PrivateKey::generate(KemSuite::MlKem1024P384).unwrap();
    let sealed = hpke::seal(key.public_key(), b"", b"", b"x").unwrap();
    let off_curve = PqcError::Encoding {
        what: "HPKE enc",
        rule: "a point on P-384",
    };
    let bad = flipped(&sealed.enc, 1664);
    assert_eq!(hpke::open(&key, &bad, b"", b"", &sealed.ciphertext), Err(off_curve));
    // A hybrid SEC 1 encoding (06 or 07) names the same point; there is one encoding per point.
    let mut bad = sealed.enc.clone();
    bad[1568] = 0x06 | (bad[1664] & 1);
    let hybrid = PqcError::Encoding {
        what: "HPKE enc",
        rule: "uncompressed SEC 1 point, first byte 04",
    };
    assert_eq!(hpke::open(&key, &bad, b"", b"", &sealed.ciphertext), Err(hybrid));
}

#[test]
fn exports_are_bound_to_every_input() {
    for suite in KemSuite::ALL {
        let key = PrivateKey::generate(suite).unwrap();
        let other = PrivateKey::generate(suite).unwrap();
        let (enc, secret) = hpke::export_sender(key.public_key(), b"info", b"proof", 32).unwrap();
        let export = |key: &PrivateKey, info: &[u8], context: &[u8], len| {
            hpke::export_recipient(key, &enc, info, context, len).unwrap()
        };
        assert_eq!(export(&key, b"info", b"proof", 32), secret);
        assert_ne!(export(&key, b"infp", b"proof", 32), secret);
        assert_ne!(export(&key, b"info", b"prooe", 32), secret);
        assert_ne!(export(&other, b"info", b"proof", 32), secret);
        assert_ne!(&export(&key, b"info", b"proof", 33)[..32], secret.as_slice());
        let hash_len = if suite == KemSuite::Xwing { 32 } else { 48 };
        assert_eq!(export(&key, b"info", b"proof", 255 * hash_len).len(), 255 * hash_len);
        let too_long = PqcError::OutputTooLong {
            what: "HPKE",
            limit: 255 * hash_len,
            got: 255 * hash_len + 1,
        };
        let result = hpke::export_recipient(&key, &enc, b"info", b"proof", 255 * hash_len + 1);
        assert_eq!(result, Err(too_long));
    }
}

/// All 14 encodings of small-order X25519 points, which AWS-LC's X25519 refuses too: the list is complete and right.
#[test]
fn small_order_points_are_refused() {
    let mut near = [0xffu8; 32];
    near[31] = 0x7f;
    let mut points: Vec<[u8; 32]> = [0xec, 0xed, 0xee]
        .map(|low| {
            near[0] = low;
            near
        })
        .to_vec();
    for hex_point in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ] {
        points.push(hex::decode(hex_point).unwrap().try_into().unwrap());
    }
    let key = PrivateKey::generate(KemSuite::Xwing).unwrap();
    let sealed = hpke::seal(key.public_key(), b"", b"", b"x").unwrap();
    let x25519 = agreement::PrivateKey::generate(&X25519).unwrap();
    let mut refused = 0;
    for mut point in points {
        for top in [0x00, 0x80] {
            point[31] = (point[31] & 0x7f) | top;
            let backend = agreement::agree(&x25519, UnparsedPublicKey::new(&X25519, point), (), |_| Ok(()));
            assert_eq!(backend, Err(()), "{point:02x?}");

            let mut public = key.public_key().as_bytes().to_vec();
            public[1184..].copy_from_slice(&point);
            let expected = PqcError::LowOrder {
                what: "HPKE public key",
            };
            assert_eq!(PublicKey::from_bytes(KemSuite::Xwing, &public), Err(expected));

            let mut enc = sealed.enc.clone();
            enc[1088..].copy_from_slice(&point);
            let expected = PqcError::LowOrder { what: "HPKE enc" };
            assert_eq!(hpke::open(&key, &enc, b"", b"", &sealed.ciphertext), Err(expected));
            refused += 1;
        }
    }
    assert_eq!(refused, 14);
}

#[test]
fn malformed_public_keys_are_refused() {
    for suite in KemSuite::ALL {
        let key = PrivateKey::generate(suite).unwrap();
        let good = key.public_key().as_bytes();
        assert!(PublicKey::from_bytes(suite, good).is_ok());
        for bad in [&good[..good.len() - 1], &[good, &[0]].concat(), &[]] {
            let expected = PqcError::Length {
                what: "HPKE public key",
                expected: suite.public_key_len(),
                got: bad.len(),
            };
            assert_eq!(PublicKey::from_bytes(suite, bad), Err(expected));
        }
        // The first coefficient becomes q = 0xd01; 0xd00 is the largest that stands.
        let mut bad = good.to_vec();
        bad[0] = 0x01;
        bad[1] = (bad[1] & 0xf0) | 0x0d;
        let error = PublicKey::from_bytes(suite, &bad).unwrap_err();
        assert!(
            matches!(
                error,
                PqcError::Encoding {
                    rule: "coefficients below q = 3329",
                    ..
                }
            ),
            "{error}"
        );
        bad[0] = 0x00;
        assert!(PublicKey::from_bytes(suite, &bad).is_ok());

        let upper = key.public_key().to_hex().to_uppercase();
        assert_eq!(
            PublicKey::from_hex(suite, &upper),
            Err(PqcError::Hex {
                what: "HPKE public key"
            })
        );
    }
    let mut bad = PrivateKey::generate(KemSuite::MlKem1024P384)
        .unwrap()
        .public_key()
        .as_bytes()
        .to_vec();
    bad[1664] ^= 1;
    let expected = PqcError::Encoding {
        what: "HPKE public key",
        rule: "a point on P-384",
    };
    assert_eq!(PublicKey::from_bytes(KemSuite::MlKem1024P384, &bad), Err(expected));
}

#[test]
fn suites_are_a_closed_list() {
    for suite in KemSuite::ALL {
        assert_eq!(KemSuite::from_name(suite.name()), Some(suite));
    }
    for name in ["", "X-Wing", "x-wing ", "ml-kem-768", "mlkem1024-p384\0"] {
        assert_eq!(KemSuite::from_name(name), None);
    }
    let low = (KemSuite::Xwing, SignatureSuite::MlDsa65Ed25519);
    let high = (KemSuite::MlKem1024P384, SignatureSuite::MlDsa87Ed25519);
    for (tier, suites) in [
        (0, low),
        (1, low),
        (2, low),
        (3, high),
        (4, high),
        (5, high),
        (255, high),
    ] {
        assert_eq!(suites_for_tier(tier), suites);
    }
}

#[test]
fn info_cannot_be_shifted_between_parts() {
    let info = |parts: &[&[u8]]| hpke::info(Domain::DekWrap, KemSuite::Xwing, parts);
    assert_ne!(info(&[b"ab", b"c"]), info(&[b"a", b"bc"]));
    assert_ne!(info(&[b"ab"]), info(&[b"ab", b""]));
    let expected = b"\0\0\0\x11hanzo/dek-wrap/v1\0\0\0\x06x-wing\0\0\0\x02ab";
    assert_eq!(info(&[b"ab"]), expected);
    assert_ne!(
        info(&[b"ab"]),
        hpke::info(Domain::DekWrap, KemSuite::MlKem1024P384, &[b"ab"])
    );
    assert_ne!(info(&[b"ab"]), hpke::info(Domain::KeyImport, KemSuite::Xwing, &[b"ab"]));
}
