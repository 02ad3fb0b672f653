//! Tokens of identity providers: what counts, and the nearest that does not.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanzo_attestation::UnixTime;
use hanzo_verifier::callers::*;
use serde_json::{Value, json};

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://login.example";

enum Signer {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap())
    }

    fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    fn alg(&self) -> &'static str {
        match self {
            Self::Ed(_) => "EdDSA",
            Self::Ec(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    /// As providers publish it.
    fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(pair.public_key())}),
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256",
                    "x": b64(&point[1..33]), "y": b64(&point[33..]), "x5c": ["AA=="]})
            }
            Self::Rsa(pair) => {
                let public = pair.public_key();
                json!({"kty": "RSA", "kid": kid, "alg": "RS256",
                    "n": b64(public.modulus().big_endian_without_leading_zero()),
                    "e": b64(public.exponent().big_endian_without_leading_zero())})
            }
        }
    }

    fn over(&self, message: &str) -> String {
        let random = SystemRandom::new();
        let signature = match self {
            Self::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Self::Ec(pair) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut out)
                    .unwrap();
                out
            }
        };
        format!("{message}.{}", b64(signature))
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.over(&format!("{}.{}", b64(header.to_string()), b64(claims.to_string())))
    }
}

fn keys(set: &[Value]) -> Result<Vec<IssuerKey>, CallersError> {
    Issuer::keys_of(json!({"keys": set}).to_string().as_bytes())
}

fn issuer(set: &[Value]) -> Issuer {
    Issuer {
        audience: "hanzo".into(),
        issuer: ISSUER.into(),
        keys: keys(set).unwrap(),
        ttl_s_max: 3600,
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "hanzo", "exp": NOW + 60, "nbf": NOW, "iat": NOW - 5, "sub": "u-1", "groups": ["a", "b"]})
}

fn verify(issuers: &[Issuer], token: &str, now: u64) -> Result<Claims, &'static str> {
    verify_token(issuers, token.as_bytes(), UnixTime(now)).map_err(|e| e.code())
}

fn claim(name: &str, value: &str) -> Claim {
    Claim {
        issuer: ISSUER.into(),
        name: name.into(),
        value: value.into(),
    }
}

#[test]
fn tokens_of_each_kind_of_key_count_and_no_changed_one_does() {
    for signer in [Signer::ed(), Signer::ec(), Signer::rsa()] {
        let issuers = [issuer(&[signer.jwk("k1")])];
        let header = json!({"alg": signer.alg(), "kid": "k1", "typ": "JWT"});
        let token = signer.sign(&header, &claims());
        let verified = verify(&issuers, &token, NOW).unwrap();
        assert!(verified.say(&claim("sub", "u-1")) && verified.say(&claim("groups", "b")));
        for (name, value) in [
            ("sub", "u-2"),
            ("sub", "u-"),
            ("groups", "c"),
            ("none", "u-1"),
            ("exp", "1800000060"),
        ] {
            assert!(!verified.say(&claim(name, value)), "{name}");
        }
        let mut foreign = claim("sub", "u-1");
        foreign.issuer = "https://login.example/".into();
        assert!(!verified.say(&foreign), "another issuer's u-1 is somebody else");
        // One character of each part.
        for at in [5, token.find('.').unwrap() + 5, token.len() - 10] {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(verify(&issuers, &changed, NOW), Err("token.not_authentic"), "{at}");
        }
        // The same key under another's name, and another's key under this name.
        let elsewhere = [issuer(&[Signer::ec().jwk("k1"), signer.jwk("k2")])];
        assert_eq!(verify(&elsewhere, &token, NOW), Err("token.not_authentic"));
        assert_eq!(verify(&[], &token, NOW), Err("token.not_authentic"));
    }
}

#[test]
fn the_key_decides_the_algorithm_and_nothing_in_the_header_brings_another() {
    let signer = Signer::ed();
    let issuers = [issuer(&[signer.jwk("k1")])];
    let counts = |header: Value| verify(&issuers, &signer.sign(&header, &claims()), NOW).map(drop);
    assert_eq!(counts(json!({"alg": "EdDSA", "kid": "k1"})), Ok(()));
    assert_eq!(
        counts(json!({"alg": "EdDSA", "kid": "k1", "typ": "application/AT+JWT"})),
        Ok(())
    );
    // What some providers add says nothing.
    assert_eq!(counts(json!({"alg": "EdDSA", "kid": "k1", "x5t": "AA"})), Ok(()));
    for header in [
        json!({"alg": "EdDSA"}),
        json!({"alg": "EdDSA", "kid": "k2"}),
        json!({"alg": "ES256", "kid": "k1"}),
        json!({"alg": "none", "kid": "k1"}),
        json!({"alg": "eddsa", "kid": "k1"}),
        json!({"alg": "HS256", "kid": "k1"}),
        json!({"kid": "k1"}),
        json!({"alg": "EdDSA", "kid": "k1", "crit": ["exp"]}),
        json!({"alg": "EdDSA", "kid": "k1", "b64": false}),
    ] {
        assert_eq!(counts(header.clone()), Err("token.not_authentic"), "{header}");
    }
    for header in [
        json!({"alg": "EdDSA", "kid": "k1", "typ": "logout+jwt"}),
        json!({"alg": "EdDSA", "kid": "k1", "typ": "dpop+jwt"}),
        json!({"alg": "EdDSA", "kid": "k1", "typ": 1}),
    ] {
        assert_eq!(counts(header), Err("token.kind"));
    }
    // HMAC under the public key, which everybody has; nothing at all; a key that the token brings.
    let message = |header: Value| format!("{}.{}", b64(header.to_string()), b64(claims().to_string()));
    let public = URL_SAFE_NO_PAD.decode(signer.jwk("k1")["x"].as_str().unwrap()).unwrap();
    let mac = message(json!({"alg": "HS256", "kid": "k1"}));
    let tag = aws_lc_rs::hmac::sign(
        &aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &public),
        mac.as_bytes(),
    );
    let other = Signer::ec();
    for token in [
        format!("{mac}.{}", b64(tag)),
        format!("{}.", message(json!({"alg": "none", "kid": "k1"}))),
        other.sign(&json!({"alg": "ES256", "kid": "k1", "jwk": other.jwk("k1")}), &claims()),
        other.sign(
            &json!({"alg": "ES256", "kid": "k1", "jku": "https://evil.example/jwks"}),
            &claims(),
        ),
    ] {
        assert_eq!(verify(&issuers, &token, NOW), Err("token.not_authentic"));
    }
}

#[test]
fn what_a_token_has_to_say_and_by_when() {
    let signer = Signer::ed();
    let issuers = [issuer(&[signer.jwk("k1")])];
    let header = json!({"alg": "EdDSA", "kid": "k1"});
    let counts = |change: &dyn Fn(&mut Value), now: u64| {
        let mut claims = claims();
        change(&mut claims);
        verify(&issuers, &signer.sign(&header, &claims), now).map(drop)
    };
    let same = |_: &mut Value| {};
    assert_eq!(counts(&same, NOW), Ok(()));
    assert_eq!(counts(&same, NOW + 59), Ok(()));
    assert_eq!(
        counts(&same, NOW + 60),
        Err("token.over"),
        "exp is the first second too late"
    );
    assert_eq!(counts(&same, NOW - 60), Ok(()), "a provider's clock may be ahead");
    assert_eq!(counts(&same, NOW - 61), Err("token.early"));
    assert_eq!(counts(&|c| c["exp"] = json!(NOW + 3600), NOW), Ok(()));
    assert_eq!(counts(&|c| c["exp"] = json!(NOW + 3601), NOW), Err("token.too_long"));
    assert_eq!(counts(&|c| c["aud"] = json!(["x", "hanzo"]), NOW), Ok(()));
    let without = |name: &'static str| move |c: &mut Value| drop(c.as_object_mut().unwrap().remove(name));
    assert_eq!(counts(&without("nbf"), NOW), Ok(()));
    for (change, code) in [
        (
            &|c: &mut Value| c["iss"] = json!("https://login.example/"),
            "token.not_authentic",
        ),
        (&without("iss"), "token.not_authentic"),
        (&|c| c["aud"] = json!("hanzo2"), "token.audience"),
        (&|c| c["aud"] = json!([["hanzo"]]), "token.audience"),
        (&without("aud"), "token.audience"),
        (&without("exp"), "token.time"),
        (&|c| c["exp"] = json!(NOW as f64 + 30.5), "token.time"),
        (&|c| c["exp"] = json!((NOW + 30).to_string()), "token.time"),
        (&|c| c["exp"] = json!(-1), "token.time"),
        (&|c| c["nbf"] = json!("0"), "token.time"),
        (&|c| c["nbf"] = Value::Null, "token.time"),
        (&|c| c["iat"] = json!(NOW + 61), "token.early"),
        (&|c| c["events"] = json!({}), "token.kind"),
        (&|c| c["cnf"] = json!({"jkt": "x"}), "token.bound"),
    ] as [(&dyn Fn(&mut Value), _); 14]
    {
        assert_eq!(counts(change, NOW), Err(code));
    }
}

#[test]
fn an_address_counts_if_its_issuer_verified_it() {
    let signer = Signer::ed();
    let issuers = [issuer(&[signer.jwk("k1")])];
    let says = |verified: Value| {
        let mut claims = claims();
        claims["email"] = json!("ana@example.org");
        claims["email_verified"] = verified;
        let token = signer.sign(&json!({"alg": "EdDSA", "kid": "k1"}), &claims);
        verify(&issuers, &token, NOW)
            .unwrap()
            .say(&claim("email", "ana@example.org"))
    };
    assert!(says(json!(true)));
    assert!(!says(json!(false)) && !says(json!("true")) && !says(Value::Null));
}

#[test]
fn whatever_is_no_token_is_refused_and_so_is_one_that_says_two_things() {
    let signer = Signer::ed();
    let issuers = [issuer(&[signer.jwk("k1")])];
    let header = json!({"alg": "EdDSA", "kid": "k1"}).to_string();
    let over = |header: &str, claims: &str| signer.over(&format!("{}.{}", b64(header), b64(claims)));
    let good = claims().to_string();
    assert!(verify(&issuers, &over(&header, &good), NOW).is_ok());
    let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let padded = |n: usize| over(&header, &twice(&good, &format!("\"x\":\"{}\"", "x".repeat(n))));
    let room = TOKEN_BYTES_MAX - over(&header, &good).len();
    let fits = (room * 3 / 4) - 16;
    assert!(verify(&issuers, &padded(fits), NOW).is_ok());
    let token = over(&header, &good);
    for wrong in [
        over(&header, &twice(&good, "\"aud\":\"x\"")),
        over(&twice(&header, "\"kid\":\"k2\""), &good),
        over(&header, "[]"),
        over(&header, &good[1..]),
        over(&header, &format!("{good}{good}")),
        padded(fits + 32),
        "a.b.c".into(),
        "..".into(),
        String::new(),
        format!("{token}."),
        format!("{token}="),
        format!(" {token}"),
        token.rsplit_once('.').unwrap().0.to_owned(),
    ] {
        assert_eq!(
            verify(&issuers, &wrong, NOW),
            Err("token.not_authentic"),
            "{}",
            wrong.len()
        );
    }
    assert!(is_token(token.as_bytes()) && !is_token(b"a.b") && !is_token(b"a.b.c.d") && !is_token(b""));
}

#[test]
fn only_public_keys_for_signatures_that_have_names_are_pinned() {
    let of = |set: &[Value]| keys(set).map(|keys| keys.len()).map_err(|e| e.code());
    let ed = Signer::ed().jwk("k1");
    let with = |name: &str, value: Value| {
        let mut key = ed.clone();
        key[name] = value;
        key
    };
    let encrypts = with("use", json!("enc"));
    let other = json!({"kty": "EC", "crv": "P-384", "kid": "k3", "x": "AA", "y": "AA"});
    assert_eq!(
        of(&[Signer::ec().jwk("k2"), ed.clone(), encrypts.clone(), other.clone()]),
        Ok(2)
    );
    let rsa = |bytes: usize, first: u8, e: &str| {
        let mut n = vec![0xff; bytes];
        n[0] = first;
        json!({"kty": "RSA", "kid": "k1", "n": b64(n), "e": e})
    };
    assert_eq!(of(&[rsa(256, 0x80, "AQAB")]), Ok(1));
    for wrong in [
        vec![],
        vec![encrypts],
        vec![other],
        vec![with("kid", Value::Null)],
        vec![with("d", json!("AAAA"))],
        vec![with("alg", json!("ES256"))],
        vec![with("crv", json!("X25519"))],
        vec![with("x", json!("AAAA"))],
        vec![json!({"kty": "oct", "kid": "k1", "k": "AAAA"})],
        vec![rsa(256, 0x7f, "AQAB")],
        vec![rsa(255, 0xff, "AQAB")],
        vec![rsa(256, 0xff, "AQ")],
        vec![rsa(256, 0xff, "AAEAAQ")],
    ] {
        assert_eq!(of(&wrong), Err("callers.key_set"), "{wrong:?}");
    }
    assert_eq!(
        Issuer::keys_of(br#"{"keys":[],"keys":[]}"#).map_err(|e| e.code()),
        Err("callers.key_set")
    );
}

/// The examples of RFC 7515 (A.2, A.3) and RFC 8037 (A.4).
#[test]
fn published_signatures_verify_under_their_keys_and_no_changed_one_does() {
    const MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    const CLAIMS: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    for (jwk, signed, signature) in [
        (
            Jwk::Rsa {
                e: "AQAB".into(),
                n: MODULUS.into(),
            },
            format!("eyJhbGciOiJSUzI1NiJ9.{CLAIMS}"),
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            Jwk::Ec {
                crv: EcCurve::P256,
                x: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU".into(),
                y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0".into(),
            },
            format!("eyJhbGciOiJFUzI1NiJ9.{CLAIMS}"),
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            Jwk::Okp {
                crv: OkpCurve::Ed25519,
                x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into(),
            },
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".into(),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ] {
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(jwk.verifies(signed.as_bytes(), &signature), "{}", jwk.algorithm());
        assert!(!jwk.verifies(format!("{signed}A").as_bytes(), &signature));
        let mut changed = signature.clone();
        changed[40] ^= 1;
        assert!(!jwk.verifies(signed.as_bytes(), &changed));
        assert!(!jwk.verifies(signed.as_bytes(), &signature[1..]));
    }
}
