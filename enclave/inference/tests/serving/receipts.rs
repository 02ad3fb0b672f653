//! Receipts of real requests: what they commit to, and who gets them.

use axum::body::Body;
use axum::http::Request;
use hanzo_log::SignedCheckpoint;
use hanzo_log::tile::{decode_entries, decode_hashes};
use hanzo_receipts::{DisclosedReceipt, Outcome};
use hanzo_verifier::receipt::{prove_logged, verify_disclosed};
use http_body_util::BodyExt;

use crate::double::honest;
use crate::fixture::{Guest, NOW, chat, split, text};

fn fetch(id: &str, owner: Option<&str>) -> Request<Body> {
    let mut request = Request::get(format!("/v1/receipts/{id}"));
    if let Some(owner) = owner {
        request = request.header("hanzo-owner", owner);
    }
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_whole_answers_receipt_is_fetched_by_its_owner_alone() {
    let guest = Guest::new(honest());
    let request = chat(r#","temperature":0.7"#);
    let response = guest.ask(&request).await;
    let id = response.headers()["hanzo-receipt-id"].to_str().unwrap().to_owned();
    let body = text(response).await;

    let receipt = text(guest.send(fetch(&id, Some(&"aa".repeat(32)))).await).await;
    let (verified, salts) = verify_disclosed(receipt.as_bytes(), guest.log.keyset()).unwrap();
    verified.check_request(&salts.request, request.as_bytes()).unwrap();
    verified.check_response(&salts.response, body.as_bytes()).unwrap();
    let r = verified.receipt();
    assert_eq!(
        (r.outcome, r.prompt_tokens, r.completion_tokens),
        (Outcome::Complete, 5, 3)
    );
    assert_eq!((r.time, r.simulated, r.tier), (NOW, true, 2));
    assert_eq!(r.sampling.temperature_micros, 700_000);
    assert_eq!(r.id.to_string(), id);

    let mut refusals = Vec::new();
    for (id, owner) in [
        (id.as_str(), Some("bb".repeat(32))),
        (id.as_str(), None),
        (id.as_str(), Some("zz".into())),
        (&"00".repeat(16), Some("aa".repeat(32))),
        ("no-id", Some("aa".repeat(32))),
    ] {
        let response = guest.send(fetch(id, owner.as_deref())).await;
        assert_eq!(response.status(), 404);
        refusals.push(text(response).await);
    }
    assert!(refusals.windows(2).all(|w| w[0] == w[1]), "{refusals:?}");
}

#[tokio::test]
async fn a_streams_receipt_covers_the_raw_frames_before_it() {
    let guest = Guest::new(honest());
    let request = chat(r#","stream":true"#);
    let stream = text(guest.ask(&request).await).await;
    let (committed, receipt, _) = split(&stream);
    let verified = guest.receipts().pop().unwrap();
    assert_eq!(verified.receipt(), &receipt.receipt);
    assert_eq!(verified.receipt().outcome, Outcome::Complete);
    verified
        .check_request(&receipt.salts.request, request.as_bytes())
        .unwrap();
    verified
        .check_response(&receipt.salts.response, committed.as_bytes())
        .unwrap();
    let shorter = &committed[..committed.len() - 1];
    assert!(
        verified
            .check_response(&receipt.salts.response, shorter.as_bytes())
            .is_err()
    );
}

#[tokio::test]
async fn receipts_of_many_requests_are_one_chain() {
    let guest = Guest::new(honest());
    for n in 0..3 {
        guest.ask(&chat(if n == 1 { r#","stream":true"# } else { "" })).await;
        guest.receipts_when(n + 1).await;
    }
    assert_eq!(guest.receipts().len(), 3, "and receipts() checked the chain");
}

#[tokio::test]
async fn an_answer_without_a_durable_receipt_does_not_leave() {
    let guest = Guest::new(honest());
    guest
        .db
        .write(|tx| -> Result<(), hanzo_store::StoreError> {
            Ok(tx.execute_batch(
                "CREATE TRIGGER full BEFORE INSERT ON receipts BEGIN SELECT RAISE(ABORT, 'disk'); END;",
            )?)
        })
        .unwrap();
    let whole = guest.ask(&chat("")).await;
    assert_eq!(whole.status(), 500);
    assert!(!whole.headers().contains_key("hanzo-receipt-id"));
    let body = text(whole).await;
    assert!(
        body.contains("receipt_not_durable") && !body.contains("Paris"),
        "{body}"
    );
    let stream = text(guest.ask(&chat(r#","stream":true"#)).await).await;
    assert!(
        !stream.contains("[DONE]") && !stream.contains("hanzo-receipt"),
        "{stream}"
    );
    assert!(
        stream
            .split_terminator("\n\n")
            .last()
            .unwrap()
            .contains("receipt_not_durable")
    );
    assert!(guest.receipts().is_empty());
}

#[tokio::test]
async fn the_log_is_served_to_anybody_and_a_receipt_brings_its_proof() {
    let guest = Guest::new(honest());
    let response = guest.ask(&chat("")).await;
    let id = response.headers()["hanzo-receipt-id"].to_str().unwrap().to_owned();
    let fetched = text(guest.send(fetch(&id, Some(&"aa".repeat(32)))).await).await;
    let fetched = DisclosedReceipt::from_bytes(fetched.as_bytes()).unwrap();
    let (signed, proof) = (fetched.without_salts(), fetched.log.unwrap());
    let verifier = guest.log.log().verifier();
    let logged = prove_logged(&signed, &proof, verifier).unwrap();
    assert_eq!((logged.index(), logged.checkpoint().size()), (1, 2));

    let get = async |path: &str| guest.send(Request::get(path).body(Body::empty()).unwrap()).await;
    let shown = get("/log/checkpoint").await;
    assert_eq!(shown.headers()["content-type"], "text/plain; charset=utf-8");
    let head = SignedCheckpoint::parse(text(shown).await.as_bytes())
        .unwrap()
        .verify(verifier)
        .unwrap();
    assert_eq!(&head, logged.checkpoint());
    let bundle = get("/log/tile/entries/000.p/2")
        .await
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    let leaves = decode_entries(&bundle, 2).unwrap();
    assert_eq!(leaves[1], signed.to_bytes().unwrap());
    let hashes = get("/log/tile/0/000.p/2")
        .await
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    let hashes = decode_hashes(&hashes, 2).unwrap();
    assert_eq!(hanzo_log::tree::root(&hashes), head.root());
    for none in [
        "tile/0/000.p/3",
        "tile/0/000",
        "tile/0/0",
        "tile/7/000",
        "tile/entries/",
        "tile/../checkpoint",
        "x",
    ] {
        let response = get(&format!("/log/{none}")).await;
        assert_eq!(response.status(), 404, "{none}");
        assert!(text(response).await.contains("not_found"), "{none}");
    }
}
