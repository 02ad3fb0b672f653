//! The ACI view: the same answers under another format's receipts, for the callers whose they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::http::Request;
use hanzo_attestation::{Digest256, Nonce};
use hanzo_inference::{AciReportError, AciServing};
use hanzo_pqc::sign::WitnessVerifyingKey;
use hanzo_receipts::{AciShelf, AciView, ReceiptLog};
use hanzo_verifier::aci::{AciKeyset, verify_aci_receipt};
use serde_json::Value;

use crate::access::{Office, caller, key};
use crate::double::{frame, honest, raw};
use crate::fixture::{Guest, NOW, chat, json, post_to, text};

/// The view of a test's guest. Its report is the challenge, or what befell it.
pub fn view(log: &ReceiptLog, shelf: &Arc<AciShelf>) -> AciServing {
    let view = AciView::open([&[3; 32], &[4; 32]], log.keyset(), log.keyset_digest(), shelf.clone()).unwrap();
    AciServing {
        view: Arc::new(view),
        report: Arc::new(|nonce| {
            Box::pin(async move {
                match nonce {
                    Some(Nonce([0xee, ..])) => Err(AciReportError::Busy),
                    Some(Nonce([0xff, ..])) => Err(AciReportError::Evidence { code: "snp.test" }),
                    Some(nonce) => Ok(format!(r#"{{"nonce":"{nonce}"}}"#).into()),
                    None => Ok(r#"{"nonce":null}"#.into()),
                }
            })
        }),
    }
}

fn get(path: &str, headers: &[(&'static str, String)]) -> Request<Body> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.body(Body::empty()).unwrap()
}

fn mine() -> (&'static str, String) {
    ("hanzo-owner", "aa".repeat(32))
}

fn keyset(guest: &Guest) -> AciKeyset {
    AciKeyset::from_json(guest.aci.as_ref().unwrap().view.keyset()).unwrap()
}

/// Asks, and gives the id in the header, the answer, and the receipt that is fetched under that id.
async fn asked(guest: &Guest, path: &str, body: &str) -> (String, String, Vec<u8>) {
    let response = guest.send(post_to(path, body)).await;
    assert_eq!(response.status(), 200, "{path}");
    let id = response.headers()["x-receipt-id"].to_str().unwrap().to_owned();
    assert_eq!(id, response.headers()["hanzo-receipt-id"].to_str().unwrap());
    assert_eq!(response.headers()["x-aci-version"], "aci/1");
    let digest = format!("sha256:{}", keyset(guest).digest());
    assert_eq!(response.headers()["x-aci-keyset-digest"], digest.as_str());
    let answer = text(response).await;
    let fetched = guest.send(get(&format!("/v1/aci/receipts/{id}"), &[mine()])).await;
    assert_eq!(fetched.status(), 200, "{path}");
    (id, answer, text(fetched).await.into_bytes())
}

#[tokio::test]
async fn whole_and_streamed_answers_have_aci_receipts_over_their_exact_bytes() {
    let guest = Guest::with_aci(honest());
    let stream = chat(r#","stream":true"#);
    for (path, body, prefix) in [
        ("/v1/chat/completions", chat(""), "chatcmpl-"),
        ("/v1/chat/completions", stream.clone(), "chatcmpl-"),
        ("/v1/messages", chat(r#","max_tokens":5"#), "msg_"),
        ("/v1/messages", chat(r#","max_tokens":5,"stream":true"#), "msg_"),
        ("/v1/responses", r#"{"model":"smollm2","input":"hi"}"#.into(), "resp_"),
        (
            "/v1/responses",
            r#"{"model":"smollm2","input":"hi","stream":true}"#.into(),
            "resp_",
        ),
    ] {
        let (id, answer, receipt) = asked(&guest, path, &body).await;
        let verified = verify_aci_receipt(&receipt, &keyset(&guest)).unwrap();
        verified.check_request(body.as_bytes()).unwrap();
        verified.check_response(answer.as_bytes()).unwrap();
        // Of a stream the end is in it, which ours leaves out.
        let cut = &answer.as_bytes()[..answer.len() - 1];
        assert_eq!(verified.check_response(cut).unwrap_err().code(), "aci.body.response");
        let said = verified.receipt();
        assert_eq!((said.endpoint.as_str(), said.method.as_str()), (path, "POST"));
        assert_eq!((said.model.as_deref(), said.served_at), (Some("smollm2"), NOW));
        assert_eq!((said.simulated, &said.receipt_id), (Some(true), &id));
        assert_eq!(verified.forwarded_unchanged(), None);
        // The answer's own id names it too.
        let chat_id = said.chat_id.clone().unwrap();
        assert!(
            chat_id == format!("{prefix}{id}") && answer.contains(&chat_id),
            "{chat_id}"
        );
        let again = guest.send(get(&format!("/v1/aci/receipts/{chat_id}"), &[mine()])).await;
        assert_eq!(text(again).await.into_bytes(), receipt);
        // The signed text of older clients is over the same hashes, and says simulated in what is signed.
        let signed = json(
            guest
                .send(get(&format!("/v1/signature/{chat_id}?signing_algo=ed25519"), &[mine()]))
                .await,
        )
        .await;
        let expected = format!(
            "simulated:smollm2:{}:{}",
            Digest256::of(body.as_bytes()),
            Digest256::of(answer.as_bytes())
        );
        assert_eq!(signed["text"], expected);
        assert_eq!(
            (&signed["signing_algo"], &signed["simulated"]),
            (&"ed25519".into(), &Value::Bool(true))
        );
        let hex = |member: &str| hex::decode(signed[member].as_str().unwrap()).unwrap();
        let signer = WitnessVerifyingKey::from_bytes(&hex("signing_address")).unwrap();
        signer.verify(expected.as_bytes(), &hex("signature")).unwrap();
        signer.verify(expected[10..].as_bytes(), &hex("signature")).unwrap_err();
        let named: Value = serde_json::from_slice(guest.aci.as_ref().unwrap().view.keyset()).unwrap();
        assert_eq!(
            named["receipt_signing_keys"][1]["public_key"],
            signed["signing_address"]
        );
    }
    assert_eq!(guest.receipts().len(), 6, "and each has ours");
}

#[tokio::test]
async fn an_aci_receipt_is_fetched_by_its_owner_alone_and_every_refusal_looks_alike() {
    let guest = Guest::with_aci(honest());
    let (id, ..) = asked(&guest, "/v1/chat/completions", &chat("")).await;
    let other = ("hanzo-owner", "bb".repeat(32));
    let bearer = ("authorization", "Bearer anything".to_owned());
    for route in ["/v1/aci/receipts", "/v1/signature"] {
        let mut refusals = Vec::new();
        for (id, headers) in [
            (id.clone(), vec![other.clone()]),
            (id.clone(), vec![]),
            // Whoever need not say who it is has no credential that counts.
            (id.clone(), vec![bearer.clone()]),
            (id.clone(), vec![("hanzo-owner", "zz".into())]),
            ("00".repeat(16), vec![mine()]),
            ("none".into(), vec![mine()]),
            (format!("chatcmpl-{}", "00".repeat(16)), vec![mine()]),
            (format!("x-{id}"), vec![mine()]),
        ] {
            let answer = guest.send(get(&format!("{route}/{id}"), &headers)).await;
            assert_eq!(answer.status(), 404, "{route} {id}");
            refusals.push(text(answer).await);
        }
        assert!(refusals.windows(2).all(|w| w[0] == w[1]), "{refusals:?}");
    }
    let other = guest
        .send(get(&format!("/v1/signature/{id}?signing_algo=ecdsa"), &[mine()]))
        .await;
    assert_eq!(json(other).await["error"]["param"], "signing_algo");
    // Ours is there without it, and the same id is fetched as ours.
    assert_eq!(
        guest.send(get(&format!("/v1/receipts/{id}"), &[mine()])).await.status(),
        200
    );
}

#[tokio::test]
async fn where_nobody_owns_an_answer_or_it_was_not_whole_there_is_no_aci_receipt() {
    let guest = Guest::with_aci(honest());
    let ownerless = Request::post("/v1/chat/completions")
        .header("content-type", "application/json")
        .body(Body::from(chat("")))
        .unwrap();
    assert_eq!(guest.send(ownerless).await.status(), 200);
    assert!(guest.shelf.is_empty());
    drop(guest);

    let guest = Guest::with_aci(raw(&[frame("Par")]));
    let answer = guest
        .send(post_to("/v1/chat/completions", &chat(r#","stream":true"#)))
        .await;
    let id = answer.headers()["x-receipt-id"].to_str().unwrap().to_owned();
    assert!(text(answer).await.contains("error"));
    assert_eq!(guest.receipts_when(1).await.len(), 1, "ours says failed");
    assert!(guest.shelf.is_empty());
    let fetched = guest.send(get(&format!("/v1/aci/receipts/{id}"), &[mine()])).await;
    assert_eq!(fetched.status(), 404);
}

#[tokio::test]
async fn reports_answer_the_challenge_and_say_why_there_is_none() {
    let guest = Guest::with_aci(honest());
    let report = async |query: &str| guest.send(get(&format!("/v1/aci/attestation{query}"), &[])).await;
    let nonce = "5a".repeat(32);
    assert_eq!(json(report(&format!("?nonce={nonce}")).await).await["nonce"], nonce);
    assert_eq!(json(report("").await).await["nonce"], Value::Null);
    for (query, status, code) in [
        ("?nonce=".to_owned(), 400, "invalid_value"),
        (format!("?nonce={}", "5A".repeat(32)), 400, "invalid_value"),
        (format!("?nonce={}", "5a".repeat(31)), 400, "invalid_value"),
        (format!("?nonce={nonce}&x=1"), 400, "invalid_value"),
        ("?x=1".to_owned(), 400, "invalid_value"),
        (format!("?nonce={}", "ee".repeat(32)), 503, "evidence.busy"),
        (format!("?nonce={}", "ff".repeat(32)), 503, "snp.test"),
    ] {
        let answer = report(&query).await;
        assert_eq!(answer.status(), status, "{query}");
        assert_eq!(json(answer).await["error"]["code"], code, "{query}");
    }
    // Where the configuration does not ask for it there is no such view, and no answer names one.
    let plain = Guest::new(honest());
    for path in ["/v1/aci/attestation", "/v1/aci/receipts/x", "/v1/signature/x"] {
        let answer = plain.send(get(path, &[mine()])).await;
        assert_eq!(answer.status(), 404);
        assert!(!answer.headers().contains_key("x-aci-version"));
        assert!(text(answer).await.contains("aci = "), "{path}");
    }
    let answer = plain.ask(&chat("")).await;
    assert!(!answer.headers().contains_key("x-receipt-id"));
}

#[tokio::test]
async fn a_callers_key_fetches_what_it_asked_for_and_no_other_key_does() {
    let office = Office::with(honest(), vec![caller("acme", 1), caller("umbrella", 2)]).await;
    let guest = &office.guest;
    let shown = |byte: u8| ("authorization", format!("Bearer {}", key(byte).text().as_str()));
    let (name, value) = shown(1);
    let body = chat("");
    let asked = Request::post("/v1/chat/completions")
        .header("content-type", "application/json")
        .header(name, value)
        .body(Body::from(body.clone()))
        .unwrap();
    let answer = guest.send(asked).await;
    assert_eq!(answer.status(), 200);
    let id = answer.headers()["x-receipt-id"].to_str().unwrap().to_owned();
    let path = format!("/v1/aci/receipts/{id}");
    let fetched = guest.send(get(&path, &[shown(1)])).await;
    assert_eq!(fetched.status(), 200);
    let verified = verify_aci_receipt(text(fetched).await.as_bytes(), &keyset(guest)).unwrap();
    verified.check_request(body.as_bytes()).unwrap();
    for (headers, status) in [
        (vec![shown(2)], 404),
        (vec![shown(3)], 401),
        (vec![], 401),
        (vec![("hanzo-owner", "aa".repeat(32))], 401),
        (vec![shown(1), ("hanzo-owner", "aa".repeat(32))], 404),
    ] {
        assert_eq!(guest.send(get(&path, &headers)).await.status(), status, "{headers:?}");
    }
    let plain = ("x-api-key", key(1).text().as_str().to_owned());
    assert_eq!(
        guest.send(get(&path, &[plain])).await.status(),
        200,
        "the same key in the other header"
    );
}

#[tokio::test]
async fn the_view_that_follows_gives_what_was_kept_and_time_takes_it() {
    let guest = Guest::with_aci(honest());
    let (id, _, receipt) = asked(&guest, "/v1/chat/completions", &chat("")).await;
    let clock = Arc::new(AtomicU64::new(NOW));
    let read = clock.clone();
    let next = guest.served_again(Some(view(&guest.log, &guest.shelf)), move || {
        read.load(Ordering::SeqCst)
    });
    let fetch = async || {
        let request = get(&format!("/v1/aci/receipts/{id}"), &[mine()]);
        tower::ServiceExt::oneshot(next.clone(), request).await.unwrap()
    };
    assert_eq!(text(fetch().await).await.into_bytes(), receipt);
    clock.store(NOW + hanzo_receipts::KEPT_S, Ordering::SeqCst);
    assert_eq!(fetch().await.status(), 200, "its last second");
    clock.store(NOW + hanzo_receipts::KEPT_S + 1, Ordering::SeqCst);
    assert_eq!(fetch().await.status(), 404);
    assert!(guest.shelf.is_empty());
}
