//! Golden files, one per suite ever shipped: sealed messages that must open and signatures that must verify for as
//! long as the suite exists, here and with the oracle. `cargo test -p hanzo-pqc --test golden -- --ignored` writes a
//! file that is not there yet; it never overwrites one.

use std::path::PathBuf;

use ::hpke as oracle;
use hanzo_pqc::hpke::{self, KemSuite, PrivateKey};
use hanzo_pqc::sign::{Signature, SigningKeys, VerifyingKeys};
use hanzo_pqc::{Domain, SignatureSuite};
use oracle::aead::AesGcm256;
use oracle::kdf::{HkdfSha256, HkdfSha384, Kdf};
use oracle::kem::{MlKem1024P384, XWing};
use oracle::{Deserializable, Kem, OpModeR};
use serde_json::{Value, json};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{name}.json"))
}

fn read(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap()
}

fn field(value: &Value, name: &str) -> Vec<u8> {
    hex::decode(value[name].as_str().unwrap()).unwrap()
}

fn seed<const N: usize>() -> [u8; N] {
    std::array::from_fn(|i| u8::try_from(i).unwrap())
}

#[test]
fn sealed_messages_still_open() {
    for suite in KemSuite::ALL {
        let file = read(suite.name());
        let get = |name| field(&file, name);
        let key = PrivateKey::from_seed(suite, &get("seed").try_into().unwrap()).unwrap();
        assert_eq!(key.public_key().as_bytes(), get("public_key"));
        let (enc, info) = (get("enc"), get("info"));
        let opened = hpke::open(&key, &enc, &info, &get("aad"), &get("ciphertext")).unwrap();
        assert_eq!(opened.as_slice(), get("plaintext"));
        let exported = hpke::export_recipient(&key, &enc, &info, &get("exporter_context"), 32).unwrap();
        assert_eq!(exported.as_slice(), get("exported"));
        match suite {
            KemSuite::Xwing => oracle_opens::<XWing, HkdfSha256>(&file),
            KemSuite::MlKem1024P384 => oracle_opens::<MlKem1024P384, HkdfSha384>(&file),
        }
    }
}

fn oracle_opens<K: Kem, F: Kdf>(file: &Value) {
    let get = |name| field(file, name);
    let key = K::PrivateKey::from_bytes(&get("seed")).unwrap();
    let enc = K::EncappedKey::from_bytes(&get("enc")).unwrap();
    let mode = OpModeR::Base;
    let (info, aad) = (get("info"), get("aad"));
    let opened = oracle::single_shot_open::<AesGcm256, F, K>(&mode, &key, &enc, &info, &get("ciphertext"), &aad);
    assert_eq!(opened.unwrap(), get("plaintext"));
}

#[test]
fn signatures_still_verify() {
    for suite in SignatureSuite::ALL {
        let file = read(suite.name());
        let get = |name: &str| file[name].as_str().unwrap();
        let keys = VerifyingKeys::from_hex(suite, get("ml_dsa_public_key"), get("ed25519_public_key")).unwrap();
        let signature = Signature::from_hex(get("ml_dsa_signature"), get("ed25519_signature")).unwrap();
        assert_eq!(get("domain"), Domain::Grant.as_str());
        let message = field(&file, "message");
        assert_eq!(keys.verify(Domain::Grant, &message, &signature), Ok(()));
        assert!(keys.verify(Domain::Receipt, &message, &signature).is_err());
        let derived = SigningKeys::from_seed(suite, &field(&file, "seed").try_into().unwrap()).unwrap();
        assert_eq!(derived.verifying_keys(), &keys);
    }
}

#[test]
#[ignore = "writes the files of a new suite"]
fn write_missing() {
    let write = |name: &str, value: Value| {
        if !path(name).exists() {
            std::fs::write(path(name), format!("{value:#}\n")).unwrap();
        }
    };
    for suite in KemSuite::ALL {
        let key = PrivateKey::from_seed(suite, &seed()).unwrap();
        let (info, aad, plaintext) = (b"golden info", b"golden aad", b"golden plaintext");
        let sealed = hpke::seal(key.public_key(), info, aad, plaintext).unwrap();
        let exported = hpke::export_recipient(&key, &sealed.enc, info, b"proof", 32).unwrap();
        write(
            suite.name(),
            json!({
                "suite": suite.name(), "seed": hex::encode(seed::<32>()), "public_key": key.public_key().to_hex(),
                "info": hex::encode(info), "aad": hex::encode(aad), "plaintext": hex::encode(plaintext),
                "enc": hex::encode(&sealed.enc), "ciphertext": hex::encode(&sealed.ciphertext),
                "exporter_context": hex::encode("proof"), "exported": hex::encode(exported.as_slice()),
            }),
        );
    }
    for suite in SignatureSuite::ALL {
        let keys = SigningKeys::from_seed(suite, &seed()).unwrap();
        let signature = keys.sign(Domain::Grant, b"golden message").unwrap();
        write(
            suite.name(),
            json!({
                "suite": suite.name(), "seed": hex::encode(seed::<64>()), "domain": Domain::Grant.as_str(),
                "message": hex::encode("golden message"),
                "ml_dsa_public_key": keys.verifying_keys().ml_dsa_hex(),
                "ed25519_public_key": keys.verifying_keys().ed25519_hex(),
                "ml_dsa_signature": signature.ml_dsa_hex(), "ed25519_signature": signature.ed25519_hex(),
            }),
        );
    }
}
