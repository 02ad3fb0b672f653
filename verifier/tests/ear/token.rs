//! Foreign tokens: keys, algorithms, times, claims.

use hanzo_pqc::dsa::{MlDsa65, SigningKey};
use hanzo_verifier::ear::{TrustTier, TrustedKey, TrustedKeys};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::*;

#[test]
fn a_token_of_a_configured_key_is_accepted_and_any_other_key_s_is_not() {
    for (ours, theirs) in [(Signer::p256(), Signer::p256()), (Signer::p384(), Signer::p384())] {
        let ear = verify(&ours.token(&claims()), &ours.trusted()).unwrap();
        assert_eq!(ear.status(), TrustTier::Affirming);
        assert_eq!(ear.valid_until(), UnixTime(NOW.0 + 234));
        assert_eq!(ear.submods()["cpu0"].vector.unwrap().executables, 3);
        assert_eq!(code(verify(&theirs.token(&claims()), &ours.trusted())), "ear.signature");
        let both = ours.trusted().with_key(theirs.key());
        verify(&theirs.token(&claims()), &both).unwrap();
        assert_eq!(
            code(verify(&ours.token(&claims()), &TrustedKeys::none(3600))),
            "ear.no_key"
        );
    }
}

/// Trustee writes its own key into every header. A verifier that takes it from there believes anybody.
#[test]
fn a_key_in_the_header_is_never_trusted() {
    let (ours, theirs) = (Signer::p256(), Signer::p256());
    for member in ["jwk", "x5c", "x5u", "jku", "kid"] {
        let value = match member {
            "jwk" => theirs.jwk(),
            "x5c" => json!(["MIIB"]),
            "kid" => json!("https://attacker.example/jwks.json"),
            _ => json!("https://attacker.example/jwks.json"),
        };
        let header = json!({"alg": "ES256", "typ": "JWT", member: value});
        let forged = theirs.token_with(&header, &claims().to_string());
        assert_eq!(code(verify(&forged, &ours.trusted())), "ear.signature", "{member}");
        assert_eq!(
            code(verify(&forged, &TrustedKeys::none(3600))),
            "ear.no_key",
            "{member} with no key configured"
        );
        let genuine = ours.token_with(&header, &claims().to_string());
        verify(&genuine, &ours.trusted()).unwrap_or_else(|e| panic!("{member} is passed over: {e}"));
    }
}

#[test]
fn the_token_does_not_choose_its_algorithm() {
    let ours = Signer::p256();
    let with = |header: Value| ours.token_with(&header, &claims().to_string());
    for alg in [
        "none", "None", "HS256", "HS512", "RS256", "PS256", "EdDSA", "ES512", "ES256K", "es256", "",
    ] {
        assert_eq!(
            code(verify(&with(json!({"alg": alg})), &ours.trusted())),
            "ear.alg",
            "{alg}"
        );
    }
    let unsigned = format!(
        "{}.{}.",
        b64(br#"{"alg":"none"}"#),
        b64(claims().to_string().as_bytes())
    );
    assert_eq!(
        code(verify(unsigned.as_bytes(), &ours.trusted())),
        "ear.alg",
        "unsigned"
    );
    let stripped = format!(
        "{}.{}.",
        b64(br#"{"alg":"ES256"}"#),
        b64(claims().to_string().as_bytes())
    );
    assert_eq!(
        code(verify(stripped.as_bytes(), &ours.trusted())),
        "ear.signature",
        "signature left out"
    );
    assert_eq!(
        code(verify(&with(json!({"alg": "ES384"})), &ours.trusted())),
        "ear.signature",
        "a signature of another length"
    );
    let other_curve = Signer::p384();
    assert_eq!(
        code(verify(&other_curve.token(&claims()), &ours.trusted())),
        "ear.no_key",
        "no key configured is for ES384"
    );
    assert_eq!(
        code(verify(&with(json!({"typ": "JWT"})), &ours.trusted())),
        "ear.header",
        "no algorithm"
    );
    assert_eq!(
        code(verify(&with(json!({"alg": "ES256", "crit": ["exp"]})), &ours.trusted())),
        "ear.extension"
    );
    assert_eq!(
        code(verify(&with(json!({"alg": "ES256", "b64": false})), &ours.trusted())),
        "ear.extension"
    );
    let twice = format!(
        "{}.{}.{}",
        b64(br#"{"alg":"none","alg":"ES256"}"#),
        b64(claims().to_string().as_bytes()),
        b64(&[0; 64])
    );
    assert_eq!(
        code(verify(twice.as_bytes(), &ours.trusted())),
        "ear.header",
        "an algorithm twice"
    );
}

#[test]
fn tokens_count_for_their_time_and_no_longer_than_the_configured_age() {
    let ours = Signer::p256();
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut claims = claims();
        edit(&mut claims);
        code(verify(&ours.token(&claims), &ours.trusted()))
    };
    let without = |member: &'static str| move |c: &mut Value| drop(c.as_object_mut().unwrap().remove(member));
    type Edit<'a> = &'a dyn Fn(&mut Value);
    let cases: [(&str, Edit<'_>, &str); 12] = [
        ("as it is", &|_| {}, "accepted"),
        ("last second", &|c| c["exp"] = json!(NOW.0), "accepted"),
        ("over", &|c| c["exp"] = json!(NOW.0 - 1), "ear.expired"),
        ("no end: the age counts", &without("exp"), "accepted"),
        (
            "no end, too old",
            &|c| {
                without("exp")(c);
                c["iat"] = json!(NOW.0 - 3601);
            },
            "ear.expired",
        ),
        (
            "a far end, too old",
            &|c| {
                c["exp"] = json!(u64::MAX);
                c["iat"] = json!(NOW.0 - 3601);
            },
            "ear.expired",
        ),
        ("a minute ahead", &|c| c["iat"] = json!(NOW.0 + 60), "accepted"),
        (
            "more than a minute ahead",
            &|c| c["iat"] = json!(NOW.0 + 61),
            "ear.not_yet_valid",
        ),
        ("not before", &|c| c["nbf"] = json!(NOW.0 + 61), "ear.not_yet_valid"),
        ("no iat", &without("iat"), "ear.claims"),
        ("a fraction", &|c| c["iat"] = json!(1.5), "ear.claims"),
        ("a negative", &|c| c["iat"] = json!(-1), "ear.claims"),
    ];
    for (why, edit, expected) in cases {
        assert_eq!(edited(edit), expected, "{why}");
    }
}

#[test]
fn claims_are_of_a_listed_profile_for_the_caller_and_consistent() {
    let ours = Signer::p256();
    let with = |trusted: TrustedKeys, edit: &dyn Fn(&mut Value)| {
        let mut claims = claims();
        edit(&mut claims);
        code(verify(&ours.token(&claims), &trusted))
    };
    let edited = |edit: &dyn Fn(&mut Value)| with(ours.trusted(), edit);
    assert_eq!(
        edited(&|c| c["eat_profile"] = json!("tag:example,2026:x")),
        "ear.profile"
    );
    assert_eq!(
        edited(&|c| drop(c.as_object_mut().unwrap().remove("eat_profile"))),
        "ear.claims"
    );
    assert_eq!(with(ours.trusted().with_profiles(vec![]), &|_| {}), "ear.profile");
    assert_eq!(
        with(ours.trusted().with_issuer("trustee".into()), &|_| {}),
        "ear.issuer"
    );
    assert_eq!(
        with(ours.trusted().with_issuer("trustee".into()), &|c| c["iss"] =
            json!("trustee")),
        "accepted"
    );
    assert_eq!(
        edited(&|c| c["aud"] = json!("somebody")),
        "ear.audience",
        "meant for somebody, and we are nobody"
    );
    let us = || ours.trusted().with_audience("us".into());
    assert_eq!(with(us(), &|c| c["aud"] = json!(["them", "us"])), "accepted");
    assert_eq!(with(us(), &|c| c["aud"] = json!(["them"])), "ear.audience");
    let vector = |c: &mut Value, claim: &str, value: i64| {
        c["submods"]["cpu0"]["ear.trustworthiness-vector"][claim] = json!(value);
    };
    assert_eq!(
        edited(&|c| vector(c, "hardware", 97)),
        "ear.status",
        "affirming with contraindicated hardware"
    );
    assert_eq!(edited(&|c| vector(c, "hardware", 32)), "ear.status");
    assert_eq!(
        edited(&|c| vector(c, "hardware", 1)),
        "ear.status",
        "no claim is no affirmation"
    );
    assert_eq!(edited(&|c| vector(c, "file-system", 0)), "accepted");
    assert_eq!(
        edited(&|c| vector(c, "hardware", 200)),
        "ear.claims",
        "no value of AR4SI"
    );
    assert_eq!(edited(&|c| vector(c, "colour", 2)), "ear.claims");
    assert_eq!(
        edited(&|c| c["submods"]["cpu0"]["ear.status"] = json!("good")),
        "ear.claims"
    );
    assert_eq!(
        edited(&|c| c["submods"]["cpu0"]["ear.status"] = json!(2)),
        "accepted",
        "the number of CBOR"
    );
    assert_eq!(edited(&|c| c["submods"] = json!({})), "ear.claims");
    let worse = {
        let mut claims = claims();
        claims["submods"]["gpu0"] = json!({"ear.status": "warning"});
        verify(&ours.token(&claims), &ours.trusted()).unwrap()
    };
    assert_eq!(worse.status(), TrustTier::Warning, "the worst submodule counts");
    let text = claims()
        .to_string()
        .replacen("\"ear.status\"", "\"ear.status\":\"none\",\"ear.status\"", 1);
    let doubled = ours.token_with(&json!({"alg": "ES256"}), &text);
    assert_eq!(
        code(verify(&doubled, &ours.trusted())),
        "ear.claims",
        "a member named twice"
    );
}

#[test]
fn a_token_has_one_spelling() {
    let ours = Signer::p256();
    let token = String::from_utf8(ours.token(&claims())).unwrap();
    for (bad, why) in [
        (format!("{token}."), "a fourth part"),
        (format!("{token}="), "padding"),
        (format!(" {token}"), "a space"),
        (format!("{token}\n"), "a line end"),
        (token.replacen('.', "", 1), "two parts"),
        (String::new(), "nothing"),
    ] {
        assert_eq!(code(verify(bad.as_bytes(), &ours.trusted())), "ear.form", "{why}");
    }
    assert_eq!(
        code(verify(&vec![b'a'; (512 << 10) + 1], &ours.trusted())),
        "ear.too_large"
    );
}

#[test]
fn keys_are_public_keys_on_two_curves() {
    let ours = Signer::p256();
    let mut private = ours.jwk();
    private["d"] = json!("AA");
    let mut short = ours.jwk();
    short["x"] = json!("AA");
    let mut other = ours.jwk();
    other["alg"] = json!("ES384");
    for (jwk, why) in [
        (private, "a private key"),
        (short, "a short coordinate"),
        (other, "another algorithm"),
        (json!({"kty": "oct", "k": "AA"}), "a symmetric key"),
        (
            json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}),
            "another curve",
        ),
    ] {
        assert_eq!(
            code(TrustedKey::from_jwk(jwk.to_string().as_bytes())),
            "ear.key",
            "{why}"
        );
    }
    assert_eq!(code(TrustedKey::from_spki(&[0x30; 91])), "ear.key");
    assert_eq!(code(TrustedKey::ml_dsa_65(&[0; 1951])), "ear.key");
    let key = SigningKey::<MlDsa65>::from_seed(&[1; 32]).unwrap();
    TrustedKey::ml_dsa_65(key.verifying_key().as_bytes()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), claims in "\\PC{0,80}") {
        let ours = Signer::p256();
        let _ = verify(&bytes, &ours.trusted());
        let _ = verify(&ours.token_with(&json!({"alg": "ES256"}), &claims), &ours.trusted());
        let _ = TrustedKey::from_jwk(&bytes);
        let _ = TrustedKey::from_spki(&bytes);
        let _ = hanzo_verifier::corim::SnpCorim::parse(&[&[0xd9, 0x01, 0xf5][..], &bytes].concat());
    }
}
