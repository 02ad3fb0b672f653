//! Double signatures: both halves, one domain, one key.

use hanzo_pqc::sign::{Signature, SigningKeys, VerifyingKeys};
use hanzo_pqc::{Domain, PqcError, SignatureHalf, SignatureSuite};

fn refused(half: SignatureHalf, domain: Domain) -> Result<(), PqcError> {
    Err(PqcError::Signature {
        half,
        domain: domain.as_str(),
    })
}

#[test]
fn both_halves_must_verify() {
    for suite in SignatureSuite::ALL {
        let keys = SigningKeys::from_seed(suite, &[7; 64]).unwrap();
        let other = SigningKeys::from_seed(suite, &[8; 64]).unwrap();
        let public = keys.verifying_keys();
        let good = keys.sign(Domain::Grant, b"message").unwrap();
        let foreign = other.sign(Domain::Grant, b"message").unwrap();
        let mixed = |ml_dsa: &Signature, ed: &Signature| Signature::from_hex(&ml_dsa.ml_dsa_hex(), &ed.ed25519_hex());

        assert_eq!(public.verify(Domain::Grant, b"message", &good), Ok(()));
        let verify = |signature: Signature| public.verify(Domain::Grant, b"message", &signature);
        assert_eq!(verify(mixed(&good, &good).unwrap()), Ok(()));
        assert_eq!(
            verify(mixed(&foreign, &good).unwrap()),
            refused(SignatureHalf::MlDsa, Domain::Grant)
        );
        assert_eq!(
            verify(mixed(&good, &foreign).unwrap()),
            refused(SignatureHalf::Ed25519, Domain::Grant)
        );
        assert_eq!(verify(foreign), refused(SignatureHalf::Both, Domain::Grant));
        assert_eq!(
            public.verify(Domain::Grant, b"messagf", &good),
            refused(SignatureHalf::Both, Domain::Grant)
        );
        assert_eq!(
            public.verify(Domain::Receipt, b"message", &good),
            refused(SignatureHalf::Both, Domain::Receipt)
        );

        let read = VerifyingKeys::from_hex(suite, &public.ml_dsa_hex(), &public.ed25519_hex()).unwrap();
        assert_eq!(&read, public);
    }
}

#[test]
fn suites_do_not_mix() {
    let [small, large] = SignatureSuite::ALL;
    let (small_keys, large_keys) = (
        SigningKeys::from_seed(small, &[7; 64]).unwrap(),
        SigningKeys::from_seed(large, &[7; 64]).unwrap(),
    );
    let signature = large_keys.sign(Domain::Grant, b"message").unwrap();
    let expected = PqcError::Length {
        what: "ML-DSA signature",
        expected: 3309,
        got: 4627,
    };
    assert_eq!(
        small_keys
            .verifying_keys()
            .verify(Domain::Grant, b"message", &signature),
        Err(expected)
    );
    let public = large_keys.verifying_keys();
    let expected = PqcError::Length {
        what: "ML-DSA public key",
        expected: 1952,
        got: 2592,
    };
    assert_eq!(
        VerifyingKeys::from_hex(small, &public.ml_dsa_hex(), &public.ed25519_hex()),
        Err(expected)
    );
    for suite in SignatureSuite::ALL {
        assert_eq!(SignatureSuite::from_name(suite.name()), Some(suite));
    }
    assert_eq!(SignatureSuite::from_name("ML-DSA-65"), None);
    assert_eq!(SignatureSuite::from_name("ed25519"), None);
}

#[test]
fn a_missing_half_is_not_a_signature() {
    let keys = SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[7; 64]).unwrap();
    let good = keys.sign(Domain::Grant, b"message").unwrap();
    let (ml_dsa, ed25519) = (good.ml_dsa_hex(), good.ed25519_hex());
    assert_eq!(Signature::from_hex(&ml_dsa, &ed25519), Ok(good));
    let short = |what, expected, got| Err(PqcError::Length { what, expected, got });
    assert_eq!(Signature::from_hex("", &ed25519), short("ML-DSA signature", 3309, 0));
    assert_eq!(
        Signature::from_hex(&ml_dsa[2..], &ed25519),
        short("ML-DSA signature", 3309, 3308)
    );
    assert_eq!(Signature::from_hex(&ml_dsa, ""), short("Ed25519 signature", 64, 0));
    assert_eq!(
        Signature::from_hex(&ml_dsa, &ed25519[2..]),
        short("Ed25519 signature", 64, 63)
    );
    let hex = |what| Err(PqcError::Hex { what });
    assert_eq!(
        Signature::from_hex(&"A".repeat(2 * 3309), &ed25519),
        hex("ML-DSA signature")
    );
    assert_eq!(Signature::from_hex(&ml_dsa, &"g".repeat(128)), hex("Ed25519 signature"));

    // All-zero halves have the right length and verify nothing.
    let zero = Signature::from_hex(&ml_dsa, &"0".repeat(128)).unwrap();
    let verified = keys.verifying_keys().verify(Domain::Grant, b"message", &zero);
    assert_eq!(verified, refused(SignatureHalf::Ed25519, Domain::Grant));
    assert_eq!(verified.unwrap_err().code(), "pqc.signature.ed25519");
    let zero = Signature::from_hex(&"0".repeat(2 * 3309), &ed25519).unwrap();
    let verified = keys.verifying_keys().verify(Domain::Grant, b"message", &zero);
    assert_eq!(verified, refused(SignatureHalf::MlDsa, Domain::Grant));
    assert_eq!(verified.unwrap_err().code(), "pqc.signature.ml_dsa");
}

#[test]
fn weak_ed25519_keys_are_refused() {
    let suite = SignatureSuite::MlDsa65Ed25519;
    let keys = SigningKeys::from_seed(suite, &[7; 64]).unwrap();
    let ml_dsa = keys.verifying_keys().ml_dsa_hex();
    let read = |ed25519: &[u8; 32]| VerifyingKeys::from_hex(suite, &ml_dsa, &hex::encode(ed25519)).map(|_| ());
    let what = "Ed25519 public key";
    let mut y = [0xff; 32];
    y[31] = 0x7f;
    for (low, error) in [
        (0xec, PqcError::LowOrder { what }),
        (
            0xed,
            PqcError::Encoding {
                what,
                rule: "y below 2^255 - 19",
            },
        ),
        (
            0xee,
            PqcError::Encoding {
                what,
                rule: "y below 2^255 - 19",
            },
        ),
        (
            0xff,
            PqcError::Encoding {
                what,
                rule: "y below 2^255 - 19",
            },
        ),
    ] {
        y[0] = low;
        assert_eq!(read(&y), Err(error.clone()));
        let mut negative = y;
        negative[31] |= 0x80;
        assert_eq!(read(&negative), Err(error));
    }
    y[0] = 0xeb;
    assert_eq!(read(&y), Ok(()));
    for text in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ] {
        let mut point: [u8; 32] = hex::decode(text).unwrap().try_into().unwrap();
        assert_eq!(read(&point), Err(PqcError::LowOrder { what }));
        point[31] |= 0x80;
        assert_eq!(read(&point), Err(PqcError::LowOrder { what }));
    }
}

/// Under a small-order Ed25519 key one signature fits many messages: that is why such keys are refused when read.
#[test]
fn small_order_ed25519_keys_would_accept_anything() {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    let mut identity = [0u8; 32];
    identity[0] = 1;
    // R = B, s = 1: s B = R + h A for every h when A is the identity.
    let base = hex::decode("5866666666666666666666666666666666666666666666666666666666666666").unwrap();
    let mut signature = base;
    signature.extend_from_slice(&identity);
    for message in [b"one".as_slice(), b"two"] {
        assert!(
            UnparsedPublicKey::new(&ED25519, identity)
                .verify(message, &signature)
                .is_ok()
        );
    }
}
