//! Adapters: what is read, and what each thing that is none is called.

use std::fs;
use std::path::Path;

use hanzo_attestation::config::EngineKind;
use hanzo_attestation::name::Name;
use hanzo_attestation::{Digest256, UnixTime};
use hanzo_model::{
    ADAPTER_BYTES_MAX, ADAPTER_FILE, Adapter, AdapterError, AdapterFacts, AdapterKind, DELTA_FILE, Format, LORA_FILE,
    ManifestError, ModelFacts, ModelManifest, Publication, SCALE_ONE_MICROS, WORKING_BYTES,
};

const BASE: Digest256 = Digest256([7; 32]);

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn word(key: &str, value: &str) -> Vec<u8> {
    [text(key), 8_u32.to_le_bytes().to_vec(), text(value)].concat()
}

fn real(key: &str, value: f32) -> Vec<u8> {
    [text(key), 6_u32.to_le_bytes().to_vec(), value.to_le_bytes().to_vec()].concat()
}

fn tensor(name: &str, dims: [u64; 2], kind: u32, offset: u64) -> Vec<u8> {
    [
        text(name),
        2_u32.to_le_bytes().to_vec(),
        dims.map(u64::to_le_bytes).concat(),
        kind.to_le_bytes().to_vec(),
        offset.to_le_bytes().to_vec(),
    ]
    .concat()
}

fn keys() -> Vec<Vec<u8>> {
    vec![
        word("general.type", "adapter"),
        word("general.architecture", "llama"),
        word("adapter.type", "lora"),
        real("adapter.lora.alpha", 8.0),
    ]
}

fn pair() -> Vec<Vec<u8>> {
    vec![
        tensor("blk.0.attn_q.weight.lora_a", [64, 4], 0, 0),
        tensor("blk.0.attn_q.weight.lora_b", [4, 64], 1, 1024),
    ]
}

fn gguf(keys: &[Vec<u8>], tensors: &[Vec<u8>]) -> Vec<u8> {
    let mut out = [
        &b"GGUF"[..],
        &3_u32.to_le_bytes(),
        &(tensors.len() as u64).to_le_bytes(),
        &(keys.len() as u64).to_le_bytes(),
    ]
    .concat();
    out.extend(keys.concat());
    out.extend(tensors.concat());
    out.resize(out.len().next_multiple_of(32) + 2048, 0);
    out
}

fn lora(dir: &Path, weights: &[u8]) {
    let document = Adapter::new(AdapterKind::Lora, BASE, SCALE_ONE_MICROS)
        .document(dir)
        .unwrap();
    fs::write(dir.join(ADAPTER_FILE), document).unwrap();
    fs::write(dir.join(LORA_FILE), weights).unwrap();
}

fn code(dir: &Path) -> &'static str {
    AdapterFacts::read(dir).unwrap_err().code()
}

#[test]
fn a_lora_adapter_is_read_and_everything_that_is_not_quite_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    lora(dir, &gguf(&keys(), &pair()));
    let facts = AdapterFacts::read(dir).unwrap();
    assert_eq!((facts.architecture.as_deref(), facts.matrices), (Some("llama"), 1));
    facts.check_base(dir, &BASE).unwrap();
    let other = facts.check_base(dir, &Digest256([8; 32])).unwrap_err();
    assert_eq!(other.code(), "adapter.base");
    assert!(other.to_string().contains(&BASE.to_string()), "{other}");

    let with = |at: usize, key: Vec<u8>| {
        let mut keys = keys();
        keys[at] = key;
        gguf(&keys, &pair())
    };
    let of = |tensors: &[Vec<u8>]| gguf(&keys(), tensors);
    let [a, b] = [pair()[0].clone(), pair()[1].clone()];
    let mut invoked = keys();
    invoked.push(word("adapter.alora.invocation_tokens", "x"));
    for (weights, why) in [
        (with(0, word("general.type", "model")), "general.type"),
        (with(2, word("adapter.type", "control_vector")), "adapter.type"),
        (with(2, real("adapter.type", 1.0)), "adapter.type"),
        (with(1, word("general.architecture", "")), "general.architecture"),
        (with(3, real("adapter.lora.alpha", f32::NAN)), "alpha"),
        (with(3, real("adapter.lora.alpha", 0.0)), "alpha"),
        (with(3, word("adapter.lora.alpha", "8")), "alpha"),
        (gguf(&invoked, &pair()), "always on"),
        (of(&[]), "at least one pair"),
        (of(std::slice::from_ref(&a)), "both halves"),
        (
            of(&[a.clone(), tensor("blk.0.attn_norm.weight", [64, 1], 0, 1024)]),
            "lora_a",
        ),
        (
            of(&[a.clone(), tensor("blk.0.attn_q.weight.lora_b", [32, 32], 2, 1024)]),
            "F16",
        ),
        (
            of(&[a, tensor("blk.0.attn_q.weight.lora_b", [4, 6400], 0, 1024)]),
            "truncated",
        ),
    ] {
        lora(dir, &weights);
        let error = AdapterFacts::read(dir).unwrap_err();
        assert!(error.code().starts_with("model."), "{error}");
        assert!(error.to_string().contains(why), "{why}: {error}");
    }
    drop(b);
}

#[test]
fn a_delta_is_one_and_a_file_too_many_too_few_or_too_large_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let adapter = Adapter::new(AdapterKind::BitDelta, BASE, SCALE_ONE_MICROS);
    let document = adapter.document(dir).unwrap();
    fs::write(dir.join(ADAPTER_FILE), &document).unwrap();
    assert_eq!(code(dir), "adapter.contents");
    let header = r#"{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w.scale":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}"#;
    let delta = [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        &[1, 0, 0, 128, 63],
    ]
    .concat();
    fs::write(dir.join(DELTA_FILE), &delta).unwrap();
    let facts = AdapterFacts::read(dir).unwrap();
    assert_eq!((facts.adapter.kind, facts.matrices), (AdapterKind::BitDelta, 1));

    fs::write(dir.join("more.txt"), "x").unwrap();
    assert_eq!(code(dir), "adapter.contents");
    fs::remove_file(dir.join("more.txt")).unwrap();
    fs::write(dir.join(DELTA_FILE), &delta[..delta.len() - 1]).unwrap();
    assert!(code(dir).starts_with("model."));
    // Sparse: no byte of it is written.
    let large = fs::File::create(dir.join(DELTA_FILE)).unwrap();
    large.set_len(ADAPTER_BYTES_MAX + 1).unwrap();
    let error = AdapterFacts::read(dir).unwrap_err();
    assert!(matches!(error, AdapterError::Size { .. }), "{error}");
    assert_eq!(error.code(), "adapter.size");
    fs::write(dir.join(DELTA_FILE), &delta).unwrap();

    let changed = |from: &str, to: &str| {
        let text = String::from_utf8(document.clone()).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(dir.join(ADAPTER_FILE), text.replace(from, to)).unwrap();
        code(dir)
    };
    assert_eq!(changed("1000000", "1000001"), "adapter.value");
    assert_eq!(changed("adapter.v1", "adapter.v2"), "adapter.value");
    assert_eq!(changed("bitdelta", "full"), "adapter.malformed");
    assert_eq!(changed("{\"base", "{ \"base"), "adapter.malformed");
    assert_eq!(changed("{\"base", "{\"a\":1,\"base"), "adapter.malformed");
    for scale in [0, 64_000_001] {
        let wrong = Adapter::new(AdapterKind::Lora, BASE, scale).document(dir).unwrap_err();
        assert_eq!(wrong.code(), "adapter.value");
    }
}

#[test]
fn a_manifest_of_an_adapter_names_its_base_and_what_it_needs_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    lora(dir.path(), &gguf(&keys(), &pair()));
    let adapter = AdapterFacts::read(dir.path()).unwrap();
    let base = ModelFacts {
        format: Format::Gguf,
        architecture: "llama".into(),
        title: None,
        licence: None,
        context_tokens: Some(512),
        layers: None,
        vocabulary: None,
        parameters: 1,
        tensors: 1,
        weights_bytes: 1_000_000,
        encodings: Vec::new(),
        bytes_per_token: Some(10),
        gguf_tokenizer_sha256: Some(Digest256([1; 32])),
        tokenizer_json_sha256: Some(Digest256([2; 32])),
        chat_template_sha256: Some(Digest256([3; 32])),
    };
    let publication = |engine| Publication {
        name: Name::new("tuned").unwrap(),
        version: 1,
        licence: "Apache-2.0".into(),
        minimum_tier: 2,
        engine,
        context_tokens: None,
        life: (UnixTime(1_000), UnixTime(2_000)),
        weights_root: Digest256([4; 32]),
    };
    let drafted = ModelManifest::draft_adapter(&base, &adapter, publication(None)).unwrap();
    assert_eq!(drafted.base_root, Some(BASE));
    assert_eq!(drafted.memory_bytes, WORKING_BYTES + 2 * adapter.bytes);
    let refused = |base: &ModelFacts, engine| match ModelManifest::draft_adapter(base, &adapter, publication(engine)) {
        Err(ManifestError::Value { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&base, Some(EngineKind::MistralRs)), "engine");
    let qwen = ModelFacts {
        architecture: "qwen2".into(),
        ..base.clone()
    };
    assert_eq!(refused(&qwen, None), "architecture");
}
