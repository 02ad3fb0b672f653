//! Published HPKE and hybrid-KEM vectors. They give shared secrets and the inside of the key schedule, so these tests
//! stand here and not beside the public API. What has no suite of ours (DHKEM, pure ML-KEM, P-256 hybrids) goes
//! through crate `hpke`, and through our key schedule wherever its KDF is HKDF.

use ::hpke as oracle;
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use oracle::aead::{AesGcm128 as Aes128, AesGcm256 as Aes256};
use oracle::kdf::{KdfShake128 as Shake128, KdfShake256 as Shake256, KdfTurboShake256 as TurboShake256};
use oracle::kem as kems;
use oracle::rand_core::{TryCryptoRng, TryRng};
use oracle::{Deserializable, Kem, Serializable};
use serde_json::Value;

use super::schedule::{Context, Ids, Kdf};
use super::{KemSuite, PrivateKey, PublicKey};
use crate::kem::{DecapsulationKey, MlKem512, MlKem768, MlKem1024, ParameterSet};

#[path = "../../tests/vectors/load.rs"]
mod load;
mod one_stage;
mod x448;
use load::{hex_of, json};

fn entries(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// Our private key and public key from a seed, and our decapsulation.
fn check_ours(suite: KemSuite, seed: &[u8], public: &[u8], enc: &[u8], secret: &[u8]) {
    let key = PrivateKey::from_seed(suite, &seed.try_into().unwrap()).unwrap();
    assert_eq!(key.public_key().as_bytes(), public);
    assert_eq!(key.public_key(), &PublicKey::from_bytes(suite, public).unwrap());
    assert_eq!(key.decapsulate(enc).unwrap().as_slice(), secret);
}

/// Hands out the vectors' randomness in order.
struct Replay(Vec<u8>);

impl TryRng for Replay {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        let rest = self.0.split_off(out.len());
        out.copy_from_slice(&self.0);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Replay {}

/// The oracle's key, deterministic encapsulation (if randomness is given) and decapsulation.
fn check_oracle<K: Kem>(private: &[u8], public: &[u8], randomness: Option<&[u8]>, enc: &[u8], secret: &[u8]) {
    let key = K::PrivateKey::from_bytes(private).unwrap();
    let their_public = K::sk_to_pk(&key);
    assert_eq!(their_public.to_bytes().as_slice(), public);
    if let Some(randomness) = randomness {
        let mut rng = Replay(randomness.to_vec());
        let (theirs, made) = K::encap_with_rng(&their_public, None, &mut rng).unwrap();
        assert_eq!(made.to_bytes().as_slice(), enc);
        assert_eq!(theirs.0.as_slice(), secret);
    }
    let enc = K::EncappedKey::from_bytes(enc).unwrap();
    assert_eq!(K::decap(&key, None, &enc).unwrap().0.as_slice(), secret);
}

#[test]
fn xwing_draft() {
    let Some(file) = json("xwing/draft-connolly-cfrg-xwing-kem.json") else {
        return;
    };
    for test in entries(&file) {
        let (seed, pk, ct, ss) = (
            hex_of(test, "seed"),
            hex_of(test, "pk"),
            hex_of(test, "ct"),
            hex_of(test, "ss"),
        );
        assert_eq!(seed, hex_of(test, "sk"));
        check_ours(KemSuite::Xwing, &seed, &pk, &ct, &ss);
        check_oracle::<kems::XWing>(&seed, &pk, Some(&hex_of(test, "eseed")), &ct, &ss);
    }
    println!("X-Wing draft: {} entries", entries(&file).len());
    assert_eq!(entries(&file).len(), 3);
}

#[test]
fn concrete_hybrid_kems() {
    let Some(file) = json("hpke/hybrid-defafa2.json") else {
        return;
    };
    let (mut ours, mut oracle_only) = (0, 0);
    for (name, list) in file.as_object().unwrap() {
        for test in entries(list) {
            let field = |name: &str| hex_of(test, name);
            let (seed, ek, c, ss) = (
                field("seed"),
                field("encapsulation_key"),
                field("ciphertext"),
                field("shared_secret"),
            );
            assert_eq!(seed, field("decapsulation_key"));
            let randomness = field("randomness");
            match name.as_str() {
                "mlkem768_x25519" => {
                    check_ours(KemSuite::Xwing, &seed, &ek, &c, &ss);
                    check_oracle::<kems::XWing>(&seed, &ek, Some(&randomness), &c, &ss);
                    ours += 1;
                }
                "mlkem1024_p384" => {
                    check_ours(KemSuite::MlKem1024P384, &seed, &ek, &c, &ss);
                    check_oracle::<kems::MlKem1024P384>(&seed, &ek, Some(&randomness), &c, &ss);
                    ours += 1;
                }
                "mlkem768_p256" => {
                    check_oracle::<kems::MlKem768P256>(&seed, &ek, Some(&randomness), &c, &ss);
                    oracle_only += 1;
                }
                other => panic!("unknown KEM {other}"),
            }
        }
    }
    println!("concrete hybrid KEMs: {ours} ours and oracle, {oracle_only} oracle alone");
    assert_eq!((ours, oracle_only), (20, 10));
}

fn number(test: &Value, field: &str) -> u16 {
    u16::try_from(test[field].as_u64().unwrap()).unwrap()
}

fn hkdf(id: u16) -> Option<Kdf> {
    match id {
        1 => Some(Kdf::Sha256),
        2 => Some(Kdf::Sha384),
        3 => Some(Kdf::Sha512),
        _ => None,
    }
}

fn aead(id: u16) -> Option<&'static Algorithm> {
    match id {
        1 => Some(&AES_128_GCM),
        2 => Some(&AES_256_GCM),
        3 => Some(&CHACHA20_POLY1305),
        0xffff => None,
        other => panic!("unknown AEAD {other}"),
    }
}

/// Our key schedule on one vector: key, nonce, exporter secret, every message and every export.
fn check_schedule(test: &Value, kdf: Kdf) -> (usize, usize) {
    let ids = Ids {
        kem: number(test, "kem_id"),
        kdf,
        aead: number(test, "aead_id"),
    };
    let algorithm = aead(ids.aead);
    let field = |name: &str| hex_of(test, name);
    let mode = u8::try_from(number(test, "mode")).unwrap();
    let key_len = algorithm.map_or(0, Algorithm::key_len);
    let context = Context::with_mode(
        ids,
        mode,
        &field("shared_secret"),
        &field("info"),
        &field("psk"),
        &field("psk_id"),
        key_len,
    )
    .unwrap();
    let (key, base_nonce, exporter_secret) = context.parts();
    assert_eq!(exporter_secret, field("exporter_secret"));
    if algorithm.is_some() {
        assert_eq!(key, field("key"));
        assert_eq!(base_nonce, field("base_nonce"));
    }
    for (sequence, message) in (0u64..).zip(entries(&test["encryptions"])) {
        let (aad, pt, ct) = (hex_of(message, "aad"), hex_of(message, "pt"), hex_of(message, "ct"));
        let nonce = context.nonce(sequence_number(
            &field("base_nonce"),
            &hex_of(message, "nonce"),
            sequence,
        ));
        let cipher = LessSafeKey::new(UnboundKey::new(algorithm.unwrap(), key).unwrap());
        let mut data = pt.clone();
        cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&aad), &mut data)
            .unwrap();
        assert_eq!(data, ct);
        if ids.aead == super::schedule::AES_256_GCM {
            let sequence = sequence_number(&field("base_nonce"), &hex_of(message, "nonce"), sequence);
            let mut data = pt;
            context.seal_in_place(sequence, &aad, &mut data).unwrap();
            assert_eq!(data, ct);
            context.open_in_place(sequence, &aad, &mut data).unwrap();
        }
    }
    for export in entries(&test["exports"]) {
        let len = usize::from(number(export, "L"));
        let exported = context.export(&hex_of(export, "exporter_context"), len).unwrap();
        assert_eq!(exported.as_slice(), hex_of(export, "exported_value"));
    }
    (entries(&test["encryptions"]).len(), entries(&test["exports"]).len())
}

/// The sequence number behind a listed nonce (some files list only some of the messages).
fn sequence_number(base: &[u8], nonce: &[u8], at_least: u64) -> u64 {
    let xored: Vec<u8> = base.iter().zip(nonce).map(|(a, b)| a ^ b).collect();
    let (zeros, number) = xored.split_at(4);
    assert_eq!(zeros, [0; 4]);
    let number = u64::from_be_bytes(number.try_into().unwrap());
    assert!(number >= at_least);
    number
}

fn check_pure<P: ParameterSet>(test: &Value) {
    let seed: [u8; 64] = hex_of(test, "skRm").try_into().unwrap();
    let key = DecapsulationKey::<P>::from_seed(&seed).unwrap();
    assert_eq!(key.encapsulation_key().as_bytes(), hex_of(test, "pkRm"));
    let secret = key.decapsulate(&hex_of(test, "enc")).unwrap();
    assert_eq!(secret.expose().as_slice(), hex_of(test, "shared_secret"));
}

#[test]
fn hpke_pq() {
    let Some(file) = json("hpke/pq-6433c8f.json") else {
        return;
    };
    let (mut kem_ours, mut kem_oracle, mut kem_here) = (0, 0, 0);
    let (mut schedules, mut shake, mut here) = (0, 0, 0);
    let (mut messages, mut exports) = (0, 0);
    for test in entries(&file) {
        let field = |name: &str| hex_of(test, name);
        let (sk, pk, enc, ss) = (field("skRm"), field("pkRm"), field("enc"), field("shared_secret"));
        // Pure ML-KEM and the hybrids take their randomness as it is; a DHKEM derives it, so encapsulation is left out.
        let randomness = Some(field("ikmE"));
        match number(test, "kem_id") {
            0x40 => (check_pure::<MlKem512>(test), kem_ours += 1),
            0x41 => {
                check_oracle::<kems::MlKem768>(&sk, &pk, randomness.as_deref(), &enc, &ss);
                (check_pure::<MlKem768>(test), kem_ours += 1)
            }
            0x42 => {
                check_oracle::<kems::MlKem1024>(&sk, &pk, randomness.as_deref(), &enc, &ss);
                (check_pure::<MlKem1024>(test), kem_ours += 1)
            }
            0x647a => {
                check_oracle::<kems::XWing>(&sk, &pk, randomness.as_deref(), &enc, &ss);
                (check_ours(KemSuite::Xwing, &sk, &pk, &enc, &ss), kem_ours += 1)
            }
            0x51 => {
                check_oracle::<kems::MlKem1024P384>(&sk, &pk, randomness.as_deref(), &enc, &ss);
                (check_ours(KemSuite::MlKem1024P384, &sk, &pk, &enc, &ss), kem_ours += 1)
            }
            0x50 => {
                check_oracle::<kems::MlKem768P256>(&sk, &pk, randomness.as_deref(), &enc, &ss);
                ((), kem_oracle += 1)
            }
            0x10 => (
                check_oracle::<kems::DhP256HkdfSha256>(&sk, &pk, None, &enc, &ss),
                kem_oracle += 1,
            ),
            0x11 => (
                check_oracle::<kems::DhP384HkdfSha384>(&sk, &pk, None, &enc, &ss),
                kem_oracle += 1,
            ),
            0x20 => (
                check_oracle::<kems::X25519HkdfSha256>(&sk, &pk, None, &enc, &ss),
                kem_oracle += 1,
            ),
            // DHKEM over X448: neither backend has the curve, so these tests bring it.
            0x21 => (x448::check(test), kem_here += 1),
            other => panic!("unknown KEM {other:#x}"),
        };
        match hkdf(number(test, "kdf_id")) {
            Some(kdf) => {
                let (m, e) = check_schedule(test, kdf);
                (messages, exports, schedules) = (messages + m, exports + e, schedules + 1);
            }
            // One-stage SHAKE and TurboSHAKE schedules: no suite of ours has them, crate hpke does.
            None => match (number(test, "kem_id"), number(test, "kdf_id"), number(test, "aead_id")) {
                (0x10, 0x10, 1) => shake += check_oracle_context::<Aes128, Shake128, kems::DhP256HkdfSha256>(test),
                (0x11, 0x11, 2) => shake += check_oracle_context::<Aes256, Shake256, kems::DhP384HkdfSha384>(test),
                (0x50, 0x10, 2) => shake += check_oracle_context::<Aes256, Shake128, kems::MlKem768P256>(test),
                (0x42, 0x13, 1) => shake += check_oracle_context::<Aes128, TurboShake256, kems::MlKem1024>(test),
                // With ChaCha20-Poly1305 on top, which the oracle is built without: the draft's schedule, written here.
                (0x20, 0x12, 3) => {
                    assert_eq!(one_stage::check::<turboshake::TurboShake128>(test, 32), (10, 5));
                    here += 1;
                }
                (0x21, 0x13, 3) => {
                    assert_eq!(one_stage::check::<turboshake::TurboShake256>(test, 64), (10, 5));
                    here += 1;
                }
                (0x647a, 0x11, 3) => {
                    assert_eq!(one_stage::check::<shake::Shake256>(test, 64), (10, 5));
                    here += 1;
                }
                other => panic!("unknown suite {other:x?}"),
            },
        }
    }
    println!(
        "HPKE-PQ: KEM {kem_ours} ours, {kem_oracle} oracle, {kem_here} written here (X448); schedule {schedules} ours \
         ({messages} messages, {exports} exports), {shake} with SHAKE KDFs by the oracle, {here} by the draft's text"
    );
    assert_eq!((kem_ours, kem_oracle, kem_here), (7, 5, 1));
    assert_eq!((schedules, messages, exports), (6, 60, 30));
    assert_eq!((shake, here), (4, 3));
}

/// The oracle alone, key schedule and messages included.
fn check_oracle_context<A: oracle::aead::Aead, F: oracle::kdf::Kdf, K: Kem>(test: &Value) -> usize {
    let key = K::PrivateKey::from_bytes(&hex_of(test, "skRm")).unwrap();
    let enc = K::EncappedKey::from_bytes(&hex_of(test, "enc")).unwrap();
    let mode = oracle::OpModeR::Base;
    let mut context = oracle::setup_receiver::<A, F, K>(&mode, &key, &enc, &hex_of(test, "info")).unwrap();
    for message in entries(&test["encryptions"]) {
        let opened = context.open(&hex_of(message, "ct"), &hex_of(message, "aad")).unwrap();
        assert_eq!(opened, hex_of(message, "pt"));
    }
    for export in entries(&test["exports"]) {
        let mut out = vec![0; usize::from(number(export, "L"))];
        context.export(&hex_of(export, "exporter_context"), &mut out).unwrap();
        assert_eq!(out, hex_of(export, "exported_value"));
    }
    1
}

#[test]
fn rfc_9180() {
    let Some(file) = json("hpke/rfc9180-x25519-p256.json") else {
        return;
    };
    let (mut decapsulated, mut schedules, mut messages, mut exports) = (0, 0, 0, 0);
    for test in entries(&file) {
        decapsulated += match number(test, "kem_id") {
            0x20 => check_dhkem::<kems::X25519HkdfSha256>(test),
            0x10 => check_dhkem::<kems::DhP256HkdfSha256>(test),
            other => panic!("unknown KEM {other:#x}"),
        };
        let (m, e) = check_schedule(test, hkdf(number(test, "kdf_id")).unwrap());
        (messages, exports, schedules) = (messages + m, exports + e, schedules + 1);
    }
    println!(
        "RFC 9180: {decapsulated} DHKEM (oracle), {schedules} schedules (ours): {messages} messages, {exports} exports"
    );
    assert_eq!((decapsulated, schedules, exports), (28, 28, 84));
    assert_eq!(messages, 80);
}

fn check_dhkem<K: Kem>(test: &Value) -> usize {
    let key = K::PrivateKey::from_bytes(&hex_of(test, "skRm")).unwrap();
    let enc = K::EncappedKey::from_bytes(&hex_of(test, "enc")).unwrap();
    let sender = hex_of(test, "pkSm");
    let sender = (!sender.is_empty()).then(|| K::PublicKey::from_bytes(&sender).unwrap());
    let secret = K::decap(&key, sender.as_ref(), &enc).unwrap();
    assert_eq!(secret.0.as_slice(), hex_of(test, "shared_secret"));
    1
}
