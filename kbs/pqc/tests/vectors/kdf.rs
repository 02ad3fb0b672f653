//! HKDF-SHA-256.

use hanzo_pqc::{PqcError, kdf};

use crate::load::{grouped, hex_of};

#[test]
fn wycheproof_hkdf_sha256() {
    let Some(tests) = grouped("wycheproof/hkdf_sha256_test.json") else {
        return;
    };
    let (mut valid, mut invalid) = (0, 0);
    for (_, test) in &tests {
        let mut out = vec![0u8; test["size"].as_u64().unwrap() as usize];
        let result = kdf::hkdf_sha256(
            &hex_of(test, "salt"),
            &hex_of(test, "ikm"),
            &hex_of(test, "info"),
            &mut out,
        );
        if test["result"] == "valid" {
            assert_eq!(result, Ok(()), "{test}");
            assert_eq!(out, hex_of(test, "okm"), "{test}");
            valid += 1;
        } else {
            assert!(matches!(result, Err(PqcError::OutputTooLong { .. })), "{test}");
            invalid += 1;
        }
    }
    println!("HKDF-SHA-256: {valid} valid, {invalid} refused");
    assert_eq!((valid, invalid), (83, 3));
}
