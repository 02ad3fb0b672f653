//! ML-KEM-768.

use std::collections::HashMap;
use std::io::Read;

use hanzo_pqc::PqcError;
use hanzo_pqc::kem::{DecapsulationKey, EncapsulationKey, MlKem768};
use ml_kem::KeyExport;

use crate::load::{bytes, grouped, hex_of};

type Oracle = ml_kem::DecapsulationKey<ml_kem::MlKem768>;
type OraclePublic = ml_kem::EncapsulationKey<ml_kem::MlKem768>;

fn oracle_public(ek: &[u8]) -> Option<OraclePublic> {
    OraclePublic::new(&ek.try_into().ok()?).ok()
}

/// The oracle's deterministic encapsulation: (ciphertext, secret).
fn oracle_encapsulate(ek: &[u8], m: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (c, k) = oracle_public(ek)
        .unwrap()
        .encapsulate_deterministic(&m.try_into().unwrap());
    (c.to_vec(), k.to_vec())
}

#[allow(deprecated, reason = "the vectors carry expanded keys")]
fn oracle_expand(seed: &[u8]) -> (Vec<u8>, Vec<u8>) {
    use ml_kem::ExpandedKeyEncoding;
    let key = Oracle::from_seed(seed.try_into().unwrap());
    (
        key.encapsulation_key().to_bytes().to_vec(),
        key.to_expanded_bytes().to_vec(),
    )
}

fn from_seed(seed: &[u8]) -> Option<DecapsulationKey<MlKem768>> {
    Some(DecapsulationKey::from_seed(seed.try_into().ok()?).unwrap())
}

#[test]
fn wycheproof_decapsulation_from_seed() {
    let Some(tests) = grouped("wycheproof/mlkem_768_test.json") else {
        return;
    };
    let (mut valid, mut invalid) = (0, 0);
    for (_, test) in &tests {
        let (seed, c) = (hex_of(test, "seed"), hex_of(test, "c"));
        let Some(key) = from_seed(&seed) else {
            // A seed of the wrong length cannot even be named: `from_seed` takes `&[u8; 64]`.
            assert_eq!(test["result"], "invalid", "{test}");
            invalid += 1;
            continue;
        };
        let opened = key.decapsulate(&c);
        if test["result"] == "valid" {
            assert_eq!(key.encapsulation_key().as_bytes(), hex_of(test, "ek"), "{test}");
            assert_eq!(opened.unwrap().expose().as_slice(), hex_of(test, "K"), "{test}");
            valid += 1;
        } else {
            assert!(
                matches!(opened.err(), Some(PqcError::Length { expected: 1088, .. })),
                "{test}"
            );
            invalid += 1;
        }
    }
    println!("ML-KEM-768 decapsulation: {valid} valid, {invalid} refused");
    assert_eq!((valid, invalid), (153, 40));
}

#[test]
fn wycheproof_encapsulation() {
    let Some(tests) = grouped("wycheproof/mlkem_768_encaps_test.json") else {
        return;
    };
    let (mut valid, mut invalid) = (0, 0);
    for (_, test) in &tests {
        let ek = hex_of(test, "ek");
        let ours = EncapsulationKey::<MlKem768>::from_bytes(&ek);
        if test["result"] == "valid" {
            let expected = (hex_of(test, "c"), hex_of(test, "K"));
            assert_eq!(oracle_encapsulate(&ek, &hex_of(test, "m")), expected, "{test}");
            ours.unwrap().encapsulate().unwrap();
            valid += 1;
        } else {
            let error = ours.unwrap_err();
            assert_eq!(ek.len() == 1184, matches!(error, PqcError::Encoding { .. }), "{test}");
            assert!(oracle_public(&ek).is_none(), "{test}");
            invalid += 1;
        }
    }
    println!("ML-KEM-768 encapsulation: {valid} valid, {invalid} refused");
    assert_eq!((valid, invalid), (133, 132));
}

#[test]
fn wycheproof_key_generation() {
    let Some(tests) = grouped("wycheproof/mlkem_768_keygen_seed_test.json") else {
        return;
    };
    for (_, test) in &tests {
        check_key(&hex_of(test, "seed"), &hex_of(test, "ek"), &hex_of(test, "dk"));
    }
    println!("ML-KEM-768 key generation: {} keys", tests.len());
    assert_eq!(tests.len(), 100);
}

/// Key generation from a seed, and both keys working with each other whichever way they were read.
fn check_key(seed: &[u8], ek: &[u8], dk: &[u8]) {
    let key = from_seed(seed).unwrap();
    assert_eq!(key.encapsulation_key().as_bytes(), ek);
    assert_eq!(oracle_expand(seed), (ek.to_vec(), dk.to_vec()));
    let expanded = DecapsulationKey::<MlKem768>::from_expanded(dk).unwrap();
    let (c, k) = expanded.encapsulation_key().encapsulate().unwrap();
    assert_eq!(key.decapsulate(&c).unwrap().expose(), k.expose());
    assert_eq!(expanded.decapsulate(&c).unwrap().expose(), k.expose());
}

#[test]
fn wycheproof_expanded_keys() {
    let Some(tests) = grouped("wycheproof/mlkem_768_semi_expanded_decaps_test.json") else {
        return;
    };
    let (mut valid, mut invalid) = (0, 0);
    for (_, test) in &tests {
        let opened = DecapsulationKey::<MlKem768>::from_expanded(&hex_of(test, "dk"))
            .and_then(|key| key.decapsulate(&hex_of(test, "c")));
        if test["result"] == "valid" {
            assert_eq!(opened.unwrap().expose().as_slice(), hex_of(test, "K"), "{test}");
            valid += 1;
        } else {
            let hash = test["flags"][0] == "InvalidDecapsulationKey";
            assert_eq!(
                hash,
                matches!(opened.err().unwrap(), PqcError::Encoding { .. }),
                "{test}"
            );
            invalid += 1;
        }
    }
    println!("ML-KEM-768 expanded keys: {valid} valid, {invalid} refused");
    assert_eq!((valid, invalid), (3, 6));
}

#[test]
fn acvp() {
    let Some(keys) = grouped("acvp/ML-KEM-keyGen-FIPS203.ML-KEM-768.json") else {
        return;
    };
    for (_, test) in &keys {
        let seed = [hex_of(test, "d"), hex_of(test, "z")].concat();
        check_key(&seed, &hex_of(test, "ek"), &hex_of(test, "dk"));
    }
    let (mut encapsulated, mut opened) = (0, 0);
    for (group, test) in &grouped("acvp/ML-KEM-encapDecap-FIPS203.ML-KEM-768.json").unwrap() {
        let (c, k) = (hex_of(test, "c"), hex_of(test, "k"));
        let dk = if group["function"] == "encapsulation" {
            assert_eq!(
                oracle_encapsulate(&hex_of(test, "ek"), &hex_of(test, "m")),
                (c.clone(), k.clone())
            );
            encapsulated += 1;
            hex_of(test, "dk")
        } else {
            hex_of(group, "dk")
        };
        let key = DecapsulationKey::<MlKem768>::from_expanded(&dk).unwrap();
        assert_eq!(key.decapsulate(&c).unwrap().expose().as_slice(), k, "{test}");
        opened += 1;
    }
    println!(
        "ACVP ML-KEM-768: {} keys, {encapsulated} encapsulations, {opened} decapsulations",
        keys.len()
    );
    assert_eq!((keys.len(), encapsulated, opened), (25, 25, 35));
}

/// The `name = value` lines of a CCTV text file.
fn named(text: &[u8]) -> HashMap<String, String> {
    let lines = std::str::from_utf8(text).unwrap().lines();
    lines
        .filter_map(|line| line.split_once(" = "))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

/// These two files were made with the draft of FIPS 203, whose key generation computed G(d); the standard computes
/// G(d || k). So their seeds must give other keys, and everything past key generation must be exact.
#[test]
fn cctv_intermediate_and_unlucky_sample() {
    let mut run = 0;
    for name in [
        "cctv/ML-KEM_intermediate_ML-KEM-768.txt",
        "cctv/ML-KEM_unluckysample_ML-KEM-768.txt",
    ] {
        let Some(text) = bytes(name) else { return };
        let fields = named(&text);
        let field = |name: &str| hex::decode(&fields[name]).unwrap();
        let key = DecapsulationKey::<MlKem768>::from_expanded(&field("dk")).unwrap();
        assert_eq!(key.encapsulation_key().as_bytes(), field("ek"));
        assert_eq!(oracle_encapsulate(&field("ek"), &field("m")), (field("c"), field("K")));
        assert_eq!(key.decapsulate(&field("c")).unwrap().expose().as_slice(), field("K"));

        let standard = from_seed(&[field("d"), field("z")].concat()).unwrap();
        assert_ne!(
            standard.encapsulation_key().as_bytes(),
            field("ek"),
            "key generation without k in G"
        );
        run += 1;
    }
    println!("CCTV ML-KEM-768 intermediate, unlucky sample: {run} files");
    assert_eq!(run, 2);
}

#[test]
fn cctv_strcmp() {
    let Some(text) = bytes("cctv/ML-KEM_strcmp_ML-KEM-768.txt") else {
        return;
    };
    let fields = named(&text);
    let field = |name: &str| hex::decode(&fields[name]).unwrap();
    let key = DecapsulationKey::<MlKem768>::from_expanded(&field("dk")).unwrap();
    assert_eq!(key.decapsulate(&field("c")).unwrap().expose().as_slice(), field("K"));
}

#[test]
fn cctv_modulus() {
    let Some(packed) = bytes("cctv/ML-KEM_modulus_ML-KEM-768.txt.gz") else {
        return;
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_string(&mut text)
        .unwrap();
    let mut refused = 0;
    for line in text.lines() {
        let ek = hex::decode(line).unwrap();
        let error = EncapsulationKey::<MlKem768>::from_bytes(&ek).unwrap_err();
        assert!(matches!(
            error,
            PqcError::Encoding {
                rule: "coefficients below q = 3329",
                ..
            }
        ));
        assert!(oracle_public(&ek).is_none());
        refused += 1;
    }
    println!("CCTV ML-KEM-768 modulus: {refused} keys refused");
    assert_eq!(refused, 780);
}
