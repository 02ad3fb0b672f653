//! JWE for CoCo's guests: published vectors of its parts, round trips, and what is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanzo_kbs_protocol::jwe::{Curve, JweKey, JwePrivateKey, SECRET_BYTES_MAX, aes_kw, kdf};
use hanzo_kbs_protocol::{TeeKey, WireError};
use serde_json::{Value, json};

fn bytes<const N: usize>(hex_text: &str) -> [u8; N] {
    hex::decode(hex_text).unwrap().try_into().unwrap()
}

/// RFC 7518, appendix C.
#[test]
fn concat_kdf_is_that_of_rfc_7518() {
    let z = [
        158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66, 131, 191, 132, 38, 156, 251, 49, 110, 163, 218, 128, 106,
        72, 246, 218, 167, 121, 140, 254, 144, 196,
    ];
    let mut out = [0; 16];
    kdf::concat_kdf(&z, "A128GCM", b"Alice", b"Bob", &mut out);
    assert_eq!(URL_SAFE_NO_PAD.encode(out), "VqqN6vgjbSBcIijNcacQGg");
}

/// NIST's KMAC samples 4 and 5 (SP 800-185).
#[test]
fn kmac256_is_that_of_nist() {
    let key: Vec<u8> = (0x40..=0x5f).collect();
    let mac = |x: &[u8], s: &[u8]| {
        let mut out = [0; 64];
        kdf::kmac256(&key, x, s, &mut out);
        hex::encode_upper(out)
    };
    let long: Vec<u8> = (0..=0xc7).collect();
    assert_eq!(
        mac(&[0, 1, 2, 3], b"My Tagged Application"),
        "20C570C31346F703C9AC36C61C03CB64C3970D0CFC787E9B79599D273A68D2F7F69D4CC3DE9D104A351689F27CF6F5951F0103F33F4F24871024D9C27773A8DD"
    );
    assert_eq!(
        mac(&long, b""),
        "75358CF39E41494E949707927CEE0AF20A3FF553904C86B08F21CC414BCFD691589D27CF5E15369CBBFF8B9A4C2EB17800855D0235FF635DA82533EC6B759B69"
    );
}

/// RFC 3394 section 4.6; of AES-192, which has no example of 32 bytes there, an independent library's answer.
#[test]
fn aes_key_wrap_is_that_of_rfc_3394() {
    let key = bytes("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f");
    let kek256 = bytes("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let kek192 = bytes("000102030405060708090a0b0c0d0e0f1011121314151617");
    let (by256, by192) = (
        aes_kw::wrap_256(&kek256, &key).unwrap(),
        aes_kw::wrap_192(&kek192, &key).unwrap(),
    );
    assert_eq!(
        hex::encode(by256),
        "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"
    );
    assert_eq!(
        hex::encode(by192),
        "08861e000aabfa4479c7191f9dc51cca37c50f16cc14441c6ea4980cfce0f41d9285758c6f74ac6d"
    );
    assert_eq!(*aes_kw::unwrap_256(&kek256, &by256).unwrap(), key);
    assert_eq!(*aes_kw::unwrap_192(&kek192, &by192).unwrap(), key);
    for at in 0..aes_kw::WRAPPED_LEN {
        let (mut a, mut b) = (by256, by192);
        a[at] ^= 1;
        b[at] ^= 1;
        assert_eq!(aes_kw::unwrap_256(&kek256, &a).unwrap_err().code(), "jwe.open");
        assert_eq!(aes_kw::unwrap_192(&kek192, &b).unwrap_err().code(), "jwe.open");
    }
    assert_eq!(aes_kw::unwrap_256(&kek256, &by256[8..]).unwrap_err().code(), "jwe.open");
}

fn keys() -> [JwePrivateKey; 4] {
    [
        JwePrivateKey::generate_ec(Curve::P256).unwrap(),
        JwePrivateKey::generate_ec(Curve::P521).unwrap(),
        JwePrivateKey::generate_rsa().unwrap(),
        JwePrivateKey::generate_akp().unwrap(),
    ]
}

fn header(jwe: &Value) -> String {
    let protected = URL_SAFE_NO_PAD.decode(jwe["protected"].as_str().unwrap()).unwrap();
    String::from_utf8(protected).unwrap()
}

#[test]
fn every_algorithm_opens_what_it_made_and_nothing_that_was_changed() {
    let starts = [
        r#"{"alg":"ECDH-ES+A256KW","enc":"A256GCM","epk":{"crv":"P-256","kty":"EC","x":""#,
        r#"{"alg":"ECDH-ES+A256KW","enc":"A256GCM","epk":{"crv":"P-521","kty":"EC","x":""#,
        r#"{"alg":"RSA-OAEP-256","enc":"A256GCM"}"#,
        r#"{"alg":"ML-KEM-768+A192KW","enc":"A256GCM","ek":""#,
    ];
    let keys = keys();
    for (n, (private, start)) in keys.iter().zip(starts).enumerate() {
        let public = JweKey::parse(&private.public_value().unwrap()).unwrap();
        let reply = public.encrypt(b"a secret").unwrap();
        assert_eq!(private.decrypt(&reply).unwrap().as_slice(), b"a secret");
        let text = String::from_utf8(reply.clone()).unwrap();
        assert!(text.starts_with(r#"{"protected":""#) && !text.contains("aad"), "{text}");
        let jwe: Value = serde_json::from_slice(&reply).unwrap();
        assert!(header(&jwe).starts_with(start), "{}", header(&jwe));

        // Each member changed in one bit does not open.
        for member in ["protected", "encrypted_key", "iv", "ciphertext", "tag"] {
            let mut bytes = URL_SAFE_NO_PAD.decode(jwe[member].as_str().unwrap()).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            let mut changed = jwe.clone();
            changed[member] = json!(URL_SAFE_NO_PAD.encode(&bytes));
            private.decrypt(changed.to_string().as_bytes()).unwrap_err();
        }
        let mut longer = jwe.clone();
        longer["aad"] = json!("AA");
        let refused = private.decrypt(longer.to_string().as_bytes()).unwrap_err();
        assert_eq!(refused.code(), "jwe.malformed");
        // Another key of the same kind, and one of another.
        assert!(self::keys()[n].decrypt(&reply).is_err());
        assert!(keys[(n + 1) % 4].decrypt(&reply).is_err());
    }
    let rsa = JweKey::parse(&keys[2].public_value().unwrap()).unwrap();
    assert_eq!(
        keys[3].decrypt(&rsa.encrypt(b"x").unwrap()).unwrap_err().code(),
        "jwe.algorithm"
    );
}

/// The additional data are the text of `protected`, which stock clients write anew from its members.
#[test]
fn the_header_is_what_a_stock_client_writes_anew() {
    for private in keys() {
        let public = JweKey::parse(&private.public_value().unwrap()).unwrap();
        let reply = public.encrypt(b"a secret").unwrap();
        let jwe: Value = serde_json::from_slice(&reply).unwrap();
        let stock: kbs_types::Response = serde_json::from_slice(&reply).unwrap();
        let aad = stock.protected.generate_aad().unwrap();
        assert_eq!(aad, jwe["protected"].as_str().unwrap().as_bytes());
    }
}

#[test]
fn secrets_are_bounded_at_both_ends() {
    let private = JwePrivateKey::generate_ec(Curve::P256).unwrap();
    let public = JweKey::parse(&private.public_value().unwrap()).unwrap();
    let most = vec![7; SECRET_BYTES_MAX];
    assert_eq!(*private.decrypt(&public.encrypt(&most).unwrap()).unwrap(), most);
    assert_eq!(public.encrypt(&[]).unwrap_err().code(), "jwe.secret");
    assert_eq!(
        public.encrypt(&vec![7; SECRET_BYTES_MAX + 1]).unwrap_err().code(),
        "jwe.secret"
    );
}

#[test]
fn keys_that_nothing_should_be_encrypted_to_are_refused_by_name() {
    let [p256, p521, rsa, akp] = keys().map(|k| k.public_value().unwrap());
    let refused = |base: &Value, member: &str, value: Value| -> String {
        TeeKey::parse(base).unwrap();
        let mut changed = base.clone();
        changed[member] = value;
        match TeeKey::parse(&changed).unwrap_err() {
            WireError::Jwk { what } => what.to_owned(),
            other => panic!("{other}"),
        }
    };
    let x = |key: &Value| key["x"].as_str().unwrap().to_owned();
    assert!(refused(&p256, "y", json!(x(&p256))).contains("no point"));
    assert!(refused(&p256, "x", json!("AA")).contains("no point"));
    assert!(refused(&p256, "crv", json!("P-521")).contains("no point"));
    assert!(refused(&p521, "crv", json!("P-384")).contains("crv"));
    assert!(refused(&p256, "alg", json!("ECDH-ES")).contains("alg"));
    assert!(refused(&p256, "kid", json!("x")).contains("members"));
    assert!(refused(&p256, "kty", json!("OKP")).contains("kty"));
    assert!(refused(&rsa, "alg", json!("RSA1_5")).contains("RSA1_5"));
    assert!(refused(&rsa, "alg", json!("RSA-OAEP")).contains("alg"));
    for e in ["AQ", "Ag", "AQAA"] {
        assert!(refused(&rsa, "e", json!(e)).contains("odd"), "{e}: 1, 2 and 65536");
    }
    let n = URL_SAFE_NO_PAD.decode(rsa["n"].as_str().unwrap()).unwrap();
    let modulus = |bytes: &[u8]| json!(URL_SAFE_NO_PAD.encode(bytes));
    assert!(refused(&rsa, "n", modulus(&n[128..])).contains("2048"));
    assert!(refused(&rsa, "n", modulus(&[&[0], n.as_slice()].concat())).contains("zero byte"));
    assert!(refused(&rsa, "n", modulus(&[0xff; 1025])).contains("8192"));
    assert!(refused(&akp, "alg", json!("ML-KEM-1024+A256KW")).contains("alg"));
    assert!(refused(&akp, "pub", json!("AAAA")).contains("1184"));
    assert!(
        refused(&akp, "pub", modulus(&[0xff; 1184])).contains("1184"),
        "coefficients above q"
    );
}

#[test]
fn a_recipient_is_the_digest_of_the_whole_key_object() {
    let key = JwePrivateKey::generate_ec(Curve::P256).unwrap().public_value().unwrap();
    let canonical = serde_json::to_vec(&key).unwrap(); // serde_json writes members sorted
    let recipient = TeeKey::parse(&key).unwrap().recipient();
    assert_eq!(recipient, hanzo_attestation::Digest384::of(&canonical));
}
