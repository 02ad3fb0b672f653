//! Signed requests: taken once, for this guest, as they were signed.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::body::Body;
use axum::http::Request;
use hanzo_attestation::name::Name;
use hanzo_pqc::dsa::{MlDsa65, SigningKey};
use hanzo_verifier::callers::{Credential, RequestAlgorithm, RequestKeys, RequestLine, content_digest};

use crate::access::{Office, caller, outcome, table, told};
use crate::double::honest;
use crate::fixture::{NOW, chat};

/// A caller's two keys, without what keeps them.
struct TestSigner(Ed25519KeyPair, SigningKey<MlDsa65>);

impl TestSigner {
    fn new(ed25519: [u8; 32], ml_dsa_65: [u8; 32]) -> Self {
        let classical = Ed25519KeyPair::from_seed_unchecked(&ed25519).unwrap();
        Self(classical, SigningKey::from_seed(&ml_dsa_65).unwrap())
    }

    fn keys(&self) -> RequestKeys {
        RequestKeys {
            ed25519: Some(hex::encode(self.0.public_key())),
            ml_dsa_65: Some(hex::encode(self.1.verifying_key().as_bytes())),
        }
    }

    fn sign(&self, line: &RequestLine<'_>, created: u64, nonce: [u8; 16]) -> (String, String) {
        let both = [RequestAlgorithm::Ed25519, RequestAlgorithm::MlDsa65];
        let id = Name::new("signs").unwrap();
        line.sign(&id, created, nonce, &both, |algorithm, message| match algorithm {
            RequestAlgorithm::Ed25519 => Ok(self.0.sign(message).as_ref().to_vec()),
            RequestAlgorithm::MlDsa65 => self.1.sign(message),
        })
        .unwrap()
    }
}

fn request_signer() -> TestSigner {
    TestSigner::new([5; 32], [6; 32])
}

/// A signed request, and what was signed of it.
struct Signed {
    method: &'static str,
    path: &'static str,
    body: String,
    keyset: String,
    created: u64,
    nonce: u8,
}

impl Signed {
    fn chat(office: &Office) -> Self {
        Self {
            method: "POST",
            path: "/v1/chat/completions",
            body: chat(""),
            keyset: office.guest.keyset_digest().to_string(),
            created: NOW,
            nonce: 1,
        }
    }

    fn request(&self) -> Request<Body> {
        let digest = content_digest(self.body.as_bytes());
        let (path, query) = self
            .path
            .split_once('?')
            .map_or((self.path, None), |(p, q)| (p, Some(q)));
        let line = RequestLine {
            method: self.method,
            path,
            query,
            content_digest: &digest,
            keyset: &self.keyset,
        };
        let (input, signature) = request_signer().sign(&line, self.created, [self.nonce; 16]);
        Request::builder()
            .method(self.method)
            .uri(self.path)
            .header("content-type", "application/json")
            .header("content-digest", &digest)
            .header("hanzo-keyset", &self.keyset)
            .header("signature-input", input)
            .header("signature", signature)
            // A program's own key says nothing beside a signature.
            .header("authorization", "Bearer unused")
            .body(Body::from(self.body.clone()))
            .unwrap()
    }
}

#[tokio::test]
async fn a_signed_request_is_its_callers_for_this_guest_and_once() {
    let mut signs = caller("signs", 0);
    signs.credential = Credential::RequestKeys(request_signer().keys());
    signs.requests_per_min = 60;
    let office = Office::with(honest(), vec![signs.clone(), caller("acme", 2)]).await;
    let send = async |request: Request<Body>| outcome(office.guest.send(request).await).await;
    let refused = |code: &str| (401, code.to_owned());
    let first = Signed::chat(&office);
    let answer = office.guest.send(first.request()).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(told(answer.headers(), "x-ratelimit-remaining-requests"), "59");
    assert_eq!(send(first.request()).await, refused("request.replayed"));
    let with = |nonce: u8, change: &dyn Fn(&mut Signed)| {
        let mut signed = Signed {
            nonce,
            ..Signed::chat(&office)
        };
        change(&mut signed);
        signed
    };
    assert_eq!(send(with(2, &|_| {}).request()).await.0, 200);
    assert_eq!(send(with(3, &|s| s.created = NOW - 120).request()).await.0, 200);
    assert_eq!(
        send(with(4, &|s| s.created = NOW - 121).request()).await,
        refused("request.time")
    );
    assert_eq!(
        send(with(5, &|s| s.created = NOW + 31).request()).await,
        refused("request.time")
    );
    assert_eq!(
        send(with(6, &|s| s.keyset = "00".repeat(48)).request()).await,
        refused("request.keyset")
    );
    // What arrives is not what was signed.
    let changed = async |change: &dyn Fn(&mut Request<Body>), nonce: u8| {
        let mut request = with(nonce, &|_| {}).request();
        change(&mut request);
        send(request).await
    };
    let body = async |nonce: u8| changed(&|r| *r.body_mut() = Body::from(chat(r#","seed":1"#)), nonce).await;
    assert_eq!(body(7).await, refused("request.digest"));
    let path = |r: &mut Request<Body>| *r.uri_mut() = "/v1/completions".parse().unwrap();
    assert_eq!(changed(&path, 8).await, refused("request.nobody"));
    let query = |r: &mut Request<Body>| *r.uri_mut() = "/v1/chat/completions?a=1".parse().unwrap();
    assert_eq!(changed(&query, 8).await, refused("request.nobody"));
    let digest = |r: &mut Request<Body>| {
        let other = content_digest(b"x").parse().unwrap();
        r.headers_mut().insert("content-digest", other);
    };
    assert_eq!(changed(&digest, 8).await, refused("request.nobody"));
    let renamed = |r: &mut Request<Body>| {
        let input = r.headers()["signature-input"]
            .to_str()
            .unwrap()
            .replace("\"signs\"", "\"acme\"");
        r.headers_mut().insert("signature-input", input.parse().unwrap());
    };
    assert_eq!(
        changed(&renamed, 8).await,
        refused("request.nobody"),
        "a caller without such keys"
    );
    let dropped = |r: &mut Request<Body>| drop(r.headers_mut().remove("content-digest"));
    assert_eq!(changed(&dropped, 8).await, refused("request.form"));
    let doubled = |r: &mut Request<Body>| {
        r.headers_mut()
            .append("content-digest", "sha-256=:AA==:".parse().unwrap());
    };
    assert_eq!(changed(&doubled, 8).await, refused("request.form"));
    let unsigned = |r: &mut Request<Body>| drop(r.headers_mut().remove("signature"));
    assert_eq!(changed(&unsigned, 8).await, refused("request.form"));
    // Nothing that was refused for its signature used the nonce.
    assert_eq!(changed(&|_| {}, 8).await.0, 200);
    // Without a body the digest is of none.
    let get = |nonce: u8, body: &str| Signed {
        method: "GET",
        path: "/v1/models?limit=1",
        body: body.into(),
        ..with(nonce, &|_| {})
    };
    assert_eq!(send(get(9, "").request()).await.0, 200);
    assert_eq!(send(get(10, "x").request()).await, refused("request.digest"));
    // Off the table.
    assert_eq!(office.put(table(3, vec![caller("acme", 2)])).await.0, 200);
    assert_eq!(send(with(11, &|_| {}).request()).await, refused("request.nobody"));
}
