//! Tokens of identity providers: whose they are, and what a refusal says.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanzo_verifier::callers::{Caller, Claim, Credential, Issuer, IssuerKey, Jwk, Models, OkpCurve};

use crate::access::{Office, caller, name, outcome, table, told};
use crate::double::honest;
use crate::fixture::{NOW, chat, json};

const ISSUER: &str = "https://login.example";

/// An identity provider with one Ed25519 key.
fn provider() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap()
}

pub(crate) fn issuer() -> Issuer {
    Issuer {
        audience: "hanzo".into(),
        issuer: ISSUER.into(),
        keys: vec![IssuerKey {
            jwk: Jwk::Okp {
                crv: OkpCurve::Ed25519,
                x: URL_SAFE_NO_PAD.encode(provider().public_key()),
            },
            kid: "k1".into(),
        }],
        ttl_s_max: 3600,
    }
}

fn token(claims: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k1"}"#);
    let claims = format!(r#"{{"iss":"{ISSUER}","aud":"hanzo",{claims}}}"#);
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = provider().sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn by_claim(id: &str, name: &str, value: &str) -> Caller {
    let mut caller = caller(id, 0);
    caller.credential = Credential::Claim(Claim {
        issuer: ISSUER.into(),
        name: name.into(),
        value: value.into(),
    });
    caller
}

#[tokio::test]
async fn a_token_of_a_pinned_issuer_is_its_callers_and_nobody_elses() {
    let mut ana = by_claim("ana", "sub", "u-1");
    ana.requests_per_min = 3;
    let mut gone = by_claim("gone", "sub", "u-3");
    gone.expires_at = NOW - 1;
    let mut large = by_claim("large", "sub", "u-4");
    large.models = Models::Named(vec![name("large")]);
    let staff = by_claim("staff", "groups", "staff");
    let callers = || {
        vec![
            ana.clone(),
            gone.clone(),
            large.clone(),
            staff.clone(),
            caller("acme", 2),
        ]
    };
    let office = Office::with(honest(), callers()).await;
    let exp = NOW + 60;
    let ask = async |header: &str, shown: String| {
        let request = Request::post("/v1/chat/completions")
            .header("content-type", "application/json")
            .header(header, shown)
            .body(Body::from(chat("")));
        office.guest.send(request.unwrap()).await
    };
    let bearer = |claims: String| format!("Bearer {}", token(&claims));
    let first = ask("authorization", bearer(format!(r#""sub":"u-1","exp":{exp}"#))).await;
    assert_eq!(first.status(), 200);
    assert_eq!(told(first.headers(), "x-ratelimit-remaining-requests"), "2");
    let again = token(&format!(r#""sub":"u-1","exp":{exp},"jti":"2""#));
    let again = ask("x-api-key", again).await;
    assert_eq!(
        told(again.headers(), "x-ratelimit-remaining-requests"),
        "1",
        "one account, whatever the token"
    );
    let refused = ask("authorization", bearer(format!(r#""sub":"u-1","exp":{NOW}"#))).await;
    assert_eq!(
        told(refused.headers(), "www-authenticate"),
        "Bearer error=\"invalid_token\""
    );
    assert_eq!(refused.status(), 401);
    let body = json(refused).await;
    assert_eq!(body["error"]["code"], "invalid_token");
    assert!(
        body["error"]["message"].as_str().unwrap().contains("fetch another"),
        "{body}"
    );
    let expected = |status: u16, code: &str| (status, code.to_owned());
    for (claims, wanted) in [
        (format!(r#""sub":"u-2","exp":{exp}"#), expected(401, "invalid_token")),
        (format!(r#""sub":"u-3","exp":{exp}"#), expected(401, "invalid_token")),
        (format!(r#""sub":"u-4","exp":{exp}"#), expected(404, "model_not_found")),
        (
            format!(r#""sub":"u-9","groups":["staff"],"exp":{exp}"#),
            expected(200, ""),
        ),
        // Two callers' claims in one token.
        (
            format!(r#""sub":"u-1","groups":["staff"],"exp":{exp}"#),
            expected(401, "invalid_token"),
        ),
        (
            format!(r#""sub":"u-1","exp":{}"#, NOW + 3601),
            expected(401, "invalid_token"),
        ),
    ] {
        let answer = ask("authorization", bearer(claims.clone())).await;
        assert_eq!(outcome(answer).await, wanted, "{claims}");
    }
    assert_eq!(office.ask(2, "").await.status(), 200, "keys count beside tokens");
    assert_eq!(office.usage(2).await[0]["account"], "acme");
    // Without its issuer the table has no such caller; a token of yesterday's issuer is nobody's.
    let mut later = table(3, vec![caller("acme", 2)]);
    later.issuers.clear();
    assert_eq!(office.put(later).await.0, 200);
    let answer = ask("authorization", bearer(format!(r#""sub":"u-1","exp":{exp}"#))).await;
    assert_eq!(outcome(answer).await, expected(401, "invalid_token"));
}
