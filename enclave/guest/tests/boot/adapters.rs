//! Adapters on one base: each sealed under a key of its own, for its own caller alone, named in keyset and receipt; and what is not one
//! for this base stops the boot.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use hanzo_attestation::Digest256;
use hanzo_attestation::name::Name;
use hanzo_model::{ADAPTER_BYTES_MAX, ADAPTER_FILE, Adapter, AdapterKind, DELTA_FILE, SCALE_ONE_MICROS};
use hanzo_pqc::Dek;
use hanzo_pqc::sign::{SignatureSuite, SigningKeys};
use hanzo_verifier::callers::{ApiKey, Caller, Credential, Isolation, Models, Purpose, Role, Table};
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::broker::Key;
use crate::client::connect;
use crate::engine;
use crate::world::{Running, World};

const DEK: [u8; 32] = [0x53; 32];
const KEY: &str = "hanzo/dek/tuned";
const OWNER: &str = "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c";

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn word(key: &str, value: &str) -> Vec<u8> {
    [text(key), 8_u32.to_le_bytes().to_vec(), text(value)].concat()
}

/// A GGUF of F32 tensors, each of 8 elements.
fn gguf(keys: &[Vec<u8>], tensors: &[(&str, [f32; 8])]) -> Vec<u8> {
    let mut out = [
        b"GGUF".to_vec(),
        3_u32.to_le_bytes().to_vec(),
        (tensors.len() as u64).to_le_bytes().to_vec(),
        (keys.len() as u64).to_le_bytes().to_vec(),
        keys.concat(),
    ]
    .concat();
    for (at, (name, _)) in tensors.iter().enumerate() {
        out.extend(text(name));
        out.extend(2_u32.to_le_bytes());
        out.extend([4_u64, 2].map(u64::to_le_bytes).concat());
        out.extend(0_u32.to_le_bytes());
        out.extend((at as u64 * 32).to_le_bytes());
    }
    out.resize(out.len().next_multiple_of(32), 0);
    for (_, values) in tensors {
        out.extend(values.map(f32::to_le_bytes).concat());
    }
    out
}

fn base(values: [f32; 8]) -> Vec<u8> {
    let keys = [
        word("general.architecture", "llama"),
        word("tokenizer.ggml.model", "gpt2"),
    ];
    gguf(&keys, &[("w", values)])
}

const BASE: [f32; 8] = [1.0, -1.0, 0.5, 0.25, 2.0, 3.0, -4.0, 0.0];
const FINE: [f32; 8] = [1.5, -1.5, 0.0, 0.75, 2.5, 2.5, -3.5, 0.5];

fn lora() -> Vec<u8> {
    let alpha = [
        text("adapter.lora.alpha"),
        6_u32.to_le_bytes().to_vec(),
        8_f32.to_le_bytes().to_vec(),
    ]
    .concat();
    let keys = [
        word("general.type", "adapter"),
        word("general.architecture", "llama"),
        word("adapter.type", "lora"),
        alpha,
    ];
    gguf(&keys, &[("w.lora_a", BASE), ("w.lora_b", FINE)])
}

/// A world whose base is served by "llama.cpp", and callers `acme` and `beta` who may both ask anything.
async fn world() -> World {
    let mut world = World::telling(&base(BASE)).await;
    world.options.llama_command = Some(engine::command());
    world
}

fn base_root(world: &World) -> Digest256 {
    Digest256::from_hex(world.model_subject().as_str()).unwrap()
}

/// Seals an adapter's directory as the model `tuned`, and has broker and configuration name it.
fn serve(world: &mut World, dir: &Path) -> Digest256 {
    let pack = world.options.packs.join("tuned.pack");
    if pack.exists() {
        std::fs::remove_file(&pack).unwrap();
    }
    let dek = Dek::from_bytes(Zeroizing::new(DEK));
    let root = hanzo_pack::seal(dir, &dek, &pack, &|_| ()).unwrap().weights_root;
    let key = Key {
        dek: DEK,
        version: 1,
        subject: Name::new(&root.to_string()).unwrap(),
    };
    world.broker.inner.lock().unwrap().keys.insert(KEY.into(), key);
    let before = world
        .config
        .split("[[models]]\nname = \"tuned\"")
        .next()
        .unwrap()
        .to_owned();
    let before = before
        .split("[access]")
        .next()
        .unwrap()
        .replace("auth = \"none\"", "auth = \"required\"");
    let signer = signer();
    let public = signer.verifying_keys();
    world.configure(format!(
        "{before}[[models]]\nname = \"tuned\"\nweights_root = \"{root}\"\nkey_id = \"{KEY}\"\ncontext_tokens = 128\nbase = \"tiny\"\n\
         callers = [\"acme\"]\n[access]\ntable_version_min = 1\n[access.table_signer]\nsuite = \"ml-dsa-65\"\nml_dsa = \"{}\"\ned25519 = \"{}\"\n",
        public.ml_dsa_hex(),
        public.ed25519_hex()
    ));
    root
}

fn adapter(world: &World, kind: AdapterKind, root: Digest256, weights: &[u8]) -> PathBuf {
    let dir = world.dir.path().join("tuned");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir(&dir).unwrap();
    let document = Adapter::new(kind, root, SCALE_ONE_MICROS).document(&dir).unwrap();
    std::fs::write(dir.join(ADAPTER_FILE), document).unwrap();
    std::fs::write(dir.join(kind.file()), weights).unwrap();
    dir
}

/// The delta from [`BASE`] to [`FINE`].
fn delta(world: &World) -> Vec<u8> {
    let at = |name: &str| world.dir.path().join(name);
    for (name, values) in [("base.gguf", BASE), ("fine.gguf", FINE)] {
        std::fs::write(at(name), base(values)).unwrap();
    }
    let _ = std::fs::remove_file(at(DELTA_FILE));
    hanzo_delta::make(&at("base.gguf"), &at("fine.gguf"), &at(DELTA_FILE)).unwrap();
    std::fs::read(at(DELTA_FILE)).unwrap()
}

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

fn table(now: u64) -> Vec<u8> {
    let caller = |id: &str| Caller {
        budget_tokens: None,
        concurrent_requests: 2,
        credential: Credential::ApiKey(api_key(id).hash()),
        expires_at: now + 3600,
        id: Name::new(id).unwrap(),
        isolation: Isolation::Shared,
        models: Models::Any,
        requests_per_min: 600,
        role: Role::User,
        tier_min: 2,
        tokens_per_min: 60_000,
    };
    let table = Table {
        callers: ["acme", "beta"].map(caller).to_vec(),
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

async fn call(guest: &Running, method: Method, path: &str, who: &str, body: Vec<u8>) -> (StatusCode, Value, String) {
    let mut connection = connect(&guest.ready.address).await;
    connection.prove(&guest.ready.keyset).await.unwrap();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "guest")
        .header("hanzo-owner", OWNER)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", api_key(who).text().as_str()))
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let (status, body) = connection.send(request).await;
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    let id = value["id"].as_str().unwrap_or_default().to_owned();
    (status, value, id)
}

/// What the engine of `model` says to `who` that it computes with, or the error's code; and the receipt's id.
async fn ask(guest: &Running, who: &str, model: &str) -> (String, String) {
    let body = format!(r#"{{"model":"{model}","max_tokens":16,"messages":[{{"role":"user","content":"Hi"}}]}}"#);
    let (status, answer, id) = call(guest, Method::POST, "/v1/chat/completions", who, body.into_bytes()).await;
    let said = match status {
        StatusCode::OK => &answer["choices"][0]["message"]["content"],
        _ => &answer["error"]["code"],
    };
    (said.as_str().unwrap().to_owned(), id)
}

async fn listed(guest: &Running, who: &str) -> Vec<String> {
    let (_, models, _) = call(guest, Method::GET, "/v1/models", who, vec![]).await;
    let models = models["data"].as_array().unwrap().clone();
    models.iter().map(|m| m["id"].as_str().unwrap().to_owned()).collect()
}

/// Boots, and lets its callers in.
async fn boot(world: &World) -> Running {
    let guest = world.boot().await;
    let table = table(guest.ready.keyset.issued_at);
    let (status, ..) = call(&guest, Method::PUT, "/v1/callers", "acme", table).await;
    // The store remembers it at later boots.
    assert!(matches!(status, StatusCode::OK | StatusCode::CONFLICT), "{status}");
    guest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lora_adapter_computes_for_its_caller_alone_and_the_base_stays_what_it_was_for_everybody() {
    let mut world = world().await;
    let weights = lora();
    let root = base_root(&world);
    let dir = adapter(&world, AdapterKind::Lora, root, &weights);
    let own = serve(&mut world, &dir);
    let guest = boot(&world).await;
    let models = &guest.ready.keyset.models;
    let [base, tuned] = models.as_slice() else {
        panic!("{models:?}")
    };
    assert_eq!((base.base_root, base.weights_root), (None, root));
    assert_eq!((tuned.base_root, tuned.weights_root), (Some(root), own));
    assert_eq!(tuned.tokenizer_sha256, base.tokenizer_sha256);

    let plain = Digest256::of(&crate::adapters::base(BASE)).to_string();
    assert_eq!(ask(&guest, "beta", "tiny").await.0, plain);
    let (said, id) = ask(&guest, "acme", "tuned").await;
    assert_eq!(said, format!("{plain}+{}*1000000", Digest256::of(&weights)));
    assert_eq!(ask(&guest, "beta", "tuned").await.0, "model_not_found");
    assert_eq!(ask(&guest, "beta", "tiny").await.0, plain);
    assert_eq!(ask(&guest, "acme", "tiny").await.0, plain);
    assert_eq!(listed(&guest, "acme").await, ["tiny", "tuned"]);
    assert_eq!(listed(&guest, "beta").await, ["tiny"]);

    let id = id.rsplit('-').next().unwrap();
    let (status, receipt, _) = call(&guest, Method::GET, &format!("/v1/receipts/{id}"), "acme", vec![]).await;
    assert_eq!(status, StatusCode::OK);
    let receipt = &receipt["receipt"];
    assert_eq!(receipt["base_root"], root.to_string());
    assert_eq!(receipt["weights_root"], own.to_string());
    guest.stop().await.unwrap();
    world.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_is_put_on_a_copy_of_its_base_byte_for_byte() {
    let mut world = world().await;
    let weights = delta(&world);
    let root = base_root(&world);
    let dir = adapter(&world, AdapterKind::BitDelta, root, &weights);
    serve(&mut world, &dir);
    let guest = boot(&world).await;
    assert_eq!(guest.ready.keyset.models[1].base_root, Some(root));
    // Every change was by the same amount, so what base and delta give is the fine-tuned model itself.
    assert_eq!(
        ask(&guest, "acme", "tuned").await.0,
        Digest256::of(&base(FINE)).to_string()
    );
    assert_eq!(
        ask(&guest, "beta", "tiny").await.0,
        Digest256::of(&base(BASE)).to_string()
    );
    assert_eq!(ask(&guest, "beta", "tuned").await.0, "model_not_found");
    guest.stop().await.unwrap();
    world.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_is_not_for_this_base_or_was_changed_stops_the_boot() {
    let mut world = world().await;
    let root = base_root(&world);
    let elsewhere = adapter(&world, AdapterKind::Lora, Digest256([9; 32]), &lora());
    serve(&mut world, &elsewhere);
    assert_eq!(world.refused().await.code(), "adapter.base");

    let good = adapter(&world, AdapterKind::Lora, root, &lora());
    serve(&mut world, &good);
    let pack = world.options.packs.join("tuned.pack");
    let mut bytes = std::fs::read(&pack).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&pack, &bytes).unwrap();
    assert_eq!(world.refused().await.code(), "pack.chunk.not_authentic");
    // Refused by its length, before a byte is opened; sparse here.
    let large = std::fs::OpenOptions::new().write(true).open(&pack).unwrap();
    large.set_len(ADAPTER_BYTES_MAX + (1 << 30)).unwrap();
    assert_eq!(world.refused().await.code(), "adapter.size");

    serve(&mut world, &good);
    world.options.llama_command = None;
    assert_eq!(world.refused().await.code(), "engine.adapter");
    world.options.llama_command = Some(engine::command());

    // A whole model, a LoRA file that is none, and a delta of a matrix that the base does not have.
    let model = world.dir.path().join("model-telling");
    serve(&mut world, &model);
    assert_eq!(world.refused().await.code(), "adapter.contents");
    let none = adapter(&world, AdapterKind::Lora, root, &base(BASE));
    serve(&mut world, &none);
    assert_eq!(world.refused().await.code(), "model.malformed");
    let mut bytes = delta(&world);
    let at = bytes.windows(4).position(|four| four == b"\"w\":").unwrap();
    let scale = bytes.windows(9).position(|nine| nine == b"\"w.scale\"").unwrap();
    (bytes[at + 1], bytes[scale + 1]) = (b'v', b'v');
    let other = adapter(&world, AdapterKind::BitDelta, root, &bytes);
    serve(&mut world, &other);
    assert_eq!(world.refused().await.code(), "delta.unknown_tensor");
}
