//! A LoRA adapter: what it computes is what the merged model computes and what llama.cpp as others ship it computes with it; and what is
//! no adapter for this model ends the process before it could serve.

use std::path::Path;

use hanzo_engine_llama::{EngineOptions, Llama, Lora};
use serde_json::json;

use crate::fixture::{self, Adapted, Spec, adapted, text};
use crate::node::Node;
use crate::peer::{greedy, ids, started_again};
use crate::process::{Process, ask, command};

const SEED: u64 = 5;
/// Ids of texts that differ from the first on.
const PROMPTS: [&[u32]; 4] = [
    &[1, 75, 104],
    &[1, 2, 3, 4, 5, 6, 7, 8],
    &[259, 260, 35, 259],
    &[200; 40],
];

fn options(dir: &Path) -> EngineOptions {
    EngineOptions {
        threads: Some(1),
        context_tokens: Some(512),
        streams: Some(2),
        ..EngineOptions::new(dir, "")
    }
}

async fn answers(dir: &Path, lora: Option<Lora>) -> Vec<Vec<u32>> {
    let engine = Llama::load_with(&options(dir), lora).await.unwrap();
    let mut all = Vec::new();
    for prompt in PROMPTS {
        all.push(greedy(&engine, prompt.to_vec(), 32).await);
    }
    all
}

fn file(dir: &Path, spec: &Spec) -> Lora {
    let file = dir.join("adapter.gguf");
    std::fs::write(&file, spec.bytes()).unwrap();
    Lora {
        file,
        scale_micros: 1_000_000,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_gives_the_greedy_answers_of_the_merged_model_and_leaves_the_base_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    let base = fixture::model_dir(root.path());
    let Adapted { lora, merged } = adapted(SEED);
    let other = tempfile::tempdir().unwrap();
    let merged = fixture::dir_of(other.path(), &merged);
    let before = answers(&base, None).await;
    let lora = file(root.path(), &lora);
    let tuned = answers(&base, Some(lora.clone())).await;
    assert_eq!(tuned, answers(&merged, None).await);
    assert_ne!(tuned, before, "it changes answers");
    assert_eq!(answers(&base, None).await, before);
    // The strength counts: almost none of it is the base again.
    let faint = Lora {
        scale_micros: 1,
        ..lora
    };
    assert_eq!(answers(&base, Some(faint)).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_gives_the_greedy_answers_of_node_llama_cpp_with_it() {
    if started_again("adapter::an_adapter_gives_the_greedy_answers_of_node_llama_cpp_with_it") {
        return;
    }
    let Some(node) = Node::alike() else { return };
    let root = tempfile::tempdir().unwrap();
    let base = fixture::model_dir(root.path());
    let lora = file(root.path(), &adapted(SEED).lora);
    let asked: Vec<_> = PROMPTS.iter().map(|ids| json!({"ids": ids, "max": 32})).collect();
    let task =
        json!({"model": base.join("model.gguf"), "threads": 1, "context": 512, "lora": lora.file, "prompts": asked});
    let theirs = node.run(&task);
    let ours = answers(&base, Some(lora)).await;
    for (ours, theirs) in ours.iter().zip(theirs["answers"].as_array().unwrap()) {
        assert_eq!(*ours, ids(&theirs["ids"]));
    }
}

#[test]
fn a_confined_process_answers_with_its_adapter() {
    let root = tempfile::tempdir().unwrap();
    let base = fixture::model_dir(root.path());
    let at = |name: &str| {
        let place = root.path().join(name);
        std::fs::create_dir(&place).unwrap();
        place
    };
    let said = |engine: Process| {
        let texts = ["hello", "the heat", "x = 1;"].map(|text| engine.chat(&ask(text, 24)).text());
        engine.stop();
        texts
    };
    let plain = said(Process::start(&base, &at("plain"), &[]));
    // Beside the model's directory: the process may read it because it was named.
    let lora = file(root.path(), &adapted(SEED).lora);
    let tuned = said(Process::start(
        &base,
        &at("tuned"),
        &["--adapter", lora.file.to_str().unwrap()],
    ));
    assert_ne!(tuned, plain);
    let merged = fixture::dir_of(&at("other"), &adapted(SEED).merged);
    assert_eq!(tuned, said(Process::start(&merged, &at("merged"), &[])));
}

#[test]
fn what_is_no_adapter_for_this_model_says_why() {
    let root = tempfile::tempdir().unwrap();
    let base = fixture::model_dir(root.path());
    let socket = root.path().join("engine.sock");
    let refused = |spec: &Spec, code: &str| {
        let file = file(root.path(), spec).file;
        let output = command(&base, &socket, &["--adapter", file.to_str().unwrap()])
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{code}: {log}");
        assert!(
            log.lines().any(|line| line.starts_with(&format!("{code}: "))),
            "{code}: {log}"
        );
    };
    let with = |change: fn(&mut Spec)| {
        let mut lora = adapted(SEED).lora;
        change(&mut lora);
        lora
    };
    refused(&with(|lora| lora.ggml_type = 2), "gguf.tensor_type");
    refused(&with(|lora| lora.version = 1), "gguf.version");
    refused(
        &adapted(SEED).lora.set("general.architecture", text("mamba")),
        "gguf.architecture",
    );
    refused(
        &adapted(SEED).lora.set("general.architecture", text("qwen2")),
        "engine.adapter",
    );
    refused(&adapted(SEED).lora.set("general.type", text("model")), "engine.adapter");
    refused(
        &adapted(SEED).lora.set("adapter.type", text("control_vector")),
        "engine.adapter",
    );
    // Of another base: a matrix that this one does not have, one of another width, half a pair, something else besides.
    refused(
        &with(|lora| {
            lora.tensors
                .iter_mut()
                .for_each(|t| t.0 = t.0.replace("blk.1", "blk.7"))
        }),
        "engine.adapter",
    );
    refused(
        &with(|lora| {
            let a = &mut lora.tensors[0];
            a.1 = vec![4, 32];
            a.2.truncate(4 * 32);
        }),
        "engine.adapter",
    );
    refused(&with(|lora| drop(lora.tensors.remove(1))), "engine.adapter");
    refused(
        &with(|lora| lora.tensors[0].0 = "blk.0.attn_norm.weight".into()),
        "engine.adapter",
    );
    refused(&with(|lora| lora.tensors.clear()), "engine.adapter");
}
