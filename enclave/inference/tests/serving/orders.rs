//! Orders of administrators: what they take away stays away, and nobody else's words count.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hanzo_attestation::Digest384;
use hanzo_attestation::config::PinnedSigner;
use hanzo_inference::{AccessOptions, EngineEndpoint, ServingOptions, ServingState, router};
use hanzo_pqc::sign::{SignatureSuite, SigningKeys};
use hanzo_receipts::Accounts;
use hanzo_verifier::order::{Action, Order, OrderPurpose};
use hanzo_verifier::receipt::Leaf;

use crate::access::{Office, caller, key, name, outcome, table};
use crate::double::honest;
use crate::fixture::{Guest, NOW, chat, json, limits, post};

fn admin(byte: u8) -> SigningKeys {
    SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[byte; 64]).unwrap()
}

pub(crate) fn pinned() -> PinnedSigner {
    let public = admin(5).verifying_keys().clone();
    PinnedSigner {
        suite: public.suite().name().into(),
        ml_dsa: public.ml_dsa_hex(),
        ed25519: public.ed25519_hex(),
    }
}

fn unload(sequence: u64, guest: &Guest) -> Order {
    order(
        sequence,
        guest.keyset_digest(),
        Action::UnloadModel { model: name("smollm2") },
    )
}

fn revoke(sequence: u64, guest: &Guest, id: &str) -> Order {
    order(sequence, guest.keyset_digest(), Action::RevokeCaller { id: name(id) })
}

fn order(sequence: u64, keyset_digest: Digest384, action: Action) -> Order {
    Order {
        action,
        issued_at: NOW,
        keyset_digest,
        nonce: "ab".repeat(32),
        operator: name("example"),
        purpose: OrderPurpose::V1,
        sequence,
    }
}

fn signed(order: Order, by: u8) -> Vec<u8> {
    let signed = order.sign(|domain, bytes| admin(by).sign(domain, bytes)).unwrap();
    signed.to_bytes().unwrap()
}

fn to_orders(document: Vec<u8>) -> Request<Body> {
    Request::post("/v1/orders")
        .header("content-type", "application/json")
        .body(Body::from(document))
        .unwrap()
}

async fn bring(guest: &Guest, document: Vec<u8>) -> (u16, String) {
    outcome(guest.send(to_orders(document)).await).await
}

/// Orders among the leaves.
fn logged(guest: &Guest) -> usize {
    let log = guest.log.log();
    let head = log.head().unwrap();
    let tiles = hanzo_log::tile::of_level(hanzo_log::tile::Kind::Entries, head.size);
    tiles
        .into_iter()
        .map(|tile| {
            let bytes = log.tile(&tile).unwrap().unwrap();
            let leaves = hanzo_log::tile::decode_entries(&bytes, tile.width).unwrap();
            let orders = leaves
                .iter()
                .filter(|leaf| matches!(Leaf::parse(leaf).unwrap(), Leaf::Order(_)));
            orders.count()
        })
        .sum()
}

/// The guest's next boot over the same store, and which engines it ended.
fn again(guest: &Guest, access: AccessOptions, administrators: Vec<PinnedSigner>) -> (axum::Router, Vec<String>) {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let heard = ended.clone();
    let state = ServingState::new(ServingOptions {
        receipts: guest.log.clone(),
        aci: None,
        engines: vec![EngineEndpoint {
            model: name("smollm2"),
            socket: guest.engine.socket.clone(),
            context_tokens: 64,
            callers: None,
            on_demand: false,
        }],
        open: crate::fixture::opened(guest.engine.socket.clone(), Arc::default()),
        limits: limits(),
        queue: None,
        access,
        administrators,
        operator: name("example"),
        unload: Arc::new(move |model| heard.lock().unwrap().push(model.to_string())),
        uptime: Arc::new(|| Duration::ZERO),
        clock: Arc::new(|| hanzo_attestation::UnixTime(NOW)),
        random: Arc::new(|out| {
            out.fill(7);
            true
        }),
    });
    let app = router(state.unwrap());
    let ended = ended.lock().unwrap().clone();
    (app, ended)
}

#[tokio::test]
async fn an_unloaded_model_is_served_no_more_and_its_engine_ends_in_this_boot_and_the_next() {
    let guest = Guest::new(honest());
    let (before, ended) = again(&guest, AccessOptions::Anybody, vec![pinned()]);
    assert!(ended.is_empty());
    drop(before);
    assert_eq!(guest.ask(&chat("")).await.status(), 200);
    assert_eq!(bring(&guest, signed(unload(7, &guest), 5)).await, (200, String::new()));
    assert_eq!(*guest.unloaded.lock().unwrap(), ["smollm2"]);
    assert_eq!(
        outcome(guest.ask(&chat("")).await).await,
        (404, "model_not_found".into())
    );
    let models = guest
        .send(Request::get("/v1/models").body(Body::empty()).unwrap())
        .await;
    assert_eq!(json(models).await["data"].as_array().unwrap().len(), 0);
    assert_eq!(logged(&guest), 1);
    // The next boot reads it out of the log.
    let (app, ended) = again(&guest, AccessOptions::Anybody, vec![]);
    assert_eq!(ended, ["smollm2"]);
    let answer = tower::ServiceExt::oneshot(app, post(&chat(""))).await.unwrap();
    assert_eq!(outcome(answer).await, (404, "model_not_found".into()));
}

#[tokio::test]
async fn what_an_order_takes_from_a_caller_no_table_gives_back() {
    let office = Office::with(honest(), vec![caller("acme", 1), caller("beta", 2)]).await;
    for byte in [1, 2] {
        assert_eq!(office.ask(byte, "").await.status(), 200);
    }
    let done = bring(&office.guest, signed(revoke(1, &office.guest, "acme"), 5)).await;
    assert_eq!(done, (200, String::new()));
    assert_eq!(outcome(office.ask(1, "").await).await, (401, "invalid_api_key".into()));
    assert_eq!(office.ask(2, "").await.status(), 200);
    assert_eq!(
        office.put(table(3, vec![caller("acme", 1), caller("beta", 2)])).await.0,
        200
    );
    assert_eq!(outcome(office.ask(1, "").await).await, (401, "invalid_api_key".into()));
    // Lowered: of 60 a minute, three were asked for; now there is one in all.
    let lower = |sequence, most| {
        let lowered = Action::LowerCaller {
            concurrent_requests: 4,
            id: name("beta"),
            requests_per_min: most,
            tokens_per_min: 60_000,
        };
        signed(order(sequence, office.guest.keyset_digest(), lowered), 5)
    };
    assert_eq!(bring(&office.guest, lower(2, 1)).await.0, 200);
    let limit = |response: axum::http::Response<Body>| {
        let limit = response.headers()["x-ratelimit-limit-requests"]
            .to_str()
            .unwrap()
            .to_owned();
        limit
    };
    assert_eq!(limit(office.ask(2, "").await), "1");
    // A higher one lowers nothing, and gives nothing back; nor does a table.
    assert_eq!(bring(&office.guest, lower(3, 1_000)).await.0, 200);
    let mut more = caller("beta", 2);
    more.requests_per_min = 1_000;
    assert_eq!(office.put(table(4, vec![more])).await.0, 200);
    assert_eq!(limit(office.ask(2, "").await), "1");
    assert_eq!(logged(&office.guest), 3);
    // The next boot, with the table that the store kept.
    let access = office.access();
    let (app, _) = again(&office.guest, access, vec![pinned()]);
    let ask = |byte: u8| {
        let mut request = post(&chat(""));
        let bearer = format!("Bearer {}", key(byte).text().as_str());
        request.headers_mut().insert("authorization", bearer.parse().unwrap());
        tower::ServiceExt::oneshot(app.clone(), request)
    };
    assert_eq!(outcome(ask(1).await.unwrap()).await, (401, "invalid_api_key".into()));
    assert_eq!(limit(ask(2).await.unwrap()), "1");
}

#[tokio::test]
async fn orders_of_others_for_others_older_ones_and_such_that_widen_change_nothing() {
    let guest = Guest::new(honest());
    let refused = async |document: Vec<u8>, code: &str| {
        let (status, got) = bring(&guest, document).await;
        assert_eq!(got, code);
        assert_eq!(status, if code == "order.sequence" { 409 } else { 400 });
    };
    refused(signed(unload(1, &guest), 6), "order.signature").await;
    let mut changed = signed(unload(1, &guest), 5);
    let at = changed.windows(5).position(|w| w == b"abab\"").unwrap();
    changed[at] = b'c';
    refused(changed, "order.signature").await;
    let mut other = unload(1, &guest);
    other.operator = name("other");
    refused(signed(other, 5), "order.operator").await;
    let mut elsewhere = unload(1, &guest);
    elsewhere.keyset_digest = Digest384([3; 48]);
    refused(signed(elsewhere, 5), "order.keyset").await;
    let mut absent = unload(1, &guest);
    absent.action = Action::UnloadModel { model: name("large") };
    refused(signed(absent, 5), "order.subject").await;
    // No caller is told from another here.
    refused(signed(revoke(1, &guest, "acme"), 5), "order.subject").await;
    let whole = String::from_utf8(signed(unload(1, &guest), 5)).unwrap();
    for (from, to) in [
        ("unload_model", "load_model"),
        ("\"issued_at\"", "\"issued\":1,\"issued_at\""),
        ("hanzo.order.v1", "hanzo.order.v2"),
    ] {
        assert!(whole.contains(from));
        refused(whole.replacen(from, to, 1).into_bytes(), "order.format").await;
    }
    assert_eq!(logged(&guest), 0);
    assert_eq!(guest.ask(&chat("")).await.status(), 200);
    assert_eq!(bring(&guest, signed(unload(2, &guest), 5)).await.0, 200);
    refused(signed(unload(2, &guest), 5), "order.sequence").await;
    refused(signed(unload(1, &guest), 5), "order.sequence").await;
    assert_eq!(logged(&guest), 1);
    // A guest whose configuration names no administrator knows no such path.
    let (app, _) = again(&guest, AccessOptions::Anybody, vec![]);
    let answer = tower::ServiceExt::oneshot(app, to_orders(signed(unload(3, &guest), 5))).await;
    assert_eq!(outcome(answer.unwrap()).await, (404, "not_found".into()));
    assert_eq!(logged(&guest), 1);
}

/// What the office lets in, over the same store.
impl Office {
    fn access(&self) -> AccessOptions {
        AccessOptions::Callers {
            access: Some(crate::access::pinned_access()),
            operator: name("example"),
            accounts: Accounts::new(self.guest.db.clone()),
        }
    }
}
