//! Manifests, memory and several models: what is held against what before an engine starts, and who goes on when one ends.

use hanzo_attestation::config::EngineKind;
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, UnixTime};
use hanzo_model::{ModelManifest, Publication, SignedModel, sign};
use hanzo_policy::release::ReleaseKey;
use hanzo_pqc::sign::{SEED_LEN, SignatureSuite, SigningKeys};
use hyper::StatusCode;

use crate::client::connect;
use crate::world::World;

const CHAT: &str = "/v1/chat/completions";

fn keys(seed: u8) -> SigningKeys {
    SigningKeys::from_seed(SignatureSuite::MlDsa65Ed25519, &[seed; SEED_LEN]).unwrap()
}

fn public(seed: u8) -> ReleaseKey {
    let name = Name::new(&format!("holder-{seed}")).unwrap();
    ReleaseKey::of(name, keys(seed).verifying_keys()).unwrap()
}

/// The table of two holders who must both sign.
fn signers() -> String {
    let mut text = "[model_signers]\nthreshold = 2\n".to_owned();
    for key in [public(1), public(2)] {
        text += &format!(
            "[[model_signers.keys]]\nname = \"{}\"\ned25519 = \"{}\"\nml_dsa = \"{}\"\n",
            key.name, key.ed25519, key.ml_dsa
        );
    }
    text
}

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// What the model of [`World`] is, in its publisher's words.
fn manifest(world: &World) -> ModelManifest {
    let facts = hanzo_model::inspect(&world.dir.path().join("model-healthy")).unwrap();
    let publication = Publication {
        name: Name::new("tiny").unwrap(),
        version: 1,
        licence: "Apache-2.0".into(),
        minimum_tier: 2,
        engine: Some(EngineKind::MistralRs),
        context_tokens: Some(256),
        life: (UnixTime(now() - 60), UnixTime(now() + 3600)),
        weights_root: Digest256::from_hex(world.model_subject().as_str()).unwrap(),
    };
    ModelManifest::draft(&facts, publication).unwrap()
}

fn put(world: &World, manifest: &ModelManifest, seeds: &[u8]) {
    let signatures = seeds
        .iter()
        .map(|seed| sign(manifest, &keys(*seed), public(*seed).id()).unwrap())
        .collect();
    let signed = SignedModel::new(manifest.clone(), signatures);
    std::fs::write(world.options.packs.join("tiny.model.json"), signed.canonical().unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_served_under_its_signed_manifest_and_every_other_one_is_refused_by_name() {
    let mut world = World::new().await;
    world.configure(format!("{}{}", world.config, signers()));
    assert_eq!(world.refused().await.code(), "model.manifest.missing");

    let good = manifest(&world);
    put(&world, &good, &[1, 2]);
    let guest = world.boot().await;
    assert_eq!(guest.ready.keyset.models[0].tokenizer_sha256, good.tokenizer_sha256);
    guest.stop().await.unwrap();

    put(&world, &good, &[1]);
    assert_eq!(world.refused().await.code(), "model.manifest.quorum");
    put(&world, &good, &[1, 3]);
    assert_eq!(world.refused().await.code(), "model.manifest.quorum");
    // Signed, then changed.
    let signed = SignedModel::new(
        ModelManifest {
            licence: "MIT".into(),
            ..good.clone()
        },
        [1, 2].map(|s| sign(&good, &keys(s), public(s).id()).unwrap()).to_vec(),
    );
    std::fs::write(world.options.packs.join("tiny.model.json"), signed.canonical().unwrap()).unwrap();
    assert_eq!(world.refused().await.code(), "model.manifest.signature.invalid");

    type Change = fn(&mut ModelManifest);
    let twins: [(&str, Change); 9] = [
        ("weights_root", |m| m.weights_root = Digest256([9; 32])),
        ("name", |m| m.name = Name::new("other").unwrap()),
        ("tokenizer_sha256", |m| m.tokenizer_sha256 = Digest256([9; 32])),
        ("chat_template_sha256", |m| m.chat_template_sha256 = Digest256([9; 32])),
        ("architecture", |m| m.architecture = "qwen2".into()),
        ("format", |m| m.format = hanzo_model::Format::Safetensors),
        ("context_tokens", |m| m.context_tokens = 255),
        ("minimum_tier", |m| m.minimum_tier = 3),
        ("not_after", |m| m.not_after = now() - 1),
    ];
    for (field, change) in twins {
        let mut other = good.clone();
        change(&mut other);
        put(&world, &other, &[1, 2]);
        let error = world.refused().await;
        match field {
            "not_after" => assert_eq!(error.code(), "model.manifest.time", "{error}"),
            _ => {
                assert_eq!(error.code(), "model.manifest.differs", "{error}");
                assert!(error.to_string().contains(&format!(" {field}: ")), "{error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_cannot_have_its_memory_is_refused_before_it_starts() {
    let mut world = World::new().await;
    world.options.limits.engine_memory_bytes_max = Some(hanzo_model::WORKING_BYTES - 1);
    let error = world.refused().await;
    assert_eq!(error.code(), "engine.memory", "{error}");
    assert!(error.to_string().contains("lower context_tokens"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_without_a_model_in_it_is_refused() {
    let world = World::with_weights(b"weights").await;
    assert_eq!(world.refused().await.code(), "model.not_a_model");
}

fn question(model: &str, text: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_models_are_served_at_once_and_one_dead_engine_does_not_hurt_the_other() {
    let mut world = World::new().await;
    let packs = &world.options.packs;
    std::fs::copy(packs.join("tiny.pack"), packs.join("second.pack")).unwrap();
    let root = world.model_subject();
    let second = format!(
        "[[models]]\nname = \"second\"\nweights_root = \"{root}\"\nkey_id = \"{}\"\ncontext_tokens = 256\n[limits]",
        crate::world::MODEL_KEY
    );
    world.configure(world.config.replace("[limits]", &second));
    let guest = world.boot().await;
    let names: Vec<_> = guest.ready.keyset.models.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["second", "tiny"]);
    let ask = async |model: &str, text: &str| {
        let mut connection = connect(&guest.ready.address).await;
        connection.post(CHAT, question(model, text)).await.0
    };
    let (one, other) = tokio::join!(ask("tiny", "Capital of France?"), ask("second", "Capital of France?"));
    assert_eq!((one, other), (StatusCode::OK, StatusCode::OK));

    // Once more than it is started again: it is given up.
    assert!(ask("second", "die now").await.is_server_error());
    assert_eq!(ask("tiny", "Capital of France?").await, StatusCode::OK);
    let mut answered = StatusCode::OK;
    for _ in 0..100 {
        answered = ask("second", "Capital of France?").await;
        if answered == StatusCode::OK {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(answered, StatusCode::OK, "it came back");
    assert!(ask("second", "die now").await.is_server_error());
    assert!(ask("second", "Capital of France?").await.is_server_error());
    assert_eq!(ask("tiny", "Capital of France?").await, StatusCode::OK);
    guest.stop().await.unwrap();
    world.assert_nothing_left();
}
