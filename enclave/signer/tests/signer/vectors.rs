//! ML-DSA vectors: the public key of each seed. That signatures of these primitives verify where they should, kbs/pqc tests.

use std::io::Write as _;

use hanzo_signer::wallet::SEED_LEN;
use hanzo_signer::{MiningWallet, SecurityLevel};
use serde_json::Value;
use zeroize::Zeroizing;

fn bytes(name: &str) -> Option<Vec<u8>> {
    let path = format!(
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/pqc/{}"),
        name
    );
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "VECTORS MISSING {path} ({error}): not run");
            None
        }
    }
}

fn json(name: &str) -> Option<Value> {
    Some(serde_json::from_slice(&bytes(name)?).unwrap())
}

fn hex_of(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn public(level: SecurityLevel, seed: &[u8]) -> Vec<u8> {
    let seed: [u8; SEED_LEN] = seed.try_into().unwrap();
    let wallet = MiningWallet::from_seed(level, Zeroizing::new(seed)).unwrap();
    wallet.public().as_bytes().to_vec()
}

#[test]
fn acvp_seeds_give_their_public_keys() {
    let Some(file) = json("acvp/ML-DSA-keyGen-FIPS204.ML-DSA-65.json") else {
        return;
    };
    let mut checked = 0;
    for test in file["testGroups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|g| g["tests"].as_array().unwrap())
    {
        assert_eq!(
            public(SecurityLevel::MlDsa65, &hex_of(&test["seed"])),
            hex_of(&test["pk"]),
            "{}",
            test["tcId"]
        );
        checked += 1;
    }
    assert_eq!(checked, 25);
}

#[test]
fn wycheproof_seeds_give_their_public_keys_and_seeds_of_another_length_are_none() {
    let Some(file) = json("wycheproof/mldsa_65_sign_seed_test.json") else {
        return;
    };
    let (mut checked, mut short) = (0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        let seed = hex_of(&group["privateSeed"]);
        if seed.len() == SEED_LEN {
            assert_eq!(public(SecurityLevel::MlDsa65, &seed), hex_of(&group["publicKey"]));
            checked += 1;
        } else {
            // The type of a seed has no other length.
            assert!(
                group["tests"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|t| t["result"] == "invalid")
            );
            short += 1;
        }
    }
    assert!(checked > 10 && short > 0, "{checked} seeds, {short} of another length");
}

/// PKCS #8 of RFC 9881 in its seed form ends in 0x80, 32 and the seed; SubjectPublicKeyInfo ends in the key.
#[test]
fn keys_of_other_libraries_give_the_same_public_keys_at_every_level() {
    for (level, private, spki) in [
        (SecurityLevel::MlDsa44, "pyca/mldsa44_priv.der", "pyca/mldsa44_pub.der"),
        (
            SecurityLevel::MlDsa65,
            "pkcs8/ML-DSA-65-seed.priv",
            "pkcs8/ML-DSA-65.pub",
        ),
        (
            SecurityLevel::MlDsa87,
            "pkcs8/ML-DSA-87-seed.priv",
            "pkcs8/ML-DSA-87.pub",
        ),
    ] {
        let (Some(private), Some(spki)) = (bytes(private), bytes(spki)) else {
            return;
        };
        let (private, spki) = (der(&private), der(&spki));
        let (head, seed) = private.split_at(private.len() - SEED_LEN);
        assert!(head.ends_with(&[0x80, 32]), "{level}: seed form");
        assert!(spki.ends_with(&public(level, seed)), "{level}");
    }
}

/// Out of PEM, if it is PEM.
fn der(file: &[u8]) -> Vec<u8> {
    if !file.starts_with(b"-----") {
        return file.to_vec();
    }
    let text = std::str::from_utf8(file).unwrap();
    let text: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut out = Vec::new();
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = four.iter().fold(0_u32, |bits, c| (bits << 6) | u32::from(digit(*c))) << (6 * (4 - four.len()));
        out.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    out
}
