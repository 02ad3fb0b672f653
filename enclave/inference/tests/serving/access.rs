//! Callers of a signed table: who is let in, what each may ask, and what each is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response};
use hanzo_attestation::config::{Access, PinnedSigner};
use hanzo_attestation::name::Name;
use hanzo_inference::{AccessOptions, EngineClass, Uptime};
use hanzo_pqc::sign::{SignatureSuite, SigningKeys};
use hanzo_receipts::Accounts;
use hanzo_verifier::callers::{ApiKey, Caller, Credential, Isolation, Models, Purpose, Role, Table};

use crate::double::{Script, frame, honest, last};
use crate::fixture::{Guest, NOW, chat, json, limits, text};
use crate::tokens::issuer;

const TOKENS: u64 = 8;

fn signer() -> SigningKeys {
    SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[7; 64]).unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn key(byte: u8) -> ApiKey {
    ApiKey::draw(|out| {
        out.fill(byte);
        Ok(())
    })
    .unwrap()
}

pub(crate) fn caller(id: &str, byte: u8) -> Caller {
    Caller {
        budget_tokens: None,
        concurrent_requests: 4,
        credential: Credential::ApiKey(key(byte).hash()),
        expires_at: NOW + 1000,
        id: name(id),
        isolation: Isolation::Shared,
        models: Models::Any,
        requests_per_min: 60,
        role: Role::User,
        tier_min: 2,
        tokens_per_min: 60_000,
    }
}

pub(crate) fn table(version: u64, mut callers: Vec<Caller>) -> Table {
    callers.sort_by(|a, b| a.id.cmp(&b.id));
    Table {
        callers,
        issued_at: NOW - 10,
        issuers: vec![issuer()],
        not_after: NOW + 100,
        operator: name("example"),
        purpose: Purpose::V1,
        version,
    }
}

/// What configurations pin.
pub(crate) fn pinned_access() -> Access {
    let public = signer().verifying_keys().clone();
    Access {
        table_signer: PinnedSigner {
            suite: public.suite().name().into(),
            ml_dsa: public.ml_dsa_hex(),
            ed25519: public.ed25519_hex(),
        },
        table_version_min: 2,
    }
}

pub(crate) struct Office {
    pub(crate) guest: Guest,
    /// Milliseconds.
    clock: Arc<AtomicU64>,
}

impl Office {
    fn new(script: Script) -> Self {
        let clock = Arc::new(AtomicU64::new(1_000));
        let read = clock.clone();
        let uptime: Uptime = Arc::new(move || Duration::from_millis(read.load(Ordering::SeqCst)));
        let access = |db: &Arc<hanzo_store::EncryptedDb>| AccessOptions::Callers {
            access: Some(pinned_access()),
            operator: name("example"),
            accounts: Accounts::new(db.clone()),
        };
        Self {
            guest: Guest::made_with(script, limits(), None, access, uptime, true),
            clock,
        }
    }

    pub(crate) async fn with(script: Script, callers: Vec<Caller>) -> Self {
        let office = Self::new(script);
        assert_eq!(office.put(table(2, callers)).await, (200, String::new()));
        office
    }

    /// Status and code.
    pub(crate) async fn put(&self, table: Table) -> (u16, String) {
        self.bring(
            table
                .sign(|domain, bytes| signer().sign(domain, bytes))
                .unwrap()
                .to_bytes()
                .unwrap(),
        )
        .await
    }

    async fn bring(&self, document: Vec<u8>) -> (u16, String) {
        let request = Request::put("/v1/callers")
            .header("content-type", "application/json")
            .body(Body::from(document))
            .unwrap();
        outcome(self.guest.send(request).await).await
    }

    pub(crate) async fn ask(&self, byte: u8, extra: &str) -> Response<Body> {
        self.guest.send(post("/v1/chat/completions", byte, &chat(extra))).await
    }

    pub(crate) async fn usage(&self, byte: u8) -> serde_json::Value {
        let request = Request::get("/v1/usage").header("x-api-key", &*key(byte).text());
        let response = self.guest.send(request.body(Body::empty()).unwrap()).await;
        json(response).await["data"].clone()
    }
}

fn post(path: &str, byte: u8, body: &str) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", key(byte).text().as_str()))
        .body(Body::from(body.to_owned()))
        .unwrap()
}

pub(crate) async fn outcome(response: Response<Body>) -> (u16, String) {
    let status = response.status().as_u16();
    let code = json(response).await["error"]["code"].as_str().unwrap_or("").to_owned();
    (status, code)
}

pub(crate) fn told(headers: &HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .map_or(String::new(), |v| v.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn without_a_table_nobody_is_let_in_and_with_one_its_callers_are() {
    let office = Office::new(honest());
    let unavailable = (503, "callers_unavailable".to_owned());
    assert_eq!(outcome(office.ask(1, "").await).await, unavailable);
    for (version, code) in [(1, (409, "callers.version")), (2, (200, ""))] {
        let put = office.put(table(version, vec![caller("acme", 1)])).await;
        assert_eq!(put, (code.0, code.1.to_owned()));
    }
    let answer = office.ask(1, "").await;
    assert_eq!(answer.status(), 200);
    assert!(text(answer).await.contains("Paris."));
    assert_eq!(outcome(office.ask(2, "").await).await, (401, "invalid_api_key".into()));
    // The same version again, another signer, another operator.
    assert_eq!(office.put(table(2, vec![])).await, (409, "callers.version".into()));
    let foreign = SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[8; 64]).unwrap();
    let forged = table(3, vec![])
        .sign(|domain, bytes| foreign.sign(domain, bytes))
        .unwrap()
        .to_bytes()
        .unwrap();
    assert_eq!(office.bring(forged).await, (400, "callers.signature".into()));
    let mut other = table(3, vec![]);
    other.operator = name("other");
    assert_eq!(office.put(other).await, (400, "callers.operator".into()));
    assert_eq!(office.ask(1, "").await.status(), 200, "what was in force stays");
    assert_eq!(office.put(table(3, vec![caller("beta", 2)])).await.0, 200);
    assert_eq!(office.ask(1, "").await.status(), 401, "revoked");
    assert_eq!(office.ask(2, "").await.status(), 200);
    let mut over = table(4, vec![caller("beta", 2)]);
    over.not_after = NOW - 1;
    assert_eq!(office.put(over).await, (400, "callers.over".into()));
}

#[tokio::test]
async fn whatever_is_wrong_with_a_key_the_answer_is_the_same() {
    let mut expired = caller("gone", 3);
    expired.expires_at = NOW - 1;
    let office = Office::with(honest(), vec![caller("acme", 1), expired]).await;
    let send = async |value: Option<&str>| {
        let mut request = Request::post("/v1/chat/completions").header("content-type", "application/json");
        if let Some(value) = value {
            request = request.header("authorization", value);
        }
        let response = office.guest.send(request.body(Body::from(chat(""))).unwrap()).await;
        let head = (response.status().as_u16(), told(response.headers(), "www-authenticate"));
        (head, text(response).await)
    };
    let unknown = send(Some(&format!("Bearer {}", key(9).text().as_str()))).await;
    assert_eq!(unknown.0, (401, "Bearer".into()));
    assert!(unknown.1.contains("\"invalid_api_key\""));
    for wrong in [
        format!("Bearer {}", key(3).text().as_str()),
        format!("Bearer {}x", key(1).text().as_str()),
        format!("Basic {}", key(1).text().as_str()),
        "Bearer unused".into(),
        "Bearer ".into(),
    ] {
        assert_eq!(send(Some(&wrong)).await, unknown);
    }
    let none = send(None).await;
    assert_eq!(none.0, unknown.0);
    assert_ne!(none.1, unknown.1, "a client that sent nothing is told so");
    assert!(office.guest.receipts().is_empty());
}

#[tokio::test]
async fn a_key_is_for_its_models_and_tiers_alone() {
    let mut elsewhere = caller("elsewhere", 1);
    elsewhere.models = Models::Named(vec![name("large")]);
    let mut higher = caller("higher", 2);
    higher.tier_min = 3;
    let office = Office::with(honest(), vec![elsewhere, higher, caller("any", 3)]).await;
    assert_eq!(outcome(office.ask(1, "").await).await, (404, "model_not_found".into()));
    assert_eq!(outcome(office.ask(2, "").await).await, (403, "tier_not_allowed".into()));
    let models = async |byte: u8, path: &str| {
        let request = Request::get(path).header("authorization", format!("Bearer {}", key(byte).text().as_str()));
        let response = office.guest.send(request.body(Body::empty()).unwrap()).await;
        (response.status().as_u16(), json(response).await)
    };
    assert_eq!(models(1, "/v1/models").await.1["data"].as_array().unwrap().len(), 0);
    assert_eq!(models(3, "/v1/models").await.1["data"][0]["id"], "smollm2");
    assert_eq!(models(1, "/v1/models/smollm2").await.0, 404);
    assert_eq!(models(3, "/v1/models/smollm2").await.0, 200);
    let anonymous = Request::get("/v1/models").body(Body::empty()).unwrap();
    assert_eq!(office.guest.send(anonymous).await.status(), 401);
}

#[tokio::test]
async fn anthropics_clients_show_their_key_and_read_errors_in_their_own_way() {
    let office = Office::with(honest(), vec![caller("acme", 1)]).await;
    let body = r#"{"model":"smollm2","max_tokens":8,"messages":[{"role":"user","content":"Hi"}]}"#;
    let send = async |path: &str, byte: u8| {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header("x-api-key", &*key(byte).text())
            .body(Body::from(body));
        office.guest.send(request.unwrap()).await
    };
    let answer = send("/v1/messages", 1).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(told(answer.headers(), "anthropic-ratelimit-requests-remaining"), "59");
    for path in ["/v1/messages", "/v1/messages/count_tokens"] {
        let refused = send(path, 2).await;
        assert_eq!(refused.status(), 401);
        let body = json(refused).await;
        assert_eq!(
            (&body["type"], &body["error"]["type"]),
            (&"error".into(), &"authentication_error".into())
        );
    }
}

#[tokio::test]
async fn requests_a_minute_are_counted_to_the_millisecond_and_told_exactly() {
    let mut limited = caller("acme", 1);
    limited.requests_per_min = 3;
    let office = Office::with(honest(), vec![limited, caller("beta", 2)]).await;
    for left in ["2", "1", "0"] {
        let answer = office.ask(1, "").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(told(answer.headers(), "x-ratelimit-limit-requests"), "3");
        assert_eq!(told(answer.headers(), "x-ratelimit-remaining-requests"), left);
    }
    let refused = office.ask(1, "").await;
    assert_eq!(told(refused.headers(), "retry-after"), "20");
    assert_eq!(told(refused.headers(), "x-ratelimit-remaining-requests"), "0");
    assert_eq!(told(refused.headers(), "x-ratelimit-reset-requests"), "1m0s");
    assert_eq!(outcome(refused).await, (429, "rate_limit_exceeded".into()));
    assert_eq!(office.ask(2, "").await.status(), 200, "another's limit is another's");
    office.clock.fetch_add(19_999, Ordering::SeqCst);
    assert_eq!(told(office.ask(1, "").await.headers(), "retry-after"), "1");
    office.clock.fetch_add(1, Ordering::SeqCst);
    assert_eq!(office.ask(1, "").await.status(), 200);
    // A newer table does not refill what was used.
    let mut again = caller("acme", 1);
    again.requests_per_min = 3;
    assert_eq!(office.put(table(3, vec![again])).await.0, 200);
    assert_eq!(office.ask(1, "").await.status(), 429);
}

#[tokio::test]
async fn tokens_a_minute_are_held_before_and_settled_by_the_receipt() {
    let mut limited = caller("acme", 1);
    limited.tokens_per_min = 30;
    let office = Office::with(honest(), vec![limited]).await;
    // 5 of the prompt; 20 may come, 3 do.
    let answer = office.ask(1, r#","max_tokens":20"#).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(told(answer.headers(), "x-ratelimit-limit-tokens"), "30");
    assert_eq!(told(answer.headers(), "x-ratelimit-remaining-tokens"), "22");
    assert_eq!(told(answer.headers(), "x-ratelimit-reset-tokens"), "16s");
    let held = office.ask(1, r#","max_tokens":20,"stream":true"#).await;
    assert_eq!(
        (held.status().as_u16(), told(held.headers(), "retry-after")),
        (429, "6".into())
    );
    let never = office.ask(1, r#","max_tokens":26"#).await;
    assert_eq!(told(never.headers(), "x-should-retry"), "false");
    assert_eq!(outcome(never).await, (429, "rate_limit_exceeded".into()));
    // Without a number only the prompt is taken beforehand.
    for left in ["14", "6"] {
        assert_eq!(
            told(office.ask(1, "").await.headers(), "x-ratelimit-remaining-tokens"),
            left
        );
    }
    assert_eq!(
        told(office.ask(1, "").await.headers(), "x-ratelimit-remaining-tokens"),
        "0"
    );
    assert_eq!(
        told(office.ask(1, "").await.headers(), "retry-after"),
        "4",
        "2 are owed"
    );
}

#[tokio::test]
async fn a_budget_is_never_passed_and_usage_is_what_the_receipts_say() {
    let mut limited = caller("acme", 1);
    limited.budget_tokens = Some(20);
    let mut admin = caller("boss", 2);
    admin.role = Role::Admin;
    let office = Office::with(honest(), vec![limited.clone(), admin.clone()]).await;
    assert_eq!(office.ask(1, r#","max_tokens":15"#).await.status(), 200);
    let refused = office.ask(1, r#","max_tokens":8"#).await;
    assert_eq!(told(refused.headers(), "x-should-retry"), "false");
    assert_eq!(outcome(refused).await, (429, "insufficient_quota".into()));
    // 12 left: the prompt and an answer of at most 7.
    assert_eq!(office.ask(1, "").await.status(), 200);
    let seen = office.guest.engine.seen.lock().unwrap().clone();
    assert!(seen.contains("\"max_tokens\":7"), "{seen}");
    assert_eq!(
        outcome(office.ask(1, "").await).await,
        (429, "insufficient_quota".into())
    );
    assert_eq!(office.ask(2, "").await.status(), 200);
    let receipts = office.guest.receipts();
    let sum = |of: &dyn Fn(&hanzo_verifier::receipt::Receipt) -> u64| -> u64 {
        receipts[..2].iter().map(|r| of(r.receipt())).sum()
    };
    let own = office.usage(1).await;
    assert_eq!(own.as_array().unwrap().len(), 1);
    assert_eq!(own[0]["account"], "acme");
    assert_eq!(own[0]["requests"], 2);
    assert_eq!(own[0]["prompt_tokens"], sum(&|r| r.prompt_tokens));
    assert_eq!(own[0]["completion_tokens"], sum(&|r| r.completion_tokens));
    assert_eq!(own[0]["total_tokens"], 2 * TOKENS);
    let all = office.usage(2).await;
    assert_eq!((all.as_array().unwrap().len(), &all[1]["account"]), (2, &"boss".into()));
    // More budget is another table; what was used stays used.
    limited.budget_tokens = Some(30);
    assert_eq!(office.put(table(3, vec![limited, admin])).await.0, 200);
    assert_eq!(
        outcome(office.ask(1, r#","max_tokens":10"#).await).await,
        (429, "insufficient_quota".into())
    );
    assert_eq!(office.ask(1, r#","max_tokens":9"#).await.status(), 200);
}

#[tokio::test]
async fn what_failed_before_the_engine_costs_a_request_and_no_tokens() {
    let mut limited = caller("acme", 1);
    (limited.budget_tokens, limited.requests_per_min) = (Some(30), 10);
    let refuses = Script::Refuse(400, r#"{"error":{"message":"x","code":"template"}}"#);
    let office = Office::with(refuses, vec![limited]).await;
    for left in ["9", "8"] {
        let refused = office.ask(1, r#","max_tokens":20"#).await;
        assert_eq!(refused.status(), 400);
        assert_eq!(told(refused.headers(), "x-ratelimit-remaining-requests"), left);
        assert_eq!(told(refused.headers(), "x-ratelimit-remaining-tokens"), "60000");
    }
    assert_eq!(office.usage(1).await[0]["requests"], 0);
}

#[tokio::test]
async fn an_answer_that_failed_is_paid_as_its_receipt_says() {
    let broken = Script::Raw(vec![frame("a"), frame("b"), last("", "stop", 9, 9)], Duration::ZERO);
    let office = Office::with(broken, vec![caller("acme", 1)]).await;
    assert_eq!(office.ask(1, "").await.status(), 502);
    let receipts = office.guest.receipts();
    let (prompt, completion) = (
        receipts[0].receipt().prompt_tokens,
        receipts[0].receipt().completion_tokens,
    );
    let own = office.usage(1).await;
    assert_eq!(
        (&own[0]["prompt_tokens"], &own[0]["completion_tokens"]),
        (&prompt.into(), &completion.into())
    );
}

#[tokio::test]
async fn a_caller_that_shares_with_nobody_has_an_engine_of_its_own() {
    let own = |id: &str, byte: u8| {
        let mut caller = caller(id, byte);
        caller.isolation = Isolation::Own;
        caller
    };
    let office = Office::with(
        honest(),
        vec![caller("acme", 1), own("alone", 2), own("large", 3), own("slow", 4)],
    )
    .await;
    assert_eq!(office.ask(1, "").await.status(), 200);
    assert!(
        office.guest.opens.lock().unwrap().is_empty(),
        "that one runs from boot on"
    );
    assert_eq!(office.ask(2, "").await.status(), 200);
    let opened = office.guest.opens.lock().unwrap().clone();
    assert_eq!(opened, [("smollm2".to_owned(), EngineClass::Own(name("alone")))]);
    for (byte, code, seconds) in [(3, "engine_memory", "15"), (4, "engine_loading", "2")] {
        let refused = office.ask(byte, "").await;
        assert_eq!(refused.headers()["retry-after"], seconds);
        assert_eq!(outcome(refused).await, (503, code.into()));
    }
    assert_eq!(office.ask(1, "").await.status(), 200);
}

#[tokio::test]
async fn the_document_says_which_routes_ask_who_asks() {
    let office = Office::with(honest(), vec![caller("acme", 1)]).await;
    let asked = office
        .guest
        .send(Request::get("/openapi.json").body(Body::empty()).unwrap())
        .await;
    let document = json(asked).await;
    let (mut open, mut closed) = (0, 0);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let path = path
                .replace("{id}", &"0".repeat(32))
                .replace("{chat_id}", &"0".repeat(32))
                .replace("{name}", "model")
                .replace("{path}", "0/000");
            let request = Request::builder()
                .method(method.to_uppercase().as_str())
                .uri(&path)
                .header("content-type", "application/json");
            let answer = office.guest.send(request.body(Body::from("{}")).unwrap()).await;
            let is_open = operation["security"].as_array().is_some_and(Vec::is_empty);
            assert_eq!(is_open, answer.status() != 401, "{method} {path}: {}", answer.status());
            *(if is_open { &mut open } else { &mut closed }) += 1;
        }
    }
    assert_eq!((open, closed), (10, 11));
}
