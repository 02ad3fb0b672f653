//! The layer below the suites: both KEM and signature families against their oracles, AEAD, KDF, data keys.

use hanzo_pqc::dsa::{self, MlDsa44, MlDsa65, MlDsa87};
use hanzo_pqc::kem::{self, DecapsulationKey, EncapsulationKey, MlKem512, MlKem768, MlKem1024};
use hanzo_pqc::{Dek, Domain, PqcError, aead, kdf, random};
use ml_kem::KeyExport;
use ml_kem::kem::Decapsulate;
use proptest::prelude::*;
use zeroize::Zeroizing;

macro_rules! kem_differential {
    ($name:ident, $set:ident) => {
        #[test]
        fn $name() {
            proptest!(ProptestConfig::with_cases(16), |(seed: [u8; 32], z: [u8; 32], m: [u8; 32], at in 0usize..768)| {
                let seed: [u8; 64] = [seed, z].concat().try_into().unwrap();
                let ours = DecapsulationKey::<$set>::from_seed(&seed).unwrap();
                let theirs = ml_kem::DecapsulationKey::<ml_kem::$set>::from_seed(seed.into());
                let ek = theirs.encapsulation_key();
                prop_assert_eq!(ours.encapsulation_key().as_bytes().to_vec(), ek.to_bytes().to_vec());

                let (c, k) = ek.encapsulate_deterministic(&m.into());
                let opened = ours.decapsulate(&c).unwrap();
                prop_assert_eq!(opened.expose().as_slice(), k.as_slice());
                let (c, k) = ours.encapsulation_key().encapsulate().unwrap();
                let opened = theirs.decapsulate(&c.as_slice().try_into().unwrap());
                prop_assert_eq!(opened.as_slice(), k.expose());

                // Implicit rejection is deterministic and the same on both sides.
                let mut bad = c.clone();
                bad[at] ^= 0x10;
                let rejected = theirs.decapsulate(&bad.as_slice().try_into().unwrap());
                let ours_rejected = ours.decapsulate(&bad).unwrap();
                prop_assert_eq!(rejected.as_slice(), ours_rejected.expose());
                prop_assert_ne!(ours_rejected.expose(), k.expose());

                // A key with any bytes: both sides agree on whether it is one.
                let mut public = ours.encapsulation_key().as_bytes().to_vec();
                public[at] ^= m[0];
                public[at + 1] |= m[1];
                let accepted = ml_kem::EncapsulationKey::<ml_kem::$set>::new(&public.as_slice().try_into().unwrap());
                prop_assert_eq!(EncapsulationKey::<$set>::from_bytes(&public).is_ok(), accepted.is_ok());
            });
            let generated = DecapsulationKey::<$set>::generate().unwrap();
            let (c, k) = generated.encapsulation_key().encapsulate().unwrap();
            assert_eq!(generated.decapsulate(&c).unwrap().expose(), k.expose());
        }
    };
}

kem_differential!(ml_kem_512_is_the_oracles, MlKem512);
kem_differential!(ml_kem_768_is_the_oracles, MlKem768);
kem_differential!(ml_kem_1024_is_the_oracles, MlKem1024);

macro_rules! dsa_differential {
    ($name:ident, $set:ident) => {
        #[test]
        fn $name() {
            proptest!(ProptestConfig::with_cases(8), |(seed: [u8; 32], message: Vec<u8>, at: usize)| {
                let ours = dsa::SigningKey::<$set>::from_seed(&seed).unwrap();
                let theirs = ml_dsa::SigningKey::<ml_dsa::$set>::from_seed(&seed.into());
                let public = ours.verifying_key();
                let their_public = theirs.expanded_key().verifying_key();
                prop_assert_eq!(public.as_bytes().to_vec(), their_public.encode().to_vec());

                let signature = ours.sign(&message).unwrap();
                let read = ml_dsa::Signature::<ml_dsa::$set>::try_from(signature.as_slice()).unwrap();
                prop_assert!(their_public.verify_with_context(&message, b"", &read));
                prop_assert!(!their_public.verify_with_context(&message, b"x", &read));
                let theirs_signed = theirs.expanded_key().sign_deterministic(&message, b"").unwrap().encode();
                prop_assert_eq!(public.verify(&message, &theirs_signed), Ok(()));
                let with_context = theirs.expanded_key().sign_deterministic(&message, b"x").unwrap().encode();
                prop_assert!(public.verify(&message, &with_context).is_err());

                let mut bad = signature.clone();
                let at = at % bad.len();
                bad[at] ^= 1;
                prop_assert!(public.verify(&message, &bad).is_err());
                let read = ml_dsa::Signature::<ml_dsa::$set>::try_from(bad.as_slice());
                prop_assert!(!read.is_ok_and(|s| their_public.verify_with_context(&message, b"", &s)));
            });
            let key = dsa::SigningKey::<$set>::generate().unwrap();
            let (public, signature) = (key.verifying_key(), key.sign(b"m").unwrap());
            assert_eq!(public.verify(b"m", &signature), Ok(()));
            assert!(matches!(public.verify(b"n", &signature), Err(PqcError::MlDsa { .. })));
            assert!(matches!(public.verify(b"m", &signature[1..]), Err(PqcError::Length { .. })));
            assert!(matches!(
                dsa::VerifyingKey::<$set>::from_bytes(&public.as_bytes()[1..]),
                Err(PqcError::Length { .. })
            ));
            assert_ne!(key.sign(b"m").unwrap(), signature, "signing is hedged");
        }
    };
}

dsa_differential!(ml_dsa_44_is_the_oracles, MlDsa44);
dsa_differential!(ml_dsa_65_is_the_oracles, MlDsa65);
dsa_differential!(ml_dsa_87_is_the_oracles, MlDsa87);

#[test]
fn ml_kem_refuses_wrong_lengths() {
    let key = DecapsulationKey::<MlKem768>::from_seed(&[3; kem::SEED_LEN]).unwrap();
    let (c, _) = key.encapsulation_key().encapsulate().unwrap();
    for bad in [&c[1..], &[c.as_slice(), &[0]].concat(), &[]] {
        let expected = PqcError::Length {
            what: "ML-KEM ciphertext",
            expected: 1088,
            got: bad.len(),
        };
        assert_eq!(key.decapsulate(bad).err(), Some(expected));
    }
    let expected = PqcError::Length {
        what: "ML-KEM-1024",
        expected: 1568,
        got: 1184,
    };
    assert_eq!(
        EncapsulationKey::<MlKem1024>::from_bytes(key.encapsulation_key().as_bytes()),
        Err(expected)
    );
}

#[test]
fn aead_binds_key_nonce_aad_and_every_byte() {
    let (key, nonce) = ([1; 32], [2; 12]);
    let mut sealed = b"plaintext".to_vec();
    aead::seal_in_place(&key, &nonce, b"aad", &mut sealed).unwrap();
    assert_eq!(sealed.len(), 9 + aead::TAG_LEN);
    let open = |key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], data: &[u8]| {
        let mut data = data.to_vec();
        let result = aead::open_in_place(key, nonce, aad, &mut data);
        // What did not authenticate is gone, not half-decrypted.
        assert!(result.is_ok() || data.is_empty());
        result.map(|()| data)
    };
    let refused = Err(PqcError::Open { what: "AES-256-GCM" });
    assert_eq!(open(&key, &nonce, b"aad", &sealed), Ok(b"plaintext".to_vec()));
    assert_eq!(open(&[3; 32], &nonce, b"aad", &sealed), refused);
    assert_eq!(open(&key, &[3; 12], b"aad", &sealed), refused);
    assert_eq!(open(&key, &nonce, b"aae", &sealed), refused);
    for at in 0..sealed.len() {
        let mut bad = sealed.clone();
        bad[at] ^= 1;
        assert_eq!(open(&key, &nonce, b"aad", &bad), refused);
    }
    for len in 0..sealed.len() {
        assert_eq!(open(&key, &nonce, b"aad", &sealed[..len]), refused);
    }
}

/// The GCM specification's test case 16 (AES-256, 60-byte message, 20-byte aad).
#[test]
fn aead_known_answer() {
    let key = hex::decode("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308").unwrap();
    let nonce = hex::decode("cafebabefacedbaddecaf888").unwrap();
    let aad = hex::decode("feedfacedeadbeeffeedfacedeadbeefabaddad2").unwrap();
    let mut data = hex::decode(concat!(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    ))
    .unwrap();
    aead::seal_in_place(&key.try_into().unwrap(), &nonce.try_into().unwrap(), &aad, &mut data).unwrap();
    let expected = concat!(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa",
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
        "76fc6ece0f4e1768cddf8853bb2d551b"
    );
    assert_eq!(hex::encode(data), expected);
}

#[test]
fn hkdf_known_answer_and_limits() {
    // RFC 5869 appendix A.1.
    let mut out = [0; 42];
    let (salt, info) = (
        hex::decode("000102030405060708090a0b0c").unwrap(),
        hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap(),
    );
    kdf::hkdf_sha256(&salt, &[0x0b; 22], &info, &mut out).unwrap();
    let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
    assert_eq!(hex::encode(out), expected);

    assert_eq!(kdf::hkdf_sha256(b"", b"k", b"", &mut vec![0; 255 * 32]), Ok(()));
    let too_long = |limit| {
        Err(PqcError::OutputTooLong {
            what: "HKDF",
            limit,
            got: limit + 1,
        })
    };
    assert_eq!(
        kdf::hkdf_sha256(b"", b"k", b"", &mut vec![0; 255 * 32 + 1]),
        too_long(255 * 32)
    );
    assert_eq!(kdf::hkdf_sha384(b"", b"k", b"", &mut vec![0; 255 * 48]), Ok(()));
    assert_eq!(
        kdf::hkdf_sha384(b"", b"k", b"", &mut vec![0; 255 * 48 + 1]),
        too_long(255 * 48)
    );
}

#[test]
fn one_step_is_the_hash_of_counter_z_and_info() {
    use aws_lc_rs::digest;
    let mut out = [0; 60];
    kdf::one_step(b"shared secret", b"fixed info", &mut out).unwrap();
    let block = |counter: u8| {
        digest::digest(
            &digest::SHA384,
            &[b"\0\0\0", &[counter][..], b"shared secretfixed info"].concat(),
        )
    };
    let expected = [block(1).as_ref(), block(2).as_ref()].concat();
    assert_eq!(out.as_slice(), &expected[..60]);

    assert!(matches!(
        kdf::one_step(b"", b"info", &mut out),
        Err(PqcError::Length { .. })
    ));
    assert!(matches!(
        kdf::one_step(b"z", b"info", &mut []),
        Err(PqcError::Length { .. })
    ));
}

#[test]
fn data_keys_are_random_and_compared_whole() {
    let (a, b) = (Dek::generate().unwrap(), Dek::generate().unwrap());
    assert!(a.same_as(&a) && !a.same_as(&b));
    let read = Dek::from_bytes(Zeroizing::new(*a.expose()));
    assert!(read.same_as(&a));
    assert!(Dek::from_slice(a.expose()).unwrap().same_as(&a));
    let expected = PqcError::Length {
        what: "data key",
        expected: 32,
        got: 31,
    };
    assert_eq!(Dek::from_slice(&a.expose()[1..]).err(), Some(expected));
    let mut bytes = [0; 64];
    random::fill(&mut bytes).unwrap();
    assert_ne!(bytes, [0; 64]);
}

#[test]
fn domain_strings_are_distinct_and_of_one_form() {
    let mut seen = std::collections::HashSet::new();
    for domain in Domain::ALL {
        let text = domain.as_str();
        assert!(seen.insert(text), "{text} twice");
        let what = text.strip_prefix("hanzo/").and_then(|t| t.strip_suffix("/v1")).unwrap();
        assert!(
            !what.is_empty() && what.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
            "{text}"
        );
    }
    // SHA-256("hanzo/grant/v1") || "m"
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"hanzo/grant/v1");
    assert_eq!(Domain::Grant.signed_bytes(b"m"), [digest.as_ref(), b"m"].concat());
}
