//! Preparing models: what is accepted, and its nearest refused neighbour.

use std::fs;
use std::path::Path;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, Value};
use hanzo_engine::convert::{self, ConvertError, Encoding, TokenizerSource};

use crate::fixture::{self, Spec};

fn refused(source: &Path) -> ConvertError {
    let out = source.with_file_name("out");
    let error = convert::prepare(source, &out, &mut |_| {}).unwrap_err();
    assert!(!out.exists(), "nothing is left behind");
    let left: Vec<_> = fs::read_dir(source.parent().unwrap())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(
        !left.iter().any(|name| name.to_string_lossy().contains("partial")),
        "{left:?}"
    );
    error
}

fn refused_code(source: &Path) -> &'static str {
    refused(source).code()
}

#[test]
fn slow_matrices_are_requantised_and_the_rest_stays() {
    let root = tempfile::tempdir().unwrap();
    let source = root.path().join("slow.gguf");
    Spec::new(GgmlDType::Q4_1).write(&source);
    let mut steps = 0;
    let prepared = convert::prepare(&source, &root.path().join("a"), &mut |progress| {
        steps += 1;
        assert_eq!(progress.done == progress.total, steps == 20);
    })
    .unwrap();
    assert_eq!(
        (prepared.requantised, prepared.tensors, prepared.tokenizer),
        (15, 20, TokenizerSource::Gguf)
    );
    assert_eq!(steps, 20);

    // The same bytes every time.
    convert::prepare(&source, &root.path().join("b"), &mut |_| {}).unwrap();
    for file in [
        "model.gguf",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ] {
        let read = |dir: &str| fs::read(root.path().join(dir).join(file)).unwrap();
        assert!(read("a") == read("b"), "{file}");
    }

    let before = Content::read(&mut fs::File::open(&source).unwrap()).unwrap();
    let after = Content::read(&mut fs::File::open(root.path().join("a/model.gguf")).unwrap()).unwrap();
    for (name, tensor) in &after.tensor_infos {
        let expected = if tensor.shape.rank() == 2 {
            GgmlDType::Q4_0
        } else {
            GgmlDType::F32
        };
        assert_eq!(tensor.ggml_dtype, expected, "{name}");
        assert_eq!(tensor.shape, before.tensor_infos[name].shape, "{name}");
    }
    assert_eq!(after.metadata.len(), before.metadata.len());
    assert_eq!(after.metadata["general.file_type"].to_u32().unwrap(), 2);

    convert::prepare_with(&source, &root.path().join("q8"), Encoding::Q8_0, &mut |_| {}).unwrap();
    let q8 = Content::read(&mut fs::File::open(root.path().join("q8/model.gguf")).unwrap()).unwrap();
    assert_eq!(q8.tensor_infos["blk.0.attn_q.weight"].ggml_dtype, GgmlDType::Q8_0);
}

#[test]
fn fast_files_pass_unchanged() {
    let root = tempfile::tempdir().unwrap();
    for (index, dtype) in [GgmlDType::Q8_0, GgmlDType::Q4_0, GgmlDType::F16]
        .into_iter()
        .enumerate()
    {
        let source = root.path().join(format!("{index}.gguf"));
        Spec::new(dtype).write(&source);
        let out = root.path().join(index.to_string());
        assert_eq!(convert::prepare(&source, &out, &mut |_| {}).unwrap().requantised, 0);
        assert!(fs::read(&source).unwrap() == fs::read(out.join("model.gguf")).unwrap());
    }
}

#[test]
fn what_is_no_gguf_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let source = root.path().join("model.gguf");
    Spec::new(GgmlDType::Q8_0).write(&source);
    let good = fs::read(&source).unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        fs::write(&source, bytes).unwrap();
        refused_code(&source)
    };
    assert_eq!(with(&|bytes| bytes.clear()), "convert.not_a_model");
    assert_eq!(with(&|bytes| bytes.truncate(3)), "convert.not_a_model");
    assert_eq!(with(&|bytes| bytes[0] = b'g'), "convert.not_a_model");
    assert_eq!(with(&|bytes| bytes[4] = 1), "convert.gguf.version");
    assert_eq!(with(&|bytes| bytes[4] = 4), "convert.gguf.version");
    // Counts and lengths that would allocate the machine away.
    assert_eq!(with(&|bytes| bytes[8..16].fill(0x7f)), "convert.malformed");
    assert_eq!(with(&|bytes| bytes[16..24].fill(0x7f)), "convert.malformed");
    assert_eq!(with(&|bytes| bytes[24..32].fill(0x7f)), "convert.malformed");
    assert_eq!(
        with(&|bytes| bytes[24..32].copy_from_slice(&(1u64 << 20).to_le_bytes())),
        "convert.truncated"
    );
    // Cut anywhere: header, tensor table, data.
    for len in [10, 40, 5000, good.len() / 2, good.len() - 64] {
        assert_eq!(with(&|bytes| bytes.truncate(len)), "convert.truncated", "{len}");
    }
    assert_eq!(refused_code(&root.path().join("absent")), "convert.io");
    assert_eq!(refused_code(root.path()), "convert.not_a_model");
}

#[test]
fn metadata_that_does_not_serve_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let source = root.path().join("model.gguf");
    let code = |spec: Spec| {
        spec.write(&source);
        refused_code(&source)
    };
    let spec = || Spec::new(GgmlDType::Q8_0);
    let text = |text: &str| Value::String(text.to_owned());
    assert_eq!(
        code(spec().set("general.architecture", text("mamba"))),
        "convert.architecture"
    );
    assert_eq!(
        code(spec().set("tokenizer.ggml.pre", text("new-thing"))),
        "convert.tokenizer.unknown"
    );
    assert_eq!(code(spec().without("tokenizer.ggml.pre")), "convert.tokenizer.unknown");
    assert_eq!(
        code(spec().set("tokenizer.ggml.model", text("llama"))),
        "convert.tokenizer.unknown"
    );
    assert_eq!(code(spec().without("tokenizer.ggml.eos_token_id")), "convert.malformed");
    assert_eq!(
        code(spec().set("tokenizer.ggml.eos_token_id", Value::U32(9999))),
        "convert.malformed"
    );
    assert_eq!(
        code(spec().set("tokenizer.ggml.merges", Value::Array(vec![text("one")]))),
        "convert.malformed"
    );
    assert_eq!(
        code(spec().without("tokenizer.chat_template")),
        "convert.no_chat_template"
    );
    // Nor does one do that says it makes no vectors, or ranks.
    for pooling in [0, 4] {
        let spec = spec().without("tokenizer.chat_template");
        let spec = spec.set("llama.pooling_type", Value::U32(pooling));
        assert_eq!(code(spec), "convert.no_chat_template", "{pooling}");
    }

    let error = {
        spec().set("tokenizer.ggml.pre", text("new-thing")).write(&source);
        refused(&source).to_string()
    };
    assert!(
        error.contains("tokenizer.ggml.pre is `new-thing`") && error.contains("tokenizer.json beside"),
        "{error}"
    );

    // What the errors advise works; a tokenizer of another model does not.
    let donor = root.path().join("donor.gguf");
    spec().write(&donor);
    convert::prepare(&donor, &root.path().join("donor"), &mut |_| {}).unwrap();
    let tokenizer = fs::read_to_string(root.path().join("donor/tokenizer.json")).unwrap();
    let beside = root.path().join("tokenizer.json");
    fs::write(&beside, tokenizer.replace("<|im_end|>", "<|other|>")).unwrap();
    assert_eq!(refused_code(&source), "convert.tokenizer.mismatch");
    fs::write(&beside, &tokenizer).unwrap();
    let prepared = convert::prepare(&source, &root.path().join("supplied"), &mut |_| {}).unwrap();
    assert_eq!(prepared.tokenizer, TokenizerSource::Supplied);
    let again = convert::prepare(&source, &root.path().join("supplied"), &mut |_| {}).unwrap_err();
    assert_eq!(again.code(), "convert.output_exists");
}

#[test]
fn safetensors_directories() {
    let root = tempfile::tempdir().unwrap();
    let source = fixture::safetensors_dir(root.path());
    fs::write(source.join("modeling.py"), "import os").unwrap();
    let out = root.path().join("prepared");
    let prepared = convert::prepare(&source, &out, &mut |progress| assert!(progress.done <= progress.total)).unwrap();
    assert_eq!(prepared.tensors, 20);
    assert!(!out.join("modeling.py").exists(), "code is not copied");
    assert!(fs::read(source.join("model.safetensors")).unwrap() == fs::read(out.join("model.safetensors")).unwrap());

    let with = |file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let path = source.join(file);
        let good = fs::read(&path).unwrap();
        let mut bytes = good.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let code = refused_code(&source);
        fs::write(&path, good).unwrap();
        code
    };
    let weights = "model.safetensors";
    assert_eq!(with(weights, &|bytes| bytes.truncate(4)), "convert.truncated");
    assert_eq!(with(weights, &|bytes| bytes.truncate(100)), "convert.truncated");
    assert_eq!(
        with(weights, &|bytes| bytes.truncate(bytes.len() - 1)),
        "convert.truncated"
    );
    assert_eq!(with(weights, &|bytes| bytes[..8].fill(0xff)), "convert.malformed");
    assert_eq!(with(weights, &|bytes| bytes[8] = b'['), "convert.malformed");
    assert_eq!(
        with("config.json", &|bytes| *bytes =
            br#"{"architectures":["BertModel"]}"#.to_vec()),
        "convert.architecture"
    );
    assert_eq!(
        with("config.json", &|bytes| *bytes = b"nonsense".to_vec()),
        "convert.malformed"
    );
    assert_eq!(
        with("tokenizer.json", &|bytes| *bytes = b"{}".to_vec()),
        "convert.tokenizer.mismatch"
    );
    let no_template = br#"{"eos_token":"<|im_end|>"}"#;
    assert_eq!(
        with("tokenizer_config.json", &|bytes| *bytes = no_template.to_vec()),
        "convert.no_chat_template"
    );
    fs::write(
        source.join("model.safetensors.index.json"),
        r#"{"weight_map":{"a":"model-2.safetensors"}}"#,
    )
    .unwrap();
    assert_eq!(refused_code(&source), "convert.missing_file");
}

#[test]
fn a_model_that_makes_vectors_needs_no_chat_template_and_gets_one_that_refuses_chats() {
    let root = tempfile::tempdir().unwrap();
    let source = root.path().join("vectors.gguf");
    let vectors = || {
        Spec::new(GgmlDType::Q8_0)
            .without("tokenizer.chat_template")
            .set("llama.pooling_type", Value::U32(1))
    };
    vectors().write(&source);
    let out = root.path().join("a");
    let prepared = convert::prepare(&source, &out, &mut |_| {}).unwrap();
    assert_eq!(prepared.tokenizer, TokenizerSource::Gguf);
    let template = fs::read_to_string(out.join("chat_template.jinja")).unwrap();
    assert!(
        template.contains("raise_exception") && template.contains("/v1/embeddings"),
        "{template}"
    );
    // A vocabulary that only llama.cpp reads keeps nobody from it.
    vectors()
        .set("tokenizer.ggml.model", Value::String("bert".into()))
        .write(&source);
    let out = root.path().join("b");
    let prepared = convert::prepare(&source, &out, &mut |_| {}).unwrap();
    assert_eq!(prepared.tokenizer, TokenizerSource::Absent);
    assert!(!out.join("tokenizer.json").exists() && out.join("model.gguf").is_file());
    // One that the file brings is taken as it is.
    Spec::new(GgmlDType::Q8_0)
        .set("llama.pooling_type", Value::U32(1))
        .write(&source);
    let out = root.path().join("c");
    convert::prepare(&source, &out, &mut |_| {}).unwrap();
    assert!(
        !fs::read_to_string(out.join("chat_template.jinja"))
            .unwrap()
            .contains("/v1/embeddings")
    );
}
