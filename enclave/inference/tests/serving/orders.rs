//! Orders of administrators: what they take away stays away, and nobody else's words count.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hanzo_attestation::Digest384;
use hanzo_attestation::config::PinnedSigner;
use hanzo_attestation::name::Name;
use hanzo_inference::{AccessOptions, EngineEndpoint, EngineOrder, ServingOptions, ServingState, router};
use hanzo_log::Frontier;
use hanzo_log::tree::leaf_hash;
use hanzo_pqc::sign::{SignatureSuite, SigningKeys};
use hanzo_receipts::{Accounts, Fence, Origin, PublicLog, ReceiptLog};
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

/// Has the guest take an order of its administrator.
pub(crate) async fn bring_order(guest: &Guest, sequence: u64, action: Action) {
    let document = signed(order(sequence, guest.keyset_digest(), action), 5);
    assert_eq!(bring(guest, document).await, (200, String::new()));
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

/// A model whose engines were told something; `unload` is the model's name alone.
pub(crate) fn told(model: &Name, order: EngineOrder) -> String {
    match order {
        EngineOrder::Unload => model.to_string(),
        EngineOrder::PutOut { back_in: None } => format!("{model} out"),
        EngineOrder::PutOut { back_in: Some(left) } => format!("{model} out for {}", left.as_secs()),
        EngineOrder::Load => format!("{model} load"),
    }
}

/// The guest's next boot over the same store, and which engines it ended.
fn again(guest: &Guest, access: AccessOptions, administrators: Vec<PinnedSigner>) -> (axum::Router, Vec<String>) {
    let (app, told) = again_at(guest, access, administrators, Arc::new(AtomicU64::new(NOW)));
    let ended = told.lock().unwrap().clone();
    (app, ended)
}

/// The same by a clock, with what the engines are told from then on.
fn again_at(
    guest: &Guest,
    access: AccessOptions,
    administrators: Vec<PinnedSigner>,
    clock: Arc<AtomicU64>,
) -> (axum::Router, Arc<Mutex<Vec<String>>>) {
    again_over(guest, guest.log.clone(), access, administrators, clock)
}

/// The same over a log that was opened anew.
fn again_over(
    guest: &Guest,
    receipts: Arc<ReceiptLog>,
    access: AccessOptions,
    administrators: Vec<PinnedSigner>,
    clock: Arc<AtomicU64>,
) -> (axum::Router, Arc<Mutex<Vec<String>>>) {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let heard = ended.clone();
    let drawn = AtomicU8::new(7);
    let state = ServingState::new(ServingOptions {
        receipts,
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
        order_engines: Arc::new(move |model, order| heard.lock().unwrap().push(told(model, order))),
        uptime: Arc::new(|| Duration::ZERO),
        clock: Arc::new(move || hanzo_attestation::UnixTime(clock.load(Ordering::SeqCst))),
        random: Arc::new(move |out| {
            // No two receipts by the same number.
            out.fill(drawn.fetch_add(1, Ordering::SeqCst));
            true
        }),
    });
    (router(state.unwrap()), ended)
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

fn put_out(sequence: u64, guest: &Guest, until: u64) -> Order {
    let model = name("smollm2");
    order(sequence, guest.keyset_digest(), Action::PutOut { model, until })
}

fn load(sequence: u64, guest: &Guest, model: &str) -> Order {
    order(sequence, guest.keyset_digest(), Action::Load { model: name(model) })
}

#[tokio::test]
async fn a_model_is_put_out_until_its_time_or_until_it_is_loaded_and_answers_again() {
    let guest = Guest::new(honest());
    let clock = Arc::new(AtomicU64::new(NOW));
    let (app, told) = again_at(&guest, AccessOptions::Anybody, vec![pinned()], clock.clone());
    let send = |request: Request<Body>| tower::ServiceExt::oneshot(app.clone(), request);
    let bring = async |order: Order| outcome(send(to_orders(signed(order, 5))).await.unwrap()).await;
    let out = (503, "model_put_out".to_owned());
    let ok = (200, String::new());

    assert_eq!(bring(put_out(1, &guest, NOW + 60)).await, ok);
    assert_eq!(told.lock().unwrap().as_slice(), ["smollm2 out for 60"]);
    clock.store(NOW + 20, Ordering::SeqCst);
    let refused = send(post(&chat(""))).await.unwrap();
    assert_eq!(
        (&refused.headers()["retry-after"], &refused.headers()["x-should-retry"]),
        (&"40".parse().unwrap(), &"false".parse().unwrap())
    );
    let error = json(refused).await["error"].clone();
    assert_eq!(
        (error["code"].as_str(), error["param"].as_str(), error["type"].as_str()),
        (Some("model_put_out"), Some("model"), Some("server_error"))
    );
    assert!(error["message"].as_str().unwrap().contains("another 40 s"), "{error}");
    let listed = async || {
        let models = send(Request::get("/v1/models").body(Body::empty()).unwrap()).await;
        json(models.unwrap()).await["data"].as_array().unwrap().len()
    };
    assert_eq!(listed().await, 0);
    let one = Request::get("/v1/models/smollm2").body(Body::empty()).unwrap();
    assert_eq!(outcome(send(one).await.unwrap()).await, out);
    assert_eq!(
        send(Request::get("/health").body(Body::empty()).unwrap())
            .await
            .unwrap()
            .status(),
        200
    );
    // The next boot reads it out of the log, with what is left of it.
    let (_, next) = again_at(&guest, AccessOptions::Anybody, vec![], clock.clone());
    assert_eq!(next.lock().unwrap().as_slice(), ["smollm2 out for 40"]);
    clock.store(NOW + 60, Ordering::SeqCst);
    assert_eq!(
        (outcome(send(post(&chat(""))).await.unwrap()).await, listed().await),
        (ok.clone(), 1)
    );
    let (_, next) = again_at(&guest, AccessOptions::Anybody, vec![], clock.clone());
    assert!(next.lock().unwrap().is_empty(), "its time is over");

    // Until further notice, which an order is.
    assert_eq!(bring(put_out(2, &guest, 0)).await, ok);
    clock.store(NOW + 80_000, Ordering::SeqCst);
    let refused = send(post(&chat(""))).await.unwrap();
    assert!(refused.headers().get("retry-after").is_none());
    assert_eq!(outcome(refused).await, out);
    assert_eq!(bring(load(3, &guest, "smollm2")).await, ok);
    assert_eq!(outcome(send(post(&chat(""))).await.unwrap()).await, ok);
    let said = told.lock().unwrap().clone();
    assert_eq!(said, ["smollm2 out for 60", "smollm2 out", "smollm2 load"]);
    assert_eq!(logged(&guest), 3);
}

#[tokio::test]
async fn orders_to_load_or_put_out_what_is_not_there_late_twice_or_by_others_change_nothing() {
    let guest = Guest::new(honest());
    let refused = async |document: Vec<u8>, code: &str| {
        let (status, got) = bring(&guest, document).await;
        assert_eq!(got, code);
        assert_eq!(status, if code == "order.sequence" { 409 } else { 400 });
    };
    let nothing_told = || guest.unloaded.lock().unwrap().is_empty();
    // Models that the measured configuration does not have.
    refused(signed(load(1, &guest, "large"), 5), "order.subject").await;
    let mut absent = put_out(1, &guest, 0);
    absent.action = Action::PutOut {
        model: name("large"),
        until: 0,
    };
    refused(signed(absent, 5), "order.subject").await;
    // Whose signature does not count.
    refused(signed(load(1, &guest, "smollm2"), 6), "order.signature").await;
    refused(signed(put_out(1, &guest, 0), 6), "order.signature").await;
    // A time that is over when it comes, or no time.
    for until in [1, NOW - 1, NOW] {
        refused(signed(put_out(1, &guest, until), 5), "order.expired").await;
    }
    let whole = String::from_utf8(signed(put_out(1, &guest, NOW + 9), 5)).unwrap();
    for (from, to) in [("\"until\":", "\"until\":-"), ("\"until\":", "\"until\":1,\"for\":")] {
        refused(whole.replacen(from, to, 1).into_bytes(), "order.format").await;
    }
    let beyond = put_out(1, &guest, 1 << 53).sign(|domain, bytes| admin(5).sign(domain, bytes));
    assert_eq!(beyond.unwrap_err().code(), "order.value");
    assert!(nothing_told() && logged(&guest) == 0);
    assert_eq!(guest.ask(&chat("")).await.status(), 200);

    // The twin counts once.
    let good = signed(put_out(1, &guest, NOW + 1), 5);
    assert_eq!(bring(&guest, good.clone()).await.0, 200);
    refused(good, "order.sequence").await;
    refused(signed(load(1, &guest, "smollm2"), 5), "order.sequence").await;
    assert_eq!(outcome(guest.ask(&chat("")).await).await, (503, "model_put_out".into()));
    // What was unloaded for good, no order brings back.
    assert_eq!(bring(&guest, signed(unload(2, &guest), 5)).await.0, 200);
    refused(signed(load(3, &guest, "smollm2"), 5), "order.subject").await;
    refused(signed(put_out(3, &guest, 0), 5), "order.subject").await;
    assert_eq!(
        outcome(guest.ask(&chat("")).await).await,
        (404, "model_not_found".into())
    );
    assert_eq!(
        guest.unloaded.lock().unwrap().as_slice(),
        ["smollm2 out for 1", "smollm2"]
    );
    assert_eq!(logged(&guest), 2);
}

/// Puts the same order into the store as often as it takes for `most` orders, as if they had been taken, and opens the log again.
fn filled(guest: &Guest, order: &[u8], most: i64) -> Arc<ReceiptLog> {
    let held = |tx: &hanzo_store::rusqlite::Transaction<'_>| -> (i64, i64, Vec<u8>) {
        let leaves = "SELECT count(*), count(*) FILTER (WHERE substr(keyset, 1, 8) = CAST('{\"order\"' AS BLOB)),
            (SELECT frontier FROM log ORDER BY idx DESC LIMIT 1) FROM log";
        tx.query_row(leaves, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
    };
    let fill = |tx: &hanzo_store::rusqlite::Transaction<'_>| -> Result<(), hanzo_store::StoreError> {
        let (leaves, orders, frontier) = held(tx);
        let mut frontier = Frontier::from_bytes(leaves as u64, &frontier).unwrap();
        for index in leaves..leaves + most - orders {
            let hash = leaf_hash(&[order]);
            for done in frontier.push(hash).unwrap() {
                if done.height > 0 && done.height % 8 == 0 {
                    let tile = "INSERT INTO log_tiles (level, idx, hash) VALUES (?1, ?2, ?3)";
                    tx.execute(tile, (done.height / 8, done.index as i64, done.hash.0))
                        .unwrap();
                }
            }
            let mut digest = [0; 48];
            digest[..8].copy_from_slice(&index.to_be_bytes());
            let leaf = "INSERT INTO log (idx, hash, frontier, keyset_digest, keyset) VALUES (?1, ?2, ?3, ?4, ?5)";
            tx.execute(leaf, (index, hash.0, frontier.to_bytes(), digest, order))
                .unwrap();
        }
        Ok(())
    };
    guest.db.write(fill).unwrap();
    let suite = SignatureSuite::MlDsa65Ed25519;
    let origin = Origin::new("example/receipts").unwrap();
    let public = PublicLog::open(guest.db.clone(), origin, suite, &[2; 64], Fence::None).unwrap();
    let keys = SigningKeys::from_seed(suite, &[1; 64]).unwrap();
    Arc::new(ReceiptLog::open(Arc::new(public), keys, guest.log.keyset().clone()).unwrap())
}

#[tokio::test]
async fn routine_orders_leave_a_place_for_those_that_take_away_for_good_and_a_full_store_says_so() {
    let guest = Guest::new(honest());
    let boot = |log| {
        let clock = Arc::new(AtomicU64::new(NOW));
        again_over(&guest, log, AccessOptions::Anybody, vec![pinned()], clock).0
    };
    let bring = async |app: &axum::Router, order: Order| -> (u16, String, String) {
        let answer = tower::ServiceExt::oneshot(app.clone(), to_orders(signed(order, 5)));
        let answer = answer.await.unwrap();
        let (status, body) = (answer.status().as_u16(), json(answer).await);
        let word = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
        (status, word("code"), word("message"))
    };
    let ok = (200, String::new(), String::new());
    let routine = signed(load(10, &guest, "smollm2"), 5);
    let app = boot(filled(&guest, &routine, 3_071));
    assert_eq!(bring(&app, put_out(11, &guest, 0)).await, ok);
    for order in [put_out(12, &guest, 0), load(12, &guest, "smollm2")] {
        let (status, code, text) = bring(&app, order).await;
        assert_eq!((status, code.as_str()), (409, "order.full"));
        assert!(
            text.contains("3072 orders") && text.contains("last 1024") && text.contains("new store"),
            "{text}"
        );
    }
    // One that is not the next is refused as that, with the number that it has to be above.
    let (status, code, text) = bring(&app, unload(11, &guest)).await;
    assert_eq!((status, code.as_str()), (409, "order.sequence"));
    assert!(text.contains("more than 11"), "{text}");
    // There is room for what narrows for good, until there is none.
    assert_eq!(bring(&app, unload(12, &guest)).await, ok);
    let app = boot(filled(&guest, &signed(unload(13, &guest), 5), 4_095));
    assert_eq!(bring(&app, unload(14, &guest)).await, ok);
    let (status, code, text) = bring(&app, unload(15, &guest)).await;
    assert_eq!((status, code.as_str()), (409, "order.full"));
    assert!(text.contains("4096 orders") && text.contains("stay in force"), "{text}");
    let answer = tower::ServiceExt::oneshot(app, post(&chat(""))).await.unwrap();
    assert_eq!(outcome(answer).await, (404, "model_not_found".into()));
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
