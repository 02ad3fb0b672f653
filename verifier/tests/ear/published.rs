//! Every published EAR and CoRIM file gets its verdict.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use hanzo_verifier::corim::SnpCorim;
use hanzo_verifier::ear::TrustTier;

use crate::*;

fn folder() -> Option<PathBuf> {
    let found = ["/../../shared/vectors/ear", "/../../../shared/vectors/ear"]
        .map(|up| Path::new(&format!("{}{up}", env!("CARGO_MANIFEST_DIR"))).to_owned())
        .into_iter()
        .find(|folder| folder.is_dir());
    if found.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "VECTORS MISSING (shared/vectors beside the repository): published EAR files were NOT checked"
        );
    }
    found
}

/// The published test key pair of a private JWK or PKCS#8.
fn signer(file: &str, bytes: &[u8]) -> Signer {
    let pair = if file.ends_with(".json") {
        let jwk: Value = serde_json::from_slice(bytes).unwrap();
        let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
        let public = [vec![4], part("x"), part("y")].concat();
        EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &part("d"), &public).unwrap()
    } else {
        let text = std::str::from_utf8(bytes).unwrap();
        let body: String = text.lines().filter(|l| !l.starts_with("-----")).collect();
        let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).unwrap()
    };
    Signer { pair, alg: "ES256" }
}

#[test]
fn every_file_has_its_verdict() {
    let Some(folder) = folder() else { return };
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let mut checked = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let bytes = read(&name);
        let corim = || SnpCorim::parse(&bytes).map_or_else(|e| e.code(), |_| "read");
        match name.as_str() {
            "corim-sevsnp-bad-refval-key.cbor" => assert_eq!(corim(), "corim.key"),
            "corim-sevsnp-bad-refval-no-key.cbor" => assert_eq!(corim(), "corim.no_key"),
            "corim-sevsnp-bad-ta-no-model.cbor" => assert_eq!(corim(), "corim.no_model"),
            "corim-sevsnp-bad-ta-no-vendor.cbor" => assert_eq!(corim(), "corim.no_vendor"),
            "corim_good.json" => assert_eq!(corim(), "corim.form", "PSA in JSON: not the form that is signed"),
            // claims sets, signed here with their project's own published test keys
            "veraison_ear-claims.json"
            | "veraison_ear-claims-tv-ok.json"
            | "veraison_ear-claims-key-attestation-ok.json" => {
                let key = signer("veraison_skey.json", &read("veraison_skey.json"));
                let trusted =
                    || TrustedKeys::none(3600).with_key(TrustedKey::from_jwk(&read("veraison_pkey.json")).unwrap());
                assert_claims(&bytes, &key, &trusted(), TrustTier::Affirming);
            }
            "rustear_claims.json" => {
                let key = signer("rustear_skey.pem", &read("rustear_skey.pem"));
                for trusted in [
                    TrustedKey::from_jwk(&read("rustear_ec_key_pub.jwk")).unwrap(),
                    TrustedKey::from_pem(std::str::from_utf8(&read("rustear_ec_key_pub.pem")).unwrap()).unwrap(),
                ] {
                    assert_claims(
                        &bytes,
                        &key,
                        &TrustedKeys::none(3600).with_key(trusted),
                        TrustTier::Affirming,
                    );
                }
            }
            "trustee_example.token.json" => {
                let key = signer("jwk_signing-key.pem", &read("jwk_signing-key.pem"));
                let jwks: Value = serde_json::from_slice(&read("jwk_expected-jwks.json")).unwrap();
                let trusted = TrustedKey::from_jwk(jwks["keys"][0].to_string().as_bytes()).unwrap();
                let trusted = TrustedKeys::none(3600).with_key(trusted);
                assert_claims(&bytes, &key, &trusted, TrustTier::Contraindicated);
            }
            // keys: public ones are configured, private ones and certificates are refused as configuration
            "veraison_pkey.json" | "rustear_ec_key_pub.jwk" => {
                assert_eq!(code(TrustedKey::from_jwk(&bytes)), "accepted")
            }
            "rustear_ec_key_pub.pem" => {
                assert_eq!(
                    code(TrustedKey::from_pem(std::str::from_utf8(&bytes).unwrap())),
                    "accepted"
                );
            }
            "veraison_skey.json" | "jwk_expected-jwks.json" => {
                assert_eq!(code(TrustedKey::from_jwk(&bytes)), "ear.key");
            }
            "rustear_ec_key.pem" | "rustear_skey.pem" | "jwk_signing-key.pem" | "jwk_cert-chain.pem" => {
                assert_eq!(
                    code(TrustedKey::from_pem(std::str::from_utf8(&bytes).unwrap())),
                    "ear.key",
                    "{name}"
                );
            }
            other => panic!("{other}: a file without a verdict"),
        }
        checked += 1;
    }
    assert_eq!(checked, 19);
}

fn assert_claims(claims: &[u8], key: &Signer, trusted: &TrustedKeys, status: TrustTier) {
    let text = std::str::from_utf8(claims).unwrap();
    let iat = serde_json::from_str::<Value>(text).unwrap()["iat"].as_u64().unwrap();
    let token = key.token_with(&json!({"alg": "ES256", "typ": "JWT", "jwk": key.jwk()}), text);
    let ear = verify_ear(&token, trusted, UnixTime(iat + 10)).unwrap();
    assert_eq!(ear.status(), status);
    assert_eq!(code(verify_ear(&token, trusted, UnixTime(iat + 3601))), "ear.expired");
    assert_eq!(
        code(verify_ear(&token, trusted, UnixTime(iat - 61))),
        "ear.not_yet_valid"
    );
    let stranger = Signer::p256();
    assert_eq!(
        code(verify_ear(
            &stranger.token_with(&json!({"alg": "ES256"}), text),
            trusted,
            UnixTime(iat)
        )),
        "ear.signature"
    );
}
