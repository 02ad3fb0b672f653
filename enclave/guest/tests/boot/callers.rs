//! A guest whose configuration asks callers who they are.

use bytes::Bytes;
use hanzo_attestation::Digest384;
use hanzo_attestation::name::Name;
use hanzo_pqc::sign::{SignatureSuite, SigningKeys};
use hanzo_verifier::callers::{ApiKey, Caller, Credential, Isolation, Models, Purpose, Role, Table};
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use serde_json::Value;

use crate::client::connect;
use crate::world::{Running, World};

fn signer() -> SigningKeys {
    SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[7; 64]).unwrap()
}

fn key() -> ApiKey {
    ApiKey::draw(|out| {
        out.fill(9);
        Ok(())
    })
    .unwrap()
}

fn table(version: u64, key_hash: Digest384, now: u64) -> Vec<u8> {
    let caller = Caller {
        budget_tokens: Some(1000),
        concurrent_requests: 1,
        credential: Credential::ApiKey(key_hash),
        expires_at: now + 3600,
        id: Name::new("acme").unwrap(),
        isolation: Isolation::Shared,
        models: Models::Any,
        requests_per_min: 600,
        role: Role::User,
        tier_min: 2,
        tokens_per_min: 60_000,
    };
    let table = Table {
        callers: vec![caller],
        issuers: vec![],
        issued_at: now,
        not_after: now + 3600,
        operator: Name::new("example").unwrap(),
        purpose: Purpose::V1,
        version,
    };
    table
        .sign(|domain, bytes| signer().sign(domain, bytes))
        .unwrap()
        .to_bytes()
        .unwrap()
}

async fn ask(guest: &Running, method: Method, path: &str, with_key: bool, body: Vec<u8>) -> (StatusCode, Value) {
    let mut connection = connect(&guest.ready.address).await;
    connection.prove(&guest.ready.keyset).await.unwrap();
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "guest")
        .header("content-type", "application/json");
    if with_key {
        request = request.header("authorization", format!("Bearer {}", key().text().as_str()));
    }
    let (status, body) = connection
        .send(request.body(Full::new(Bytes::from(body))).unwrap())
        .await;
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

const CHAT: &[u8] = br#"{"model":"tiny","max_tokens":16,"messages":[{"role":"user","content":"Hi"}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_a_signed_table_are_let_in_and_usage_outlives_a_restart() {
    let mut world = World::new().await;
    let signer = signer();
    let public = signer.verifying_keys();
    let access = format!(
        "[queue]\nrequests = 8\nwait_s = 10\n[access]\ntable_version_min = 1\n[access.table_signer]\nsuite = \"ml-dsa-65\"\nml_dsa = \"{}\"\ned25519 = \"{}\"\n",
        public.ml_dsa_hex(),
        public.ed25519_hex()
    );
    let required = world.config.replace("auth = \"none\"", "auth = \"required\"");
    world.configure(format!("{required}{access}"));
    let chat = async |guest: &Running, with_key| {
        let path = "/v1/chat/completions";
        let (status, body) = ask(guest, Method::POST, path, with_key, CHAT.to_vec()).await;
        (status.as_u16(), body["error"]["code"].as_str().unwrap_or("").to_owned())
    };

    let guest = world.boot().await;
    let now = guest.ready.keyset.issued_at;
    assert_eq!(chat(&guest, true).await, (503, "callers_unavailable".into()));
    let put = ask(&guest, Method::PUT, "/v1/callers", false, table(1, key().hash(), now)).await;
    assert_eq!((put.0.as_u16(), &put.1["version"]), (200, &1.into()));
    assert_eq!(chat(&guest, false).await, (401, "invalid_api_key".into()));
    assert_eq!(chat(&guest, true).await, (200, String::new()));
    let (_, used) = ask(&guest, Method::GET, "/v1/usage", true, vec![]).await;
    assert_eq!(used["data"][0]["requests"], 1);
    guest.stop().await.unwrap();

    let guest = world.boot().await;
    assert_eq!(
        chat(&guest, true).await,
        (200, String::new()),
        "the table is still in force"
    );
    let (_, again) = ask(&guest, Method::GET, "/v1/usage", true, vec![]).await;
    let tokens = |usage: &Value| usage["data"][0]["total_tokens"].as_u64().unwrap();
    assert_eq!(
        (again["data"][0]["requests"].as_u64(), tokens(&again)),
        (Some(2), 2 * tokens(&used))
    );
    let put = ask(&guest, Method::PUT, "/v1/callers", false, table(1, key().hash(), now)).await;
    assert_eq!(put.0, StatusCode::CONFLICT);
    guest.stop().await.unwrap();
}
