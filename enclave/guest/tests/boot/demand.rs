//! Engines that run because somebody asked: models on demand, and callers who share with nobody.

use bytes::Bytes;
use hanzo_attestation::name::Name;
use hanzo_pqc::sign::{SignatureSuite, SigningKeys};
use hanzo_verifier::callers::{ApiKey, Caller, Credential, Isolation, Models, Purpose, Role, Table};
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use serde_json::Value;

use crate::client::connect;
use crate::orders::{engine_waits, engines, engines_become};
use crate::world::{Running, World};

fn signer() -> SigningKeys {
    SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[7; 64]).unwrap()
}

fn api_key(of: &str) -> ApiKey {
    let byte = of.as_bytes()[0];
    ApiKey::draw(|out| {
        out.fill(byte);
        Ok(())
    })
    .unwrap()
}

/// `acme`, who shares, and `beta` and `gamma`, who do not.
fn table(now: u64) -> Vec<u8> {
    let caller = |(id, isolation): (&str, Isolation)| Caller {
        budget_tokens: None,
        concurrent_requests: 2,
        credential: Credential::ApiKey(api_key(id).hash()),
        expires_at: now + 3600,
        id: Name::new(id).unwrap(),
        isolation,
        models: Models::Any,
        requests_per_min: 6000,
        role: Role::User,
        tier_min: 2,
        tokens_per_min: 6_000_000,
    };
    let all = [
        ("acme", Isolation::Shared),
        ("beta", Isolation::Own),
        ("gamma", Isolation::Own),
    ];
    let table = Table {
        callers: all.map(caller).to_vec(),
        issuers: vec![],
        issued_at: now,
        not_after: now + 3600,
        operator: Name::new("example").unwrap(),
        purpose: Purpose::V1,
        version: 1,
    };
    let signed = table.sign(|domain, bytes| signer().sign(domain, bytes)).unwrap();
    signed.to_bytes().unwrap()
}

async fn call(guest: &Running, method: Method, path: &str, who: &str, body: Vec<u8>) -> (StatusCode, Value) {
    let mut connection = connect(&guest.ready.address).await;
    connection.prove(&guest.ready.keyset).await.unwrap();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "guest")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", api_key(who).text().as_str()))
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let (status, body) = connection.send(request).await;
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// Status, and the error's code or nothing.
async fn ask(guest: &Running, who: &str, text: &str) -> (u16, String) {
    let body = format!(r#"{{"model":"tiny","max_tokens":16,"messages":[{{"role":"user","content":"{text}"}}]}}"#);
    let (status, answer) = call(guest, Method::POST, "/v1/chat/completions", who, body.into_bytes()).await;
    let code = answer["error"]["code"].as_str().unwrap_or_default();
    (status.as_u16(), code.to_owned())
}

fn ok() -> (u16, String) {
    (200, String::new())
}

/// Asks until it is answered: whoever comes again is.
async fn ask_again(guest: &Running, who: &str) {
    for _ in 0..400 {
        match ask(guest, who, "Hi").await {
            (200, _) => return,
            (503, _) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            other => panic!("{other:?}"),
        }
    }
    panic!("{who} is never answered");
}

fn on_demand(world: &mut World, idle_s: u64) {
    let said = format!("context_tokens = 256\non_demand = {{ idle_s = {idle_s} }}");
    world.configure(world.config.replace("context_tokens = 256", &said));
}

async fn with_callers(world: &mut World) -> Running {
    let signer = signer();
    let public = signer.verifying_keys();
    let required = world.config.replace("auth = \"none\"", "auth = \"required\"");
    world.configure(format!(
        "{required}[access]\ntable_version_min = 1\n[access.table_signer]\nsuite = \"ml-dsa-65\"\nml_dsa = \"{}\"\ned25519 = \"{}\"\n",
        public.ml_dsa_hex(),
        public.ed25519_hex()
    ));
    let guest = world.boot().await;
    let table = table(guest.ready.keyset.issued_at);
    let (status, _) = call(&guest, Method::PUT, "/v1/callers", "acme", table).await;
    assert_eq!(status, StatusCode::OK);
    guest
}

/// Whether any opened weights lie in the runtime directory.
fn weights_lie_open(world: &World) -> bool {
    let boots = std::fs::read_dir(&world.options.runtime_dir)
        .unwrap()
        .filter_map(Result::ok);
    let opened = boots.filter_map(|boot| std::fs::read_dir(boot.path().join("model-0")).ok());
    opened
        .flatten()
        .filter_map(Result::ok)
        .any(|dir| dir.path().join("model.gguf").exists())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_on_demand_runs_while_somebody_asks_and_its_files_go_with_its_engine() {
    let mut world = World::new().await;
    on_demand(&mut world, 1);
    let guest = world.boot().await;
    assert_eq!(
        guest.ready.keyset.models[0].name.as_str(),
        "tiny",
        "it is what was opened at boot"
    );
    let idle = async || {
        engines_become(&world, 0).await;
        for _ in 0..400 {
            if !weights_lie_open(&world) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        panic!("the files stay");
    };
    idle().await;
    for _ in 0..2 {
        let (one, other) = tokio::join!(ask(&guest, "a", "Hi"), ask(&guest, "b", "Hi"));
        assert_eq!((one, other), (ok(), ok()));
        assert!(engines(&world) > 0 && weights_lie_open(&world));
        idle().await;
    }
    // What lies sealed is held against the same root each time.
    let pack = world.options.packs.join("tiny.pack");
    let good = std::fs::read(&pack).unwrap();
    let mut bad = good.clone();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    std::fs::write(&pack, bad).unwrap();
    assert_eq!(ask(&guest, "a", "Hi").await, (503, "engine_unavailable".into()));
    idle().await;
    std::fs::write(&pack, good).unwrap();
    assert_eq!(ask(&guest, "a", "Hi").await, ok());
    guest.stop().await.unwrap();
    world.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_a_model_that_loads_waits_or_is_told_to_come_again() {
    let mut world = World::with_engine_mode("slow").await;
    on_demand(&mut world, 600);
    world.options.limits.engine_load_wait_ms = 50;
    let guest = world.boot().await;
    assert_eq!(ask(&guest, "a", "Hi").await, (503, "engine_loading".into()));
    // Nobody waits for it any more, and it loads on.
    ask_again(&guest, "a").await;
    assert_eq!(ask(&guest, "a", "Hi").await, ok());
    guest.stop().await.unwrap();
    world.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_of_class_own_has_a_process_that_nobody_else_is_answered_by() {
    let mut world = World::new().await;
    let guest = with_callers(&mut world).await;
    let one = engines(&world);
    assert_eq!(ask(&guest, "acme", "Hi").await, ok());
    assert_eq!(engines(&world), one);
    assert_eq!(ask(&guest, "beta", "Hi").await, ok());
    engines_become(&world, 2 * one).await;
    assert_eq!(ask(&guest, "gamma", "Hi").await, ok());
    engines_become(&world, 3 * one).await;
    // What ends one tenant's process ends nobody else's; it comes back when asked for.
    assert!(ask(&guest, "beta", "die now").await.0 >= 500);
    assert_eq!(ask(&guest, "acme", "Hi").await, ok());
    assert_eq!(ask(&guest, "gamma", "Hi").await, ok());
    ask_again(&guest, "beta").await;
    // Once more than an engine is started again.
    assert!(ask(&guest, "beta", "die now").await.0 >= 500);
    let mut answered = ask(&guest, "beta", "Hi").await;
    for _ in 0..100 {
        if answered.0 == 503 && engines(&world) == 2 * one {
            break;
        }
        answered = ask(&guest, "beta", "Hi").await;
    }
    assert_eq!(answered, (503, "engine_unavailable".into()));
    assert_eq!(ask(&guest, "gamma", "Hi").await, ok());
    guest.stop().await.unwrap();
    world.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_room_an_idle_engine_ends_and_one_in_use_never_does() {
    let mut world = World::new().await;
    world.options.limits.engines_on_demand_max = 1;
    let guest = with_callers(&mut world).await;
    let one = engines(&world);
    assert_eq!(ask(&guest, "beta", "Hi").await, ok());
    engines_become(&world, 2 * one).await;
    let waits = ask(&guest, "beta", "wait");
    let refused = async {
        engine_waits(&world).await;
        assert_eq!(ask(&guest, "gamma", "Hi").await, (503, "engine_memory".into()));
    };
    let (answered, ()) = tokio::join!(waits, refused);
    assert_eq!(answered, ok());
    ask_again(&guest, "gamma").await;
    assert_eq!(engines(&world), 2 * one, "one of its own took the other's place");
    assert_eq!(ask(&guest, "acme", "Hi").await, ok());
    guest.stop().await.unwrap();
    world.assert_nothing_left();
}
