//! What is read from well-made files, and what each kind of damage is called.

use std::fs;
use std::path::Path;

use hanzo_attestation::Digest256;
use hanzo_attestation::config::EngineKind;
use hanzo_model::{Format, ModelFileError, WORKING_BYTES, inspect};
use proptest::prelude::*;

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn pair(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(key), &kind.to_le_bytes()[..], value].concat()
}

fn word(key: &str, value: &str) -> Vec<u8> {
    pair(key, 8, &text(value))
}

fn number(key: &str, value: u32) -> Vec<u8> {
    pair(key, 4, &value.to_le_bytes())
}

fn words(key: &str, values: &[&str]) -> Vec<u8> {
    let all: Vec<u8> = values.iter().flat_map(|v| text(v)).collect();
    pair(
        key,
        9,
        &[&8_u32.to_le_bytes()[..], &(values.len() as u64).to_le_bytes(), &all].concat(),
    )
}

fn tensor(name: &str, dims: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let dims_bytes: Vec<u8> = dims.iter().flat_map(|d| d.to_le_bytes()).collect();
    [
        &text(name)[..],
        &(dims.len() as u32).to_le_bytes(),
        &dims_bytes,
        &kind.to_le_bytes(),
        &offset.to_le_bytes(),
    ]
    .concat()
}

/// A whole file, with as much data as asked for.
fn gguf(keys: &[Vec<u8>], tensors: &[Vec<u8>], data: usize) -> Vec<u8> {
    let mut out = [
        &b"GGUF"[..],
        &3_u32.to_le_bytes(),
        &(tensors.len() as u64).to_le_bytes(),
        &(keys.len() as u64).to_le_bytes(),
    ]
    .concat();
    out.extend(keys.concat());
    out.extend(tensors.concat());
    out.resize(out.len().next_multiple_of(32) + data, 0);
    out
}

fn keys() -> Vec<Vec<u8>> {
    vec![
        word("general.architecture", "llama"),
        word("general.name", "Tiny \u{1b}[31m"),
        word("general.license", "apache-2.0"),
        number("llama.context_length", 512),
        number("llama.block_count", 30),
        number("llama.embedding_length", 576),
        number("llama.attention.head_count", 9),
        number("llama.attention.head_count_kv", 3),
        word("tokenizer.ggml.model", "gpt2"),
        words("tokenizer.ggml.tokens", &["a", "b", "ab"]),
    ]
}

fn tensors() -> Vec<Vec<u8>> {
    vec![
        tensor("token_embd.weight", &[64, 3], 2, 0),
        tensor("output_norm.weight", &[64], 0, 128),
    ]
}

const DATA: usize = 128 + 256;

fn of(bytes: &[u8]) -> Result<hanzo_model::ModelFacts, ModelFileError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    fs::write(&path, bytes).unwrap();
    inspect(&path)
}

#[test]
fn a_gguf_says_what_it_is_and_steers_no_terminal() {
    let facts = of(&gguf(&keys(), &tensors(), DATA)).unwrap();
    assert_eq!((facts.format, facts.architecture.as_str()), (Format::Gguf, "llama"));
    assert_eq!(facts.title.as_deref(), Some("Tiny \u{fffd}[31m"));
    assert_eq!(facts.licence.as_deref(), Some("apache-2.0"));
    assert_eq!(
        (facts.context_tokens, facts.layers, facts.vocabulary),
        (Some(512), Some(30), Some(3))
    );
    assert_eq!((facts.tensors, facts.parameters), (2, 64 * 3 + 64));
    assert_eq!(facts.weights_bytes, 6 * 18 + 256);
    assert_eq!(facts.encodings_text(), "F32, Q4_0");
    assert_eq!(facts.bytes_per_token, Some(23_040));
    let context = 512 * 23_040;
    assert_eq!(
        facts.least_memory_bytes(EngineKind::LlamaCpp, 512),
        WORKING_BYTES + context
    );
    assert_eq!(
        facts.least_memory_bytes(EngineKind::MistralRs, 512),
        WORKING_BYTES + context + facts.weights_bytes
    );
    assert_eq!(facts.tokenizer_sha256(EngineKind::MistralRs), None);
}

#[test]
fn the_tokenizers_digest_is_over_what_ids_are_made_with_and_nothing_else() {
    let digest = |keys: &[Vec<u8>]| of(&gguf(keys, &tensors(), DATA)).unwrap().gguf_tokenizer_sha256;
    // Computed from the specification's words.
    let mut counted = vec![
        word("general.architecture", "llama"),
        word("general.name", "Tiny \u{1b}[31m"),
        word("tokenizer.ggml.model", "gpt2"),
        words("tokenizer.ggml.tokens", &["a", "b", "ab"]),
    ];
    let expected = Digest256::of(&[&b"hanzo/gguf-tokenizer/v1"[..], &counted.concat()].concat());
    assert_eq!(digest(&keys()), Some(expected));
    // Order in the file, other keys and tensors do not count.
    counted.reverse();
    assert_eq!(digest(&counted), Some(expected));
    // Each part of it does.
    for (at, other) in [
        (0, word("general.architecture", "qwen2")),
        (1, word("general.name", "Tiny")),
        (8, word("tokenizer.ggml.model", "llama")),
        (9, words("tokenizer.ggml.tokens", &["a", "b", "ba"])),
    ] {
        let mut changed = keys();
        changed[at] = other;
        assert_ne!(digest(&changed), Some(expected), "key {at}");
    }
    let mut more = keys();
    more.push(word("tokenizer.ggml.pre", "smollm"));
    assert_ne!(digest(&more), Some(expected));
    let without: Vec<_> = keys().into_iter().take(8).collect();
    assert_eq!(digest(&without), None);
}

#[test]
fn every_cut_of_a_header_is_truncated() {
    let whole = gguf(&keys(), &tensors(), DATA);
    // Each byte of the start, then every seventh.
    for cut in (4..64).chain((64..whole.len()).step_by(7)) {
        let error = of(&whole[..cut]).err();
        assert_eq!(error.map(|e| e.code()), Some("model.truncated"), "{cut}");
    }
    assert_eq!(of(b"GGML").unwrap_err().code(), "model.not_a_model");
    assert_eq!(of(b"").unwrap_err().code(), "model.truncated");
}

#[test]
fn what_the_format_does_not_have_is_refused_by_name() {
    let with_key = |key: Vec<u8>| {
        let mut keys = keys();
        keys.push(key);
        gguf(&keys, &tensors(), DATA)
    };
    let with_tensor = |entry: Vec<u8>| gguf(&keys(), &[entry], DATA);
    let large = u64::MAX.to_le_bytes();
    for (bytes, part) in [
        (with_key(number("llama.block_count", 1)), "metadata"),
        (with_key(pair("x", 13, b"")), "type of `x`"),
        (with_key(pair("x", 8, &large)), "x"),
        (
            with_key(pair("x", 9, &[&4_u32.to_le_bytes()[..], &large].concat())),
            "x",
        ),
        (
            with_key(pair("x", 8, &[&1_u64.to_le_bytes()[..], &[0xff]].concat())),
            "x",
        ),
        (with_key(number("general.alignment", 7)), "general.alignment"),
        (with_tensor(tensor("t", &[1; 5], 0, 0)), "rank of `t`"),
        (with_tensor(tensor("t", &[u64::MAX, 2], 0, 0)), "size of `t`"),
        (with_tensor(tensor("t", &[4], 999, 0)), "type of `t`"),
        (with_tensor(tensor("t", &[31], 2, 0)), "size of `t`"),
    ] {
        match of(&bytes).unwrap_err() {
            ModelFileError::Malformed { what, .. } => assert_eq!(what, part),
            other => panic!("{part}: {other}"),
        }
    }
    let twice = gguf(&keys(), &[tensors().remove(1), tensors().remove(1)], DATA);
    assert_eq!(of(&twice).unwrap_err().code(), "model.malformed");
    let outside = with_tensor(tensor("t", &[64], 0, u64::MAX));
    assert_eq!(of(&outside).unwrap_err().code(), "model.truncated");
    let mut other = gguf(&keys(), &tensors(), DATA);
    other[4] = 4;
    assert_eq!(of(&other).unwrap_err().code(), "model.gguf.version");
}

fn safetensors(dir: &Path, header: &str, data: usize) {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    fs::write(dir.join("model.safetensors"), bytes).unwrap();
}

const CONFIG: &str = r#"{"architectures":["LlamaForCausalLM"],"max_position_embeddings":2048,"num_hidden_layers":2,
"num_attention_heads":4,"num_key_value_heads":2,"hidden_size":64,"vocab_size":262}"#;
const HEADER: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}"#;

#[test]
fn a_safetensors_directory_says_what_it_is_and_its_data_has_neither_holes_nor_overlaps() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("config.json"), CONFIG).unwrap();
    assert_eq!(inspect(dir.path()).unwrap_err().code(), "model.not_a_model");
    safetensors(dir.path(), HEADER, 32);
    fs::write(at("tokenizer.json"), "{}").unwrap();
    fs::write(at("tokenizer_config.json"), "[]").unwrap();
    let facts = inspect(dir.path()).unwrap();
    assert_eq!(facts.architecture, "LlamaForCausalLM");
    assert_eq!((facts.parameters, facts.weights_bytes, facts.tensors), (10, 32, 2));
    assert_eq!(facts.bytes_per_token, Some(2 * 2 * 32 * 2));
    assert_eq!(
        facts.tokenizer_sha256(EngineKind::MistralRs),
        Some(Digest256::of(b"{}"))
    );
    assert_eq!(facts.tokenizer_sha256(EngineKind::LlamaCpp), None);
    assert_eq!(facts.chat_template_sha256, Some(Digest256::of(b"[]")));
    fs::write(at("chat_template.jinja"), "{{ x }}").unwrap();
    assert_eq!(
        inspect(dir.path()).unwrap().chat_template_sha256,
        Some(Digest256::of(b"{{ x }}"))
    );
    for (from, to, data, code) in [
        ("[24,32]", "[24,33]", 33, "model.malformed"),
        ("[24,32]", "[20,28]", 28, "model.malformed"),
        ("[24,32]", "[28,36]", 36, "model.malformed"),
        ("[24,32]", "[32,24]", 32, "model.malformed"),
        ("\"BF16\"", "\"BF17\"", 32, "model.malformed"),
        ("[4]", "[18446744073709551615,2]", 32, "model.malformed"),
        ("[4]", "[-4]", 32, "model.malformed"),
        ("\"b\"", "\"b", 32, "model.malformed"),
        ("[4]", "[4]", 31, "model.truncated"),
        ("[4]", "[4]", 33, "model.malformed"),
    ] {
        safetensors(dir.path(), &HEADER.replace(from, to), data);
        assert_eq!(inspect(dir.path()).unwrap_err().code(), code, "{from} -> {to}, {data}");
    }
    fs::write(at("model.safetensors"), [0xff; 9]).unwrap();
    assert_eq!(inspect(dir.path()).unwrap_err().code(), "model.malformed");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn no_bytes_of_a_gguf_panic(at in 0_usize..600, value: u8, cut in 0_usize..700) {
        let mut bytes = gguf(&keys(), &tensors(), DATA);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        let _ = of(&bytes);
    }
}
